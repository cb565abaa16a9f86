//! A storage directory as what it is to who reads all of it again.

use std::sync::Arc;

use super::super::{InOrder, Medium, Position};
use super::LocalBlobs;
use super::rereading::Shards;
use crate::hash::BlobHash;
use crate::health::Health;

impl Medium for LocalBlobs {
    fn in_order_from(&self, from: Position) -> Box<dyn InOrder> {
        let (blobs, packs) = (self.long.blobs.clone(), Arc::clone(&self.packs));
        Box::new(Shards::from(blobs, packs, from))
    }

    fn not_whole(&self, after: Option<BlobHash>, limit: usize) -> Vec<(BlobHash, Health)> {
        self.long.shelf.damage.not_whole(after, limit)
    }
}
