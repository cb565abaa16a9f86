//! Those who are registered, put in order once a second and not for each who asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::table::Ordered;

/// For how long those who were put in order are told.
const FRESH: Duration = Duration::from_secs(1);

/// Those who are told.
#[derive(Debug, Default)]
pub(super) struct Pool {
    at: Option<Instant>,
    ordered: Ordered,
}

impl Pool {
    /// So many of them; None where it is time to put others in order.
    pub(super) fn some(&self, limit: usize, now: Instant) -> Option<Vec<Arc<str>>> {
        let is_fresh = |at| now.saturating_duration_since(at) < FRESH;
        let is_there = self.at.is_some_and(is_fresh) && !self.ordered.is_empty();
        is_there.then(|| self.ordered.some(limit))
    }

    /// Notes that somebody puts others in order: whoever comes meanwhile is told the ones before.
    pub(super) fn begin(&mut self, now: Instant) {
        self.at = Some(now);
    }

    pub(super) fn fill(&mut self, ordered: Ordered) {
        self.ordered = ordered;
    }
}
