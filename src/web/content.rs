//! Content to send, wherever its bytes are.

use std::ops::Range;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::error::ApiError;
use super::own_content::OwnContent;
use crate::fetch::{UnverifiedContent, VerifiedContent};

/// Bytes on their way to a client. An error ends them, and cuts the connection.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, ApiError>>;

/// Something with bytes.
#[derive(Clone)]
pub(crate) enum Content {
    /// Content of this node that is in memory.
    Memory(Bytes),
    /// A blob of this node.
    Local(OwnContent),
    /// Content of peers, checked against its hash on the way.
    Verified(VerifiedContent),
    /// A file of a peer that has no hashes.
    Unverified(UnverifiedContent),
}

impl Content {
    /// The size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Local(own) => own.blob.size(),
            Self::Verified(content) => content.size(),
            Self::Unverified(content) => content.size(),
        }
    }

    /// The bytes of `range`, which must lie within the size.
    pub(crate) fn read(&self, range: Range<u64>) -> Pieces {
        match self {
            Self::Memory(bytes) => stream::iter([Ok(part(bytes, &range))]).boxed(),
            Self::Local(own) => own.read(range),
            Self::Verified(content) => content.read(range).map_err(Into::into).boxed(),
            Self::Unverified(content) => content.read(range).map_err(Into::into).boxed(),
        }
    }

    /// Like [`Content::read`], once the first bytes are there: as long as nothing was sent,
    /// a client can still be told why there is nothing.
    pub(crate) async fn begin(&self, range: Range<u64>) -> Result<Pieces, ApiError> {
        let mut pieces = self.read(range);
        let first = pieces.next().await.transpose()?;
        Ok(stream::iter(first.map(Ok)).chain(pieces).boxed())
    }

    /// The same as a body.
    pub(crate) async fn body(&self, range: Range<u64>) -> Result<Body, ApiError> {
        match self {
            Self::Memory(bytes) => Ok(Body::from(part(bytes, &range))),
            _ => Ok(Body::from_stream(self.begin(range).await?)),
        }
    }

    /// Whether the bytes are checked against a hash on the way; None for this node's own.
    pub(crate) fn verified(&self) -> Option<bool> {
        match self {
            Self::Memory(_) | Self::Local(_) => None,
            Self::Verified(_) => Some(true),
            Self::Unverified(_) => Some(false),
        }
    }
}

fn part(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset| {
        usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len())
    };
    bytes.slice(at(range.start)..at(range.end))
}
