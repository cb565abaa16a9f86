//! When this node has told what, and which of its files it has removed lately.
//!
//! Moments are microseconds since the Unix epoch by this node's own clock, each later than
//! the one before. Peers compare them with each other only, never with their own clocks.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::record::FileId;

/// The most removals remembered, 24 bytes each. Who was away for longer reads everything.
const MAX_REMOVALS: usize = 16_384;

/// The removals since this node has started, as far as they are remembered.
#[derive(Debug)]
pub struct Removals {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The last moment given out.
    last: u64,
    /// Removals behind this moment are all remembered.
    complete_since: u64,
    removed: VecDeque<(u64, FileId)>,
}

impl Default for Removals {
    /// None so far, of a node that starts now.
    fn default() -> Self {
        let now = now();
        let state = State {
            last: now,
            complete_since: now,
            removed: VecDeque::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl Removals {
    /// The present moment, later than all before it.
    pub fn moment(&self) -> u64 {
        self.state.lock().moment()
    }

    /// Notes that a file was removed, and when.
    pub fn note(&self, id: FileId) -> u64 {
        let mut state = self.state.lock();
        let at = state.moment();
        state.removed.push_back((at, id));
        if state.removed.len() > MAX_REMOVALS
            && let Some((at, _)) = state.removed.pop_front()
        {
            state.complete_since = at;
        }
        at
    }

    /// Remembers none of those so far, since one was missed: whoever asks reads everything.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.removed.clear();
        state.complete_since = state.moment();
    }

    /// The files that were removed after `moment`; None where that is not remembered.
    pub fn since(&self, moment: u64) -> Option<Vec<FileId>> {
        let state = self.state.lock();
        if moment < state.complete_since {
            return None;
        }
        let newest = state.removed.iter().rev();
        let newest = newest.take_while(|(at, _)| *at > moment);
        Some(newest.map(|(_, id)| *id).collect())
    }
}

impl State {
    fn moment(&mut self) -> u64 {
        self.last = now().max(self.last + 1);
        self.last
    }
}

fn now() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_behind_a_moment_is_told_as_long_as_it_is_remembered() {
        let removals = Removals::default();
        let id = |number: u32| FileId::from_bytes(u128::from(number).to_be_bytes());
        let before = removals.moment();
        removals.note(id(1));
        let between = removals.moment();
        removals.note(id(2));
        assert_eq!(removals.since(before), Some(vec![id(2), id(1)]));
        assert_eq!(removals.since(between), Some(vec![id(2)]));
        assert_eq!(removals.since(removals.moment()), Some(vec![]));
        assert_eq!(removals.since(0), None);
        for number in 0..u32::try_from(MAX_REMOVALS).unwrap() {
            removals.note(id(number));
        }
        assert_eq!(removals.since(before), None);
        assert_eq!(removals.since(between), None);
        assert_eq!(removals.since(removals.moment()), Some(vec![]));
        let before = removals.moment();
        removals.forget();
        assert_eq!(removals.since(before), None);
        assert_eq!(removals.since(removals.moment()), Some(vec![]));
    }
}
