//! Where and how a node keeps its files.

use super::size::Size;
use super::{DurabilityArg, Settings, VerifyArg};
use crate::disk::Durability;
use crate::store::local;

impl Settings {
    /// Where and how the node keeps its files.
    pub fn store(&self) -> local::Options {
        local::Options {
            durability: match self.durability {
                DurabilityArg::Always => Durability::Always,
                DurabilityArg::Relaxed => Durability::Relaxed,
            },
            max_upload: self.max_upload.map(|Size(bytes)| bytes),
            quota: self.quota.map(|Size(bytes)| bytes),
            reserve: self.min_free.0,
            verify_reads: self.verify_reads == VerifyArg::On,
            ..local::Options::new(&self.storage)
        }
    }
}
