//! In what health contents are, as far as that has shown.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quick_cache::sync::Cache;

use crate::hash::BlobHash;
use crate::health::Health;
use crate::record::Timestamp;

/// Of how many contents it is known when they were found whole: the last ones, in half a MiB of
/// memory.
const CHECKED: usize = 8192;

/// What is known of the health of contents: a hundred bytes of memory for each that is damaged.
pub(super) struct Healths {
    damaged: Mutex<HashSet<BlobHash>>,
    /// How many those are, so that nobody waits for the others where there are none.
    count: AtomicU64,
    checked: Cache<BlobHash, Timestamp>,
}

impl Default for Healths {
    fn default() -> Self {
        Self {
            damaged: Mutex::default(),
            count: AtomicU64::default(),
            checked: Cache::new(CHECKED),
        }
    }
}

impl Healths {
    /// Notes what was found of a content, and returns whether it was damaged before and is not
    /// any more, or the other way round.
    pub(super) fn note(&self, hash: &BlobHash, health: Health) -> bool {
        let is_news = {
            let mut damaged = self.damaged.lock();
            let is_news = match health {
                Health::Damaged => damaged.insert(*hash),
                Health::Whole => damaged.remove(hash),
            };
            self.count.store(damaged.len() as u64, Ordering::Release);
            is_news
        };
        match health {
            Health::Damaged => drop(self.checked.remove(hash)),
            Health::Whole => self.checked.insert(*hash, Timestamp::now()),
        }
        is_news
    }

    /// Forgets a content that is gone.
    pub(super) fn forget(&self, hash: &BlobHash) {
        let mut damaged = self.damaged.lock();
        damaged.remove(hash);
        self.count.store(damaged.len() as u64, Ordering::Release);
        self.checked.remove(hash);
    }

    /// How many contents are known to be damaged.
    pub(super) fn damaged(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Whether a content is known to be damaged.
    pub(super) fn is_damaged(&self, hash: &BlobHash) -> bool {
        self.damaged() > 0 && self.damaged.lock().contains(hash)
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
        assert_eq!(healths.damaged(), 1);
        healths.forget(&last);
        assert_eq!(healths.damaged(), 0);
    }
}
