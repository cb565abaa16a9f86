//! In what health contents are, as far as that has shown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::hash::BlobHash;
use crate::health::Health;
use crate::record::Timestamp;

/// Of how many contents it is known when they were found whole: the last ones, in half a MiB of
/// memory.
const CHECKED: usize = 8192;

/// What is known of the health of contents: a hundred bytes of memory for each that is not whole.
pub(super) struct Healths {
    /// How those are that are not whole.
    found: Mutex<HashMap<BlobHash, Health>>,
    /// How many of them are damaged and how many unreadable, so that nobody waits for the others
    /// where there are none.
    damaged: AtomicU64,
    unreadable: AtomicU64,
    checked: Cache<BlobHash, Timestamp>,
}

impl Default for Healths {
    fn default() -> Self {
        Self {
            found: Mutex::default(),
            damaged: AtomicU64::default(),
            unreadable: AtomicU64::default(),
            checked: Cache::new(CHECKED),
        }
    }
}

impl Healths {
    /// Notes what was found of a content, and returns whether it is in another health than before.
    pub(super) fn note(&self, hash: &BlobHash, health: Health) -> bool {
        let before = self.set(hash, health);
        match health {
            Health::Damaged | Health::Unreadable => drop(self.checked.remove(hash)),
            Health::Whole => self.checked.insert(*hash, Timestamp::now()),
        }
        before != health
    }

    /// Forgets a content that is gone.
    pub(super) fn forget(&self, hash: &BlobHash) {
        self.set(hash, Health::Whole);
        self.checked.remove(hash);
    }

    /// Remembers in what health a content is, and returns in which it was before.
    fn set(&self, hash: &BlobHash, health: Health) -> Health {
        let mut found = self.found.lock();
        let before = match health {
            Health::Whole => found.remove(hash),
            _ => found.insert(*hash, health),
        };
        if let Some(counted) = before.and_then(|it| self.counter(it)) {
            counted.fetch_sub(1, Ordering::Release);
        }
        if let Some(counted) = self.counter(health) {
            counted.fetch_add(1, Ordering::Release);
        }
        before.unwrap_or(Health::Whole)
    }

    fn counter(&self, health: Health) -> Option<&AtomicU64> {
        match health {
            Health::Whole => None,
            Health::Damaged => Some(&self.damaged),
            Health::Unreadable => Some(&self.unreadable),
        }
    }

    /// How many contents are known to be in such a health, but for those that are whole.
    pub(super) fn count(&self, health: Health) -> u64 {
        let counter = self.counter(health);
        counter.map_or(0, |it| it.load(Ordering::Acquire))
    }

    /// Whether a content is known to be in such a health, which is not that of whole ones.
    pub(super) fn is_found(&self, hash: &BlobHash, health: Health) -> bool {
        self.count(health) > 0 && self.found.lock().get(hash) == Some(&health)
    }

    /// When a content was found whole the last time, if that was lately.
    pub(super) fn checked_at(&self, hash: &BlobHash) -> Option<Timestamp> {
        self.checked.get(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_whole_contents_stays_within_its_bound() {
        let healths = Healths::default();
        for n in 0..CHECKED * 4 {
            healths.note(&BlobHash::of(&n.to_le_bytes()), Health::Whole);
        }
        assert!(healths.checked.len() < CHECKED * 2);
        let last = BlobHash::of(b"last");
        healths.note(&last, Health::Damaged);
        assert_eq!(healths.count(Health::Damaged), 1);
        healths.forget(&last);
        assert_eq!(healths.count(Health::Damaged), 0);
    }

    #[test]
    fn a_content_counts_as_what_it_was_found_last() {
        let (healths, hash) = (Healths::default(), BlobHash::of(b"content"));
        let counts = || [Health::Damaged, Health::Unreadable].map(|it| healths.count(it));
        for (found, is_news, expected) in [
            (Health::Whole, false, [0, 0]),
            (Health::Unreadable, true, [0, 1]),
            (Health::Unreadable, false, [0, 1]),
            (Health::Damaged, true, [1, 0]),
            (Health::Unreadable, true, [0, 1]),
            (Health::Whole, true, [0, 0]),
        ] {
            assert_eq!(healths.note(&hash, found), is_news);
            assert_eq!(counts(), expected);
            let is_found = [Health::Damaged, Health::Unreadable]
                .map(|it| u64::from(healths.is_found(&hash, it)));
            assert_eq!(is_found, expected);
        }
    }
}
