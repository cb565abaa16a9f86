//! In what health contents are: what the blobs' backend finds, the index remembers, and those who
//! listen are told.

use std::sync::Weak;

use super::feed::{Change, Feed};
use crate::health::{Findings, Health};
use crate::index::IndexBackend;
use crate::place::Place;

/// How much there is of damage, and of what the disk fails to give, as far as it has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DamageCounts {
    /// Blobs that are known to be damaged now.
    pub known: u64,
    /// How often damage was found since the start.
    pub found: u64,
    /// Blobs that could not be read the last time, since the disk failed. Nobody knows whether they
    /// are damaged.
    pub unreadable: u64,
    /// How often that was so since the start.
    pub read_errors: u64,
}

/// Reports findings to an index, and tells what is news, as long as both are there.
pub(super) struct Reports {
    pub(super) index: Weak<dyn IndexBackend>,
    pub(super) feed: Weak<Feed>,
}

impl Findings for Reports {
    fn found(&self, place: Place, health: Health) {
        let (Some(index), Some(feed)) = (self.index.upgrade(), self.feed.upgrade()) else {
            return;
        };
        if let Some(hash) = index.health(place, health) {
            feed.tell_health(match health {
                Health::Damaged => Change::Damaged(hash),
                Health::Unreadable => Change::Unreadable(hash),
                Health::Whole => Change::Mended(hash),
            });
        }
    }
}
