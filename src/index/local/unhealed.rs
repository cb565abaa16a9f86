//! That there is no lookup database for now.

use std::time::{Duration, Instant};

use crate::index::IndexError;

/// How long after a new lookup database could not be made it is tried again, if trying does not
/// take longer.
const AGAIN: Duration = Duration::from_millis(500);

/// Why there is no new lookup database yet. As a rule the journal answers until then.
pub(super) struct Unhealed {
    error: IndexError,
    /// When to try again: making it is work, and whoever asks meanwhile is told the same.
    again: Instant,
}

impl Unhealed {
    /// One that is to be healed as soon as somebody asks.
    pub(super) fn now(error: IndexError) -> Self {
        let again = Instant::now();
        Self { error, again }
    }

    /// One that was tried in vain, which took so long.
    pub(super) fn after(error: IndexError, took: Duration) -> Self {
        let again = Instant::now() + took.max(AGAIN);
        Self { error, again }
    }

    /// Fails with why the last try has failed where it is too early for another.
    pub(super) fn check_due(&self) -> Result<(), IndexError> {
        if Instant::now() < self.again {
            Err(self.error.clone())
        } else {
            Ok(())
        }
    }
}
