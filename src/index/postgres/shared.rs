//! What the tasks of an index share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::holds::Holds;
use super::link::Links;
use super::plan::Plan;
use super::rollout::Rollout;
use super::seen::Seen;

/// What the tasks of an index share.
pub(super) struct Shared {
    pub(super) seen: Seen,
    pub(super) holds: Arc<Holds>,
    /// What all nodes know, by what is written to the tables.
    pub(super) rollout: Rollout,
    /// The connections on which everything is done but changes of files.
    pub(super) links: Links,
    /// How long somebody may write who says nothing.
    pub(super) lease: Duration,
    /// How long garbage stays.
    pub(super) grace: Duration,
    /// How many bytes of content there may be.
    pub(super) quota: Option<u64>,
    /// Whether what is acknowledged may be lost by a crash of the server.
    pub(super) is_relaxed: bool,
}

impl Shared {
    /// Remembers a batch that stands, which was begun at `at`.
    pub(super) fn remember(&self, plan: &Plan, damaged: u64, at: Instant) {
        self.seen.note(plan.heads, damaged, at, &[]);
        for place in plan.garbage.iter().chain(&plan.left) {
            self.seen.forget(*place);
        }
        for (hash, blob) in &plan.blobs {
            if let Some(blob) = blob {
                self.seen.know(blob.place, *hash, blob.is_damaged);
            }
        }
    }
}
