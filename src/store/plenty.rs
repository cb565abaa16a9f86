//! Whether the disk had plenty of room a moment ago, so that not every short upload has to
//! look, which takes a turn on another thread.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How much more than an upload needs has to be free, in bytes, for it not to look: more than
/// is written meanwhile. Whatever is wrong here costs an upload that is refused later, when it
/// is written.
pub(super) const PLENTY: u64 = 1 << 30;
/// How long a look counts.
const LASTS: Duration = Duration::from_millis(250);

/// What the last look has found.
#[derive(Default)]
pub(super) struct Plenty(Mutex<Option<Look>>);

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    found: bool,
}

impl Plenty {
    /// Notes what a look that began at `at` has found.
    pub(super) fn note(&self, at: Instant, found: bool) {
        *self.0.lock() = Some(Look { at, found });
    }

    /// What was found, if that was a moment ago.
    pub(super) fn lately(&self) -> Option<bool> {
        let last = *self.0.lock();
        last.filter(|it| it.at.elapsed() < LASTS).map(|it| it.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_counts_for_a_moment_only() {
        let plenty = Plenty::default();
        assert_eq!(plenty.lately(), None);
        plenty.note(Instant::now(), true);
        assert_eq!(plenty.lately(), Some(true));
        plenty.note(Instant::now().checked_sub(LASTS).unwrap(), true);
        assert_eq!(plenty.lately(), None);
    }
}
