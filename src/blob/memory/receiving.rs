//! Content on its way into memory, hashed as it comes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::{Arrival, BlobError, Limit, Received, Receiving};
use super::blobs::Blobs;
use crate::hash::BlobHash;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// Content that is being received.
pub(super) struct Incoming {
    /// None once more has come than the limit allows.
    content: Option<Vec<u8>>,
    hasher: blake3::Hasher,
    limit: Limit,
    blobs: Arc<Blobs>,
}

/// Content that was received whole.
pub(super) struct Whole {
    pub(super) hash: BlobHash,
    pub(super) content: Bytes,
    pub(super) blobs: Arc<Blobs>,
}

impl Incoming {
    pub(super) fn new(limit: Limit, blobs: Arc<Blobs>) -> Self {
        Self {
            content: Some(Vec::new()),
            hasher: blake3::Hasher::new(),
            limit,
            blobs,
        }
    }
}

#[async_trait]
impl Receiving for Incoming {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let mut content = self.content.take().ok_or_else(failed_before)?;
        self.limit.check((content.len() + piece.len()) as u64)?;
        self.hasher.update(&piece);
        content.extend_from_slice(&piece);
        self.content = Some(content);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        let content = self.content.ok_or_else(failed_before)?;
        Ok(Box::new(Whole {
            hash: self.hasher.finalize().into(),
            content: content.into(),
            blobs: self.blobs,
        }))
    }
}

#[async_trait]
impl Received for Whole {
    fn hash(&self) -> BlobHash {
        self.hash
    }

    fn size(&self) -> u64 {
        self.content.len() as u64
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            is_cheap_to_keep: true,
            ..Arrival::default()
        }
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        Err(BlobError::kept_alone(self.hash()))
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        // Others come in between, as where this takes a disk or a server.
        tokio::task::yield_now().await;
        self.blobs.insert(place, self.content);
        Ok(())
    }
}

/// The error of whatever comes after a write that failed.
pub(super) fn failed_before() -> BlobError {
    let source = std::io::Error::other("an earlier write failed");
    BlobError::io("go on writing to", "memory", source)
}
