//! Content on its way in: through the spool into the packs, or to a file of its own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::{Arrival, BlobError, Partial, Proven, Received, Receiving};
use super::long::LongBlobs;
use super::packs::Packs;
use super::spool::{Content, Spool, SpooledBlob};
use crate::blocking;
use crate::hash::BlobHash;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// What keeps content that was spooled.
#[derive(Clone)]
pub(super) struct Keeping {
    pub(super) long: Arc<LongBlobs>,
    pub(super) packs: Arc<Packs>,
}

/// Content that is spooled.
pub(super) struct Incoming {
    spool: Spool,
    keeping: Keeping,
}

/// Content that was spooled whole.
struct Spooled {
    blob: SpooledBlob,
    keeping: Keeping,
}

impl Incoming {
    pub(super) fn new(spool: Spool, keeping: Keeping) -> Self {
        Self { spool, keeping }
    }
}

#[async_trait]
impl Receiving for Incoming {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.spool.write(piece).await
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        let Self { spool, keeping } = *self;
        let blob = spool.finish().await?;
        Ok(Box::new(Spooled { blob, keeping }))
    }
}

#[async_trait]
impl Partial for Incoming {
    fn received(&self) -> u64 {
        self.spool.received()
    }

    async fn written(&mut self) -> Result<Proven, BlobError> {
        self.spool.written().await
    }

    async fn sync(&mut self) -> Result<Proven, BlobError> {
        self.spool.sync().await
    }

    async fn finish_copy(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        let Self { spool, keeping } = *self;
        let blob = spool.finish_copy().await?;
        Ok(Box::new(Spooled { blob, keeping }))
    }
}

#[async_trait]
impl Received for Spooled {
    fn hash(&self) -> BlobHash {
        self.blob.hash
    }

    fn size(&self) -> u64 {
        self.blob.size
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            is_cheap_to_keep: matches!(self.blob.content, Content::Memory(_)),
            ..Arrival::default()
        }
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        Err(BlobError::kept_alone(self.hash()))
    }

    async fn keep(self: Box<Self>, _: Place) -> Result<(), BlobError> {
        let Self { blob, keeping } = *self;
        let hash = blob.hash;
        match blob.content {
            Content::Memory(bytes) => keeping.packs.put(hash, bytes).await,
            Content::File { blob, outboard } => {
                let long = keeping.long;
                blocking::run(move || long.commit(&hash, blob, outboard)).await
            }
        }
    }
}
