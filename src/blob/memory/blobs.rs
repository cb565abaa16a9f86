//! What is kept in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::health::{Findings, Health};
use crate::place::Place;

/// The blobs.
#[derive(Default)]
pub(super) struct Blobs {
    blobs: Mutex<BTreeMap<Place, Bytes>>,
    findings: OnceLock<Arc<dyn Findings>>,
}

impl Blobs {
    pub(super) fn insert(&self, place: Place, bytes: Bytes) {
        self.blobs.lock().insert(place, bytes);
        self.report(place, Health::Whole);
    }

    pub(super) fn get(&self, place: Place) -> Option<Bytes> {
        self.blobs.lock().get(&place).cloned()
    }

    pub(super) fn remove(&self, place: Place) {
        self.blobs.lock().remove(&place);
        self.report(place, Health::Whole);
    }

    pub(super) fn report_to(&self, findings: Arc<dyn Findings>) {
        // Whoever is told already stays so.
        let _ = self.findings.set(findings);
    }

    /// Reports in what health a blob is: one that is gone is damaged no longer.
    pub(super) fn report(&self, place: Place, health: Health) {
        if let Some(findings) = self.findings.get() {
            findings.found(place, health);
        }
    }

    /// All of them with their sizes, in the order of their places.
    pub(super) fn sizes(&self) -> Vec<(Place, u64)> {
        let blobs = self.blobs.lock();
        let sizes = blobs
            .iter()
            .map(|(place, bytes)| (*place, bytes.len() as u64));
        sizes.collect()
    }
}
