//! What makes a node compare with others sooner than it would: that somebody came or is gone.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::metrics::Counter;

/// How many comparisons follow quickly where there are news.
const SPREAD: u32 = 3;
/// How many there are in a period at most beside the regular ones, whatever comes and goes.
const MOST_QUICK: u32 = 24;
/// How many peers are asked in a period at most since somebody says that they are silent: by the
/// word of those whom this node has asked, and by that of anybody.
const MOST_DOUBTS: [u32; 2] = [48, 16];

/// News of who is there, and what comparing them with others came to.
#[derive(Debug, Default)]
pub struct News {
    state: Mutex<State>,
    heard: Notify,
    /// Comparisons with others.
    pub exchanges: Counter,
    /// Those that came to nothing.
    pub failed: Counter,
    /// Peers that were read since their holdings had changed.
    pub read: Counter,
}

#[derive(Debug, Default)]
struct State {
    every: Duration,
    /// How many quick comparisons are still to follow.
    left: u32,
    since: Option<Instant>,
    spent: u32,
    doubts: [u32; 2],
}

impl State {
    fn begin_period(&mut self) {
        if self.since.is_none_or(|it| it.elapsed() >= self.every) {
            self.since = Some(Instant::now());
            self.spent = 0;
            self.doubts = [0; 2];
        }
    }
}

impl News {
    pub(super) fn set_period(&self, every: Duration) {
        self.state.lock().every = every;
    }

    pub(super) fn period(&self) -> Duration {
        self.state.lock().every
    }

    /// Somebody has come, or is gone: others hear it soon.
    pub(in crate::peer) fn spread(&self) {
        self.state.lock().left = SPREAD;
        self.heard.notify_one();
    }

    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Whether the next comparison is one of the quick ones.
    pub(super) fn are_to_be_spread(&self) -> bool {
        let mut state = self.state.lock();
        state.begin_period();
        state.left > 0 && state.spent < MOST_QUICK
    }

    /// Counts one comparison, if it is one of those.
    pub(super) fn count_quick(&self) {
        if self.are_to_be_spread() {
            let mut state = self.state.lock();
            state.left = state.left.saturating_sub(1);
            state.spent += 1;
        }
    }

    /// Whether one more peer may be asked in this period since somebody says that it is silent.
    pub(super) fn may_doubt(&self, is_proven: bool) -> bool {
        let mut state = self.state.lock();
        state.begin_period();
        let by = usize::from(!is_proven);
        let (Some(count), Some(most)) = (state.doubts.get_mut(by), MOST_DOUBTS.get(by)) else {
            return false;
        };
        let may = *count < *most;
        *count += u32::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_are_followed_by_a_few_comparisons_and_no_more_than_so_many_in_a_period() {
        let news = News::default();
        news.set_period(Duration::from_mins(1));
        let spend = || {
            let is_quick = news.are_to_be_spread();
            news.count_quick();
            is_quick
        };
        assert!(!spend());
        news.spread();
        assert_eq!((0..9).filter(|_| spend()).count(), SPREAD as usize);
        let quick = (0..99).filter(|_| {
            news.spread();
            spend()
        });
        assert_eq!(quick.count(), (MOST_QUICK - SPREAD) as usize);
    }

    #[test]
    fn nobody_has_this_node_ask_more_than_so_many() {
        let news = News::default();
        news.set_period(Duration::from_mins(1));
        for (is_proven, most) in [(true, 48), (false, 16)] {
            assert_eq!((0..99).filter(|_| news.may_doubt(is_proven)).count(), most);
        }
    }
}
