//! That something has changed, for whoever waits for that: nobody has to look again and again.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::watch;

/// Counts the changes of something, and wakes those who wait for the next one.
#[derive(Debug, Default)]
pub struct Revision(watch::Sender<u64>);

impl Revision {
    /// Counts a change. Whoever is woken by it finds it made.
    pub fn advance(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits for changes from now on; the number differs where there were any.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// A map that counts what changes in it.
#[derive(Debug)]
pub struct TrackedMap<K, V> {
    entries: BTreeMap<K, V>,
    changes: Arc<Revision>,
}

impl<K, V> Default for TrackedMap<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            changes: Arc::default(),
        }
    }
}

impl<K, V> Deref for TrackedMap<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &Self::Target {
        &self.entries
    }
}

impl<K: Ord, V> TrackedMap<K, V> {
    /// What has changed so far.
    pub fn changes(&self) -> &Arc<Revision> {
        &self.changes
    }

    /// Adds a value, or replaces one.
    pub fn insert(&mut self, key: K, value: V) {
        self.entries.insert(key, value);
        self.changes.advance();
    }

    /// Removes a value, if there is one.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let removed = self.entries.remove(key)?;
        self.changes.advance();
        Some(removed)
    }

    /// Removes the values that are not to be kept.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        let before = self.entries.len();
        self.entries.retain(keep);
        if self.entries.len() != before {
            self.changes.advance();
        }
    }

    /// Changes all values in what shows to nobody.
    pub fn change_unshown(&mut self, work: impl FnMut(&mut V)) {
        self.entries.values_mut().for_each(work);
    }

    /// Changes a value, if there is one. It is no change for others where the value `shows` the
    /// same before and after.
    pub fn change<T, S: PartialEq>(
        &mut self,
        key: &K,
        shows: impl Fn(&V) -> S,
        work: impl FnOnce(&mut V) -> T,
    ) -> Option<T> {
        let value = self.entries.get_mut(key)?;
        let before = shows(value);
        let done = work(value);
        if shows(value) != before {
            self.changes.advance();
        }
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_and_what_shows_the_same_is_none() {
        let mut map = TrackedMap::default();
        let mut watch = map.changes().watch();
        let mut is_told = || {
            let told = watch.has_changed().unwrap();
            watch.mark_unchanged();
            told
        };
        map.insert(1, (1, 'a'));
        assert!(is_told());
        map.change(&1, |it| it.0, |it| it.1 = 'b');
        assert!(!is_told());
        map.change(&1, |it| it.0, |it| it.0 = 2);
        assert!(is_told());
        assert_eq!(map.change(&2, |it| it.0, |_| ()), None);
        map.retain(|_, _| true);
        assert_eq!(map.remove(&2), None);
        assert!(!is_told());
        assert_eq!(map.remove(&1), Some((2, 'b')));
        assert!(is_told());
        map.insert(3, (3, 'c'));
        assert!(is_told());
        map.retain(|_, _| false);
        assert!(is_told());
    }
}
