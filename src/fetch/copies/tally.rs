//! How many own files are on how many members, as a count that follows what changes.

use std::collections::{BTreeSet, HashSet};

use crate::hash::BlobHash;
use crate::record::FileId;

/// Of how many files it is known that they are on too few; of more, only how many those are, so
/// that each change has all of them be counted.
const MOST: usize = 262_144;

/// What was counted.
pub(super) struct Tally {
    /// Those that are on fewer members than they are to be, with their contents.
    under: BTreeSet<(BlobHash, FileId)>,
    /// Those that are to have copies where files usually are not, or the other way round.
    unusual: HashSet<FileId>,
    /// Whether files usually are to have copies.
    is_usual: bool,
    /// The last file that was counted.
    pub(super) last: Option<FileId>,
    /// How many there are of which nothing else is known.
    untold: Option<Untold>,
}

#[derive(Default)]
struct Untold {
    under: u64,
    unusual: u64,
}

impl Tally {
    /// Of no file yet, which are to be on so many members where nothing else is said.
    pub(super) fn new(usual: u8) -> Self {
        Self {
            under: BTreeSet::new(),
            unusual: HashSet::new(),
            is_usual: usual > 1,
            last: None,
            untold: None,
        }
    }

    /// Notes on how many members a file is to be, and on how many it is.
    pub(super) fn note(&mut self, file: FileId, hash: BlobHash, (copies, there): (u8, usize)) {
        let is_under = copies > 1 && there < usize::from(copies);
        let is_unusual = (copies > 1) != self.is_usual;
        if let Some(untold) = &mut self.untold {
            untold.under += u64::from(is_under);
            untold.unusual += u64::from(is_unusual);
            return;
        }
        if is_under {
            self.under.insert((hash, file));
        } else {
            self.under.remove(&(hash, file));
        }
        if is_unusual {
            self.unusual.insert(file);
        } else {
            self.unusual.remove(&file);
        }
        if self.under.len() + self.unusual.len() > MOST {
            self.untold = Some(Untold {
                under: self.under.len() as u64,
                unusual: self.unusual.len() as u64,
            });
            (self.under, self.unusual) = (BTreeSet::new(), HashSet::new());
        }
    }

    /// Forgets a file that is there no more.
    pub(super) fn forget(&mut self, file: FileId, hash: BlobHash) {
        self.under.remove(&(hash, file));
        self.unusual.remove(&file);
    }

    /// Whether all are to be counted where anything has changed.
    pub(super) fn is_coarse(&self) -> bool {
        self.untold.is_some()
    }

    /// The files with this content that are on too few members.
    pub(super) fn under_with(&self, hash: BlobHash) -> Vec<FileId> {
        let all = (hash, FileId::from_bytes([0; 16]))..=(hash, FileId::from_bytes([255; 16]));
        self.under.range(all).map(|(_, file)| *file).collect()
    }

    /// How many of so many files are to have copies, and how many have too few.
    pub(super) fn counts(&self, all: u64) -> (u64, u64) {
        let untold = self.untold.as_ref();
        let unusual = untold.map_or(self.unusual.len() as u64, |it| it.unusual);
        let files = if self.is_usual {
            all.saturating_sub(unusual)
        } else {
            unusual
        };
        (files, untold.map_or(self.under.len() as u64, |it| it.under))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(number: u128) -> FileId {
        FileId::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn a_file_counts_as_it_was_seen_last_and_not_at_all_once_it_is_gone() {
        let (hash, other) = (BlobHash::of(b"x"), BlobHash::of(b"y"));
        let mut tally = Tally::new(2);
        tally.note(file(1), hash, (2, 1));
        tally.note(file(2), hash, (3, 2));
        tally.note(file(3), other, (1, 1));
        assert_eq!(tally.counts(3), (2, 2));
        assert_eq!(tally.under_with(hash), [file(1), file(2)]);
        assert_eq!(tally.under_with(other), []);
        tally.note(file(1), hash, (2, 2));
        tally.note(file(3), other, (2, 1));
        assert_eq!(tally.counts(3), (3, 2));
        tally.forget(file(3), other);
        tally.forget(file(2), hash);
        assert_eq!(tally.counts(1), (1, 0));
        let mut alone = Tally::new(1);
        alone.note(file(1), hash, (1, 1));
        alone.note(file(2), hash, (2, 1));
        assert_eq!(alone.counts(2), (1, 1));
    }

    #[test]
    fn of_too_many_only_their_number_is_known() {
        let (hash, mut tally) = (BlobHash::of(b"x"), Tally::new(2));
        let all = MOST as u128 + 10;
        for number in 0..all {
            assert!(!tally.is_coarse() || number > MOST as u128);
            tally.note(file(number), hash, (2, 1));
        }
        assert!(tally.is_coarse() && tally.under.is_empty());
        assert_eq!(
            tally.counts(MOST as u64 + 10),
            (MOST as u64 + 10, MOST as u64 + 10)
        );
    }
}
