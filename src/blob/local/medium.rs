//! A storage directory as what it is to who reads all of it again.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use super::super::{BlobError, InOrder, Medium, OpenBlob, Position, Salvage};
use super::reading;
use super::rereading::Shards;
use super::salvage::DamagedFile;
use super::{LocalBlobs, PACKS_DIR, packs};
use crate::blocking;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::seen_twice::seen_twice;
use crate::unavailable::Unavailable;

#[async_trait]
impl Medium for LocalBlobs {
    fn in_order_from(&self, from: Position) -> Box<dyn InOrder> {
        let (blobs, packs) = (self.long.blobs.clone(), Arc::clone(&self.packs));
        Box::new(Shards::from(blobs, packs, from))
    }

    async fn not_whole(
        &self,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<(BlobHash, Health)>, Unavailable> {
        let long = Arc::clone(&self.long);
        Ok(blocking::run(move || long.shelf.damage.not_whole(after, limit)).await)
    }

    fn problems(&self) -> Result<Vec<(PathBuf, String)>, BlobError> {
        let storage = self.spool.dir.parent().unwrap_or(&self.spool.dir);
        let dir = storage.join(PACKS_DIR);
        seen_twice(|| packs::problems(&dir))
    }

    async fn salvage(&self, hash: BlobHash, size: u64) -> Option<Box<dyn Salvage>> {
        let path = self.long.path(&hash);
        let damaged = DamagedFile::open(hash, size, path, &self.long.shelf).await?;
        Some(Box::new(damaged))
    }

    async fn open_in_part(&self, hash: BlobHash) -> Option<Arc<dyn OpenBlob>> {
        reading::open_in_part(hash, self.long.path(&hash), &self.long.shelf).await
    }
}
