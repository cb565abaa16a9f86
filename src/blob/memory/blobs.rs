//! What is kept in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::hash::BlobHash;

/// The blobs.
#[derive(Default)]
pub(super) struct Blobs(Mutex<BTreeMap<BlobHash, Bytes>>);

impl Blobs {
    pub(super) fn insert(&self, hash: BlobHash, bytes: Bytes) {
        self.0.lock().insert(hash, bytes);
    }

    pub(super) fn get(&self, hash: &BlobHash) -> Option<Bytes> {
        self.0.lock().get(hash).cloned()
    }

    pub(super) fn remove(&self, hash: &BlobHash) {
        self.0.lock().remove(hash);
    }

    /// All of them with their sizes, in the order of the hashes.
    pub(super) fn sizes(&self) -> Vec<(BlobHash, u64)> {
        let blobs = self.0.lock();
        let sizes = blobs
            .iter()
            .map(|(hash, bytes)| (*hash, bytes.len() as u64));
        sizes.collect()
    }
}
