//! Which files are in the trash, in memory: some 150 bytes for each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::entry::{Entry, Mark};
use crate::hash::BlobHash;
use crate::record::FileId;

/// How much is in the trash.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct TrashTotals {
    /// Files.
    pub files: u64,
    /// The sum of their sizes, in bytes.
    pub bytes: u64,
}

/// The files in the trash.
#[derive(Default)]
pub(super) struct Marks {
    files: BTreeMap<FileId, Mark>,
    /// By when they go.
    due: BTreeSet<(u64, FileId)>,
    /// How many of them have each content.
    users: HashMap<BlobHash, u32>,
    totals: TrashTotals,
}

impl Marks {
    pub(super) fn totals(&self) -> TrashTotals {
        self.totals
    }

    pub(super) fn has(&self, id: FileId) -> bool {
        self.files.contains_key(&id)
    }

    pub(super) fn get(&self, id: FileId) -> Option<Mark> {
        self.files.get(&id).copied()
    }

    /// How many of its files have this content.
    pub(super) fn users(&self, hash: &BlobHash) -> u32 {
        self.users.get(hash).copied().unwrap_or(0)
    }

    /// At most `limit` of them, from the first behind `after`.
    pub(super) fn page(&self, after: Option<FileId>, limit: usize) -> Vec<(FileId, Mark)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let files = self.files.range((from, Bound::Unbounded)).take(limit);
        files.map(|(id, mark)| (*id, *mark)).collect()
    }

    /// At most `limit` of those that go by `now`, the first that are due.
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<FileId> {
        let due = self.due.iter().take_while(|(until, _)| *until <= now);
        due.take(limit).map(|(_, id)| *id).collect()
    }

    pub(super) fn apply(&mut self, entry: &Entry) {
        match *entry {
            Entry::Marked(id, mark) => self.insert(id, mark),
            Entry::Gone(id) => drop(self.remove(id)),
            Entry::Clock(_) => {}
        }
    }

    fn insert(&mut self, id: FileId, mark: Mark) {
        self.remove(id);
        self.files.insert(id, mark);
        self.due.insert((mark.until, id));
        *self.users.entry(mark.hash).or_default() += 1;
        self.totals.files += 1;
        self.totals.bytes += mark.size;
    }

    pub(super) fn remove(&mut self, id: FileId) -> bool {
        let Some(mark) = self.files.remove(&id) else {
            return false;
        };
        self.due.remove(&(mark.until, id));
        if let Some(users) = self.users.get_mut(&mark.hash) {
            *users -= 1;
            if *users == 0 {
                self.users.remove(&mark.hash);
            }
        }
        self.totals.files -= 1;
        self.totals.bytes -= mark.size;
        true
    }

    /// What is to be written down so that this is known again.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.files
            .iter()
            .map(|(id, mark)| Entry::Marked(*id, *mark))
    }
}
