//! In what health contents are: what the blobs' backend finds, the index remembers.

use std::sync::Weak;

use crate::hash::BlobHash;
use crate::health::{Findings, Health};
use crate::index::IndexBackend;

/// How much damage there is, as far as it has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DamageCounts {
    /// Blobs that are known to be damaged now.
    pub known: u64,
    /// How often damage was found since the start.
    pub found: u64,
}

/// Reports findings to an index, as long as it is there.
pub(super) struct Reports(pub(super) Weak<dyn IndexBackend>);

impl Findings for Reports {
    fn found(&self, hash: &BlobHash, health: Health) {
        if let Some(index) = self.0.upgrade() {
            index.health(hash, health);
        }
    }
}
