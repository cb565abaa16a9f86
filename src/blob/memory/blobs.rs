//! What is kept in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::hash::BlobHash;
use crate::health::{Findings, Health};

/// The blobs.
#[derive(Default)]
pub(super) struct Blobs {
    blobs: Mutex<BTreeMap<BlobHash, Bytes>>,
    findings: OnceLock<Arc<dyn Findings>>,
}

impl Blobs {
    pub(super) fn insert(&self, hash: BlobHash, bytes: Bytes) {
        self.blobs.lock().insert(hash, bytes);
        self.report(&hash, Health::Whole);
    }

    pub(super) fn get(&self, hash: &BlobHash) -> Option<Bytes> {
        self.blobs.lock().get(hash).cloned()
    }

    pub(super) fn remove(&self, hash: &BlobHash) {
        self.blobs.lock().remove(hash);
        self.report(hash, Health::Whole);
    }

    pub(super) fn report_to(&self, findings: Arc<dyn Findings>) {
        // Whoever is told already stays so.
        let _ = self.findings.set(findings);
    }

    /// Reports in what health a content is: one that is gone is damaged no longer.
    pub(super) fn report(&self, hash: &BlobHash, health: Health) {
        if let Some(findings) = self.findings.get() {
            findings.found(hash, health);
        }
    }

    /// All of them with their sizes, in the order of the hashes.
    pub(super) fn sizes(&self) -> Vec<(BlobHash, u64)> {
        let blobs = self.blobs.lock();
        let sizes = blobs
            .iter()
            .map(|(hash, bytes)| (*hash, bytes.len() as u64));
        sizes.collect()
    }
}
