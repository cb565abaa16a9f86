//! Whether others reach this node, as the peers tell that it greets: each of them has asked it
//! at the address that it tells.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::prefix::Key;
use crate::base_url::BaseUrl;

/// The most peers whose word is remembered; further ones are not heard meanwhile.
const MAX_TELLERS: usize = 64;
/// How long the word of one counts.
const FRESH: Duration = Duration::from_mins(10);

/// What peers tell of how they reach this node.
#[derive(Debug, Default)]
pub struct Reachability(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    /// What the peer at each place told last, and when.
    tellers: HashMap<Key, (bool, Instant)>,
    /// What was written to the log last.
    logged: Option<bool>,
}

impl Told {
    /// One who reaches the node shows that it can be reached, whatever others say.
    fn sum(&self) -> Option<bool> {
        self.tellers.values().map(|(reached, _)| *reached).max()
    }
}

impl Reachability {
    /// Whether some peer reaches this node, or those that tell do not; None where nobody has
    /// told lately.
    pub fn get(&self, now: Instant) -> Option<bool> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        told.tellers.retain(|_, (_, at)| fresh(*at));
        told.sum()
    }

    /// Notes what the peer at this place tells. A change is logged.
    pub(super) fn note(&self, teller: Key, reached: bool, base_url: &BaseUrl) {
        let now = Instant::now();
        let _ = self.get(now);
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.tellers.len() < MAX_TELLERS || told.tellers.contains_key(&teller) {
            told.tellers.insert(teller, (reached, now));
        }
        let sum = told.sum();
        if sum == told.logged {
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

    #[test]
    fn one_who_reaches_it_counts_more_than_all_who_do_not_while_the_word_is_fresh() {
        let url = |text: &str| text.parse::<BaseUrl>().unwrap();
        let place = |text: &str| Prefix::of(&url(text)).exact;
        let reachability = Reachability::default();
        let note = |teller, reached| reachability.note(teller, reached, &url("http://me"));
        let get = || reachability.get(Instant::now());
        assert_eq!(get(), None);
        note(place("http://one"), false);
        assert_eq!(get(), Some(false));
        note(place("http://two"), true);
        note(place("http://three"), false);
        assert_eq!(get(), Some(true));
        note(place("http://two"), false);
        assert_eq!(get(), Some(false));
        assert_eq!(reachability.get(Instant::now() + FRESH), None);
        for number in 0..1000 {
            note(place(&format!("http://x{number}")), true);
        }
        assert_eq!(reachability.0.lock().unwrap().tellers.len(), MAX_TELLERS);
    }
}
