//! What is kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::super::BlobError;
use crate::hash::BlobHash;
use crate::health::{Findings, Health};
use crate::metrics::Counter;
use crate::place::Place;

/// The blobs.
#[derive(Default)]
pub(super) struct Blobs {
    kept: Mutex<Kept>,
    /// How often damage was found.
    pub(super) found: Counter,
    findings: OnceLock<Arc<dyn Findings>>,
}

#[derive(Default)]
struct Kept {
    blobs: BTreeMap<Place, Bytes>,
    /// The places of which it is known that what belongs there is damaged, or is not there.
    damaged: BTreeSet<Place>,
}

impl Blobs {
    pub(super) fn insert(&self, place: Place, bytes: Bytes) {
        let mut kept = self.kept.lock();
        kept.blobs.insert(place, bytes);
        kept.damaged.remove(&place);
        self.report(place, Health::Whole);
    }

    /// What is in a place, if it has this hash; damage is remembered, and so is that there is none
    /// any more.
    pub(super) fn whole(&self, hash: &BlobHash, place: Place) -> Result<Option<Bytes>, BlobError> {
        let mut kept = self.kept.lock();
        match kept.blobs.get(&place).cloned() {
            None if kept.damaged.contains(&place) => Err(BlobError::missing(*hash)),
            None => Ok(None),
            Some(bytes) if BlobHash::of(&bytes) == *hash => {
                kept.damaged.remove(&place);
                self.report(place, Health::Whole);
                Ok(Some(bytes))
            }
            Some(_) => {
                self.mark(&mut kept, place);
                Err(BlobError::other_hash(*hash))
            }
        }
    }

    /// How long what is in a place is, in bytes, unless that is known to be damaged.
    pub(super) fn size(&self, place: Place) -> Option<u64> {
        let kept = self.kept.lock();
        let is_damaged = kept.damaged.contains(&place);
        let bytes = kept.blobs.get(&place).filter(|_| !is_damaged);
        bytes.map(|bytes| bytes.len() as u64)
    }

    pub(super) fn remove(&self, place: Place) {
        let mut kept = self.kept.lock();
        kept.blobs.remove(&place);
        kept.damaged.remove(&place);
        // What is gone is damaged no longer.
        self.report(place, Health::Whole);
    }

    /// Remembers that what belongs in a place is damaged.
    pub(super) fn note_damaged(&self, place: Place) {
        self.mark(&mut self.kept.lock(), place);
    }

    fn mark(&self, kept: &mut Kept, place: Place) {
        self.found.count();
        kept.damaged.insert(place);
        self.report(place, Health::Damaged);
    }

    /// Tells from now on of damage, and where it is mended; first of all what is known.
    pub(super) fn report_to(&self, findings: Arc<dyn Findings>) {
        let kept = self.kept.lock();
        // Whoever is told already stays so.
        let findings = self.findings.get_or_init(|| findings);
        for place in &kept.damaged {
            findings.found(*place, Health::Damaged);
        }
    }

    /// Under the lock, so that what is told last is so.
    fn report(&self, place: Place, health: Health) {
        if let Some(findings) = self.findings.get() {
            findings.found(place, health);
        }
    }

    /// All of them with their sizes, in the order of their places.
    pub(super) fn sizes(&self) -> Vec<(Place, u64)> {
        let kept = self.kept.lock();
        let blobs = kept.blobs.iter();
        let sizes = blobs.map(|(place, bytes)| (*place, bytes.len() as u64));
        sizes.collect()
    }
}
