//! Content to send, wherever its bytes are.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::error::ApiError;
use crate::blob::OpenBlob;
use crate::fetch::{UnverifiedContent, VerifiedContent};

/// Bytes on their way to a client. An error ends them, and cuts the connection.
pub(super) type Pieces = BoxStream<'static, Result<Bytes, ApiError>>;

/// Something with bytes.
#[derive(Clone)]
pub(super) enum Content {
    /// A blob of this node.
    Local(Arc<dyn OpenBlob>),
    /// Content of peers, checked against its hash on the way.
    Verified(VerifiedContent),
    /// A file of a peer that has no hashes.
    Unverified(UnverifiedContent),
}

impl Content {
    /// The size, in bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Local(blob) => blob.size(),
            Self::Verified(content) => content.size(),
            Self::Unverified(content) => content.size(),
        }
    }

    /// The bytes of `range`, which must lie within the size.
    pub(super) fn read(&self, range: Range<u64>) -> Pieces {
        match self {
            Self::Local(blob) => blob.read(range).map(|it| it.map_err(Into::into)).boxed(),
            Self::Verified(content) => content.read(range).map(|it| it.map_err(Into::into)).boxed(),
            Self::Unverified(content) => {
                content.read(range).map(|it| it.map_err(Into::into)).boxed()
            }
        }
    }

    /// Like [`Content::read`], once the first bytes of a peer are there: as long as
    /// nothing was sent, a client can still be told why there is nothing.
    pub(super) async fn begin(&self, range: Range<u64>) -> Result<Pieces, ApiError> {
        let mut pieces = self.read(range);
        if matches!(self, Self::Local(_)) {
            return Ok(pieces);
        }
        match pieces.next().await.transpose()? {
            Some(first) => Ok(stream::iter([Ok(first)]).chain(pieces).boxed()),
            None => Ok(pieces),
        }
    }

    /// Whether the bytes are checked against a hash on the way; None for a blob of this node.
    pub(super) fn verified(&self) -> Option<bool> {
        match self {
            Self::Local(_) => None,
            Self::Verified(_) => Some(true),
            Self::Unverified(_) => Some(false),
        }
    }
}
