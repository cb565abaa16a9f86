//! Content of this node on its way to a client: what turns out not to be right comes from whoever
//! else has it, proven, and the client notices nothing.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::error::ApiError;
use super::transfers::{Transfer, TransferShare};
use crate::blob::{BlobError, ByteStream, OpenBlob};
use crate::fetch::{self, Fetcher, VerifiedContent};
use crate::hash::BlobHash;
use crate::outboard::PIECE_BYTES;

/// A blob of this node.
#[derive(Clone)]
pub(crate) struct OwnContent {
    pub(crate) hash: BlobHash,
    pub(crate) blob: Arc<dyn OpenBlob>,
    /// Who is asked for what is not right.
    pub(crate) fetcher: Arc<Fetcher>,
    /// To whose share that counts.
    pub(crate) share: TransferShare,
}

/// A range of it that is read.
struct Reading {
    content: OwnContent,
    /// What is still to come.
    ahead: Range<u64>,
    source: Source,
    /// What others have, once it was asked for, and what that holds.
    elsewhere: Option<(VerifiedContent, Option<Transfer>)>,
    /// How much comes from there before it is tried here again, in bytes.
    window: u64,
}

enum Source {
    Own(ByteStream),
    /// Why it is not from here.
    Elsewhere(fetch::Pieces, BlobError),
}

impl OwnContent {
    /// The bytes of `range`, which must lie within the size.
    pub(crate) fn read(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, ApiError>> {
        let reading = Reading {
            content: self.clone(),
            source: Source::Own(self.blob.read(range.clone())),
            ahead: range,
            elsewhere: None,
            window: PIECE_BYTES,
        };
        let pieces = stream::try_unfold(reading, |mut reading| async {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        });
        pieces.boxed()
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        while !self.ahead.is_empty() {
            match &mut self.source {
                Source::Own(pieces) => match pieces.next().await.transpose() {
                    Ok(piece) => return Ok(self.came(piece)),
                    Err(error) => self.go_elsewhere(error).await?,
                },
                Source::Elsewhere(pieces, why) => match pieces.next().await.transpose() {
                    Ok(Some(piece)) => return Ok(self.came(Some(piece))),
                    // What is behind may be right here.
                    Ok(None) => {
                        let rest = self.content.blob.read(self.ahead.clone());
                        self.source = Source::Own(rest);
                    }
                    Err(error) => {
                        let (hash, error) = (self.content.hash, &error as &dyn Error);
                        tracing::debug!(%hash, error, "what is damaged here has not come");
                        return Err(why.clone().into());
                    }
                },
            }
        }
        Ok(None)
    }

    fn came(&mut self, piece: Option<Bytes>) -> Option<Bytes> {
        let bytes = piece.as_ref().map_or(0, |it| it.len() as u64);
        self.ahead.start += bytes;
        piece
    }

    /// Goes on with what others have of the next pieces, of more each time.
    async fn go_elsewhere(&mut self, error: BlobError) -> Result<(), ApiError> {
        if !error.may_be_elsewhere() || !self.find_elsewhere().await {
            return Err(error.into());
        }
        let Some((elsewhere, _)) = &self.elsewhere else {
            return Err(error.into());
        };
        let end = (self.ahead.start + self.window) / PIECE_BYTES * PIECE_BYTES;
        let range = self.ahead.start..end.min(self.ahead.end);
        self.window = self.window.saturating_mul(2);
        self.source = Source::Elsewhere(elsewhere.read(range), error);
        Ok(())
    }

    /// Asks who else has it, once; whether anybody does.
    async fn find_elsewhere(&mut self) -> bool {
        let OwnContent {
            hash,
            fetcher,
            share,
            blob,
        } = &self.content;
        if self.elsewhere.is_none() && fetcher.is_held(hash) {
            let asked = fetcher.first_asked(hash, None);
            let opening = VerifiedContent::open(Arc::clone(fetcher), *hash, None);
            let Ok((opened, transfer)) = share.take_and_open(asked, opening).await else {
                return false;
            };
            // Another length than was promised would not be sent to its end.
            let opened = opened.ok().flatten();
            let opened = opened.filter(|it| it.size() == blob.size());
            self.elsewhere = opened.map(|it| (it, transfer));
        }
        self.elsewhere.is_some()
    }
}
