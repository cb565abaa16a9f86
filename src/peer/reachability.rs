//! Whether others reach this node, as the peers tell that it greets: each of them has asked it
//! at the address that it tells.
//!
//! A peer may tell of a try from before this node started, or one may fail since this machine
//! or the peer's is busy. So only tries count that began after the peer has answered this node
//! in this run, and one that failed is not enough.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::prefix::Key;
use crate::base_url::BaseUrl;
use crate::revision::Revision;

/// The most peers whose word is remembered; further ones are not heard meanwhile.
const MAX_TELLERS: usize = 64;
/// How long the word of a peer counts, unless [`FRESH_PERIODS`] are longer.
const FRESH: Duration = Duration::from_mins(10);
/// For how many periods the word of a peer counts, where these are longer than [`FRESH`].
const FRESH_PERIODS: u32 = 3;

/// What peers tell of how they reach this node.
#[derive(Debug, Default)]
pub struct Reachability {
    tellers: Mutex<Tellers>,
    revision: Revision,
}

#[derive(Debug, Default)]
struct Tellers {
    /// What the peer at each place told.
    by_place: HashMap<Key, Teller>,
    /// How often peers are greeted.
    every: Duration,
    /// What they told together when that was looked at last.
    summed: Option<bool>,
    /// What was written to the log last.
    logged: Option<bool>,
}

#[derive(Debug)]
struct Teller {
    /// When it answered first in this run.
    first: Instant,
    /// When it answered last.
    last: Instant,
    /// Whether it told then that it reaches this node.
    reaches: bool,
    /// When the first and the last of its tries in a row began that failed.
    failed: Option<(Instant, Instant)>,
}

impl Teller {
    fn new(now: Instant) -> Self {
        Self {
            first: now,
            last: now,
            reaches: false,
            failed: None,
        }
    }

    fn tells(&mut self, word: Option<(bool, Option<Duration>)>, now: Instant) {
        self.last = now;
        match word {
            Some((true, _)) => (self.reaches, self.failed) = (true, None),
            Some((false, tried)) => {
                let tried = tried.and_then(|ago| now.checked_sub(ago));
                if let Some(tried) = tried.filter(|tried| *tried > self.first) {
                    self.reaches = false;
                    let since = self.failed.map_or(tried, |(since, _)| since);
                    self.failed = Some((since, tried));
                }
            }
            None => {}
        }
    }
}

impl Tellers {
    /// One who reaches the node shows that it can be reached, whatever others say. That it
    /// cannot, two have to find, or one at times that are a period apart.
    fn sum(&self) -> Option<bool> {
        if self.by_place.values().any(|it| it.reaches) {
            return Some(true);
        }
        let failed: Vec<_> = self.by_place.values().filter_map(|it| it.failed).collect();
        let twice = |(since, last): &(Instant, Instant)| *last >= *since + self.every;
        let found = failed.len() > 1 || failed.iter().any(twice);
        found.then_some(false)
    }
}

impl Reachability {
    /// Whether some peer reaches this node, or those that tell have tried in vain; None where
    /// neither is known.
    pub fn get(&self, now: Instant) -> Option<bool> {
        let mut told = self.tellers.lock();
        let fresh = FRESH.max(told.every * FRESH_PERIODS);
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < fresh;
        told.by_place.retain(|_, teller| is_fresh(teller.last));
        self.sum(&mut told)
    }

    /// That the answer is another one. That a word counts no longer shows when it is asked for.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    fn sum(&self, told: &mut Tellers) -> Option<bool> {
        let sum = told.sum();
        if std::mem::replace(&mut told.summed, sum) != sum {
            self.revision.advance();
        }
        sum
    }

    /// Notes what the peer at this place tells, if it does: whether it reaches this node, and
    /// how long ago it has tried. A change is logged. Peers are greeted once in `every`.
    pub(super) fn note(
        &self,
        teller: Key,
        word: Option<(bool, Option<Duration>)>,
        every: Duration,
        base_url: &BaseUrl,
    ) {
        let now = Instant::now();
        let _ = self.get(now);
        let mut told = self.tellers.lock();
        told.every = every;
        if told.by_place.len() < MAX_TELLERS || told.by_place.contains_key(&teller) {
            let teller = told.by_place.entry(teller);
            teller.or_insert_with(|| Teller::new(now)).tells(word, now);
        }
        let sum = self.sum(&mut told);
        if sum.is_none() || sum == told.logged {
            return;
        }
        if sum == Some(false) {
            tracing::warn!(
                %base_url,
                "no peer reaches this node at the address that it tells, so nobody sees its \
                 files: set --base-url to one where others reach it, and --listen"
            );
        } else if told.logged.is_some() {
            tracing::info!(%base_url, "peers reach this node");
        }
        told.logged = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::prefix::Prefix;

    const EVERY: Duration = Duration::from_millis(20);

    fn url(text: &str) -> BaseUrl {
        text.parse().unwrap()
    }

    fn place(text: &str) -> Key {
        Prefix::of(&url(text)).exact
    }

    fn note(reachability: &Reachability, teller: &str, reached: bool, ago: Option<Duration>) {
        let word = Some((reached, ago));
        reachability.note(place(teller), word, EVERY, &url("http://me"));
    }

    /// A peer tells of a try that it begins now.
    fn fails(reachability: &Reachability, teller: &str) {
        // Instants of one moment are no order.
        std::thread::sleep(Duration::from_millis(1));
        note(reachability, teller, false, Some(Duration::ZERO));
    }

    #[test]
    fn only_tries_that_began_after_the_first_answer_count_and_one_is_not_enough() {
        let reachability = Reachability::default();
        let get = || reachability.get(Instant::now());
        for ago in [None, Some(Duration::from_secs(9))] {
            note(&reachability, "http://new", false, ago);
        }
        let early = Some(Duration::from_mins(1));
        for _ in 0..9 {
            note(&reachability, "http://one", false, early);
            note(&reachability, "http://two", false, early);
        }
        assert_eq!(get(), None);
        fails(&reachability, "http://one");
        assert_eq!(get(), None);
        let revision = reachability.revision().watch();
        fails(&reachability, "http://two");
        assert!(revision.has_changed().unwrap(), "whoever waits is told");
        assert_eq!(get(), Some(false));
    }

    #[test]
    fn one_peer_is_believed_once_it_has_failed_for_a_period() {
        let reachability = Reachability::default();
        note(&reachability, "http://one", false, None);
        fails(&reachability, "http://one");
        std::thread::sleep(EVERY);
        fails(&reachability, "http://one");
        assert_eq!(reachability.get(Instant::now()), Some(false));
    }

    #[test]
    fn one_who_reaches_it_counts_more_than_all_who_do_not_while_the_word_is_fresh() {
        let reachability = Reachability::default();
        let get = || reachability.get(Instant::now());
        assert_eq!(get(), None);
        for _ in 0..2 {
            fails(&reachability, "http://one");
            fails(&reachability, "http://three");
        }
        assert_eq!(get(), Some(false));
        note(&reachability, "http://two", true, None);
        fails(&reachability, "http://three");
        assert_eq!(get(), Some(true));
        fails(&reachability, "http://two");
        assert_eq!(get(), Some(false));
        let revision = reachability.revision().watch();
        assert_eq!(get(), Some(false));
        assert!(!revision.has_changed().unwrap(), "as it was");
        assert_eq!(reachability.get(Instant::now() + FRESH), None);
        assert!(revision.has_changed().unwrap());
        for number in 0..1000 {
            note(&reachability, &format!("http://x{number}"), true, None);
        }
        assert_eq!(reachability.tellers.lock().by_place.len(), MAX_TELLERS);
    }
}
