//! The first moments after a start, in which it is still being found out what peers hold.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long they last at most: nobody is kept waiting for peers that do not answer.
const LONGEST: Duration = Duration::from_secs(5);

/// Whether what peers hold is still being found out for the first time.
#[derive(Debug, Default)]
pub struct Beginning(Mutex<Option<Begun>>);

#[derive(Debug)]
struct Begun {
    at: Instant,
    /// How many of those that the operator has named were not asked yet who they are.
    unasked: usize,
}

impl Beginning {
    /// It begins now, and `named` peers are asked who they are.
    pub fn begin(&self, named: usize) {
        *self.0.lock() = Some(Begun {
            at: Instant::now(),
            unasked: named,
        });
    }

    /// One of those that the operator has named was asked who it is.
    pub(super) fn asked_one(&self) {
        if let Some(begun) = &mut *self.0.lock() {
            begun.unasked = begun.unasked.saturating_sub(1);
        }
    }

    /// It has ended if every known peer was asked what it holds, and no other is to come.
    pub(super) fn end_if(&self, has_asked_all: impl FnOnce() -> bool) {
        let is_last = self.0.lock().as_ref().is_some_and(|it| it.unasked == 0);
        if is_last && has_asked_all() {
            *self.0.lock() = None;
        }
    }

    /// Whether a peer may hold what none is known to hold.
    pub fn goes_on(&self) -> bool {
        let begun = self.0.lock();
        begun.as_ref().is_some_and(|it| it.at.elapsed() < LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_once_all_were_asked_that_are_known_or_named() {
        let beginning = Beginning::default();
        assert!(!beginning.goes_on());
        beginning.begin(1);
        beginning.end_if(|| true);
        assert!(beginning.goes_on());
        beginning.asked_one();
        beginning.end_if(|| false);
        assert!(beginning.goes_on());
        beginning.end_if(|| true);
        assert!(!beginning.goes_on());
    }

    #[test]
    fn it_does_not_last_whoever_is_silent() {
        let beginning = Beginning::default();
        let at = Instant::now().checked_sub(LONGEST).unwrap();
        *beginning.0.lock() = Some(Begun { at, unasked: 9 });
        assert!(!beginning.goes_on());
    }
}
