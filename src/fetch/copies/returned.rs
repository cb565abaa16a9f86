//! Files that are there again after their owners had removed them: from a backup, or from the
//! trash.
//!
//! A removal is remembered wherever somebody may come back who holds the file still, and ends all
//! that its owner has signed before. What the owner signs of a file that is back says since when it
//! is: a moment behind that of the last removal that anybody remembers. So no clock decides whether
//! it is followed, and nothing that was signed before a removal is, whoever repeats it.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use crate::peer::copies::{CopyKey, Withdrawal};
use crate::record::FileId;

/// How many turns there are at own files, which share them.
const TURNS: usize = 64;
/// Of how many files of others it is known that they are back; of more, removals that somebody
/// repeats have those be looked for again who hold them.
const MOST: usize = 65_536;

/// Since when files are there again.
pub(super) struct Returned {
    own: Mutex<HashMap<FileId, u64>>,
    others: Mutex<HashMap<CopyKey, u64>>,
    /// Whoever removes an own file, or finds that it is back, has the turn at it.
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
}

impl Default for Returned {
    fn default() -> Self {
        Self {
            own: Mutex::default(),
            others: Mutex::default(),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Returned {
    /// Since when an own file is there again; 0 of one that was never removed.
    pub(super) fn since(&self, file: FileId) -> u64 {
        self.own.lock().get(&file).copied().unwrap_or(0)
    }

    /// Notes that an own file is back since then; whether that is later than was known.
    pub(super) fn note(&self, file: FileId, since: u64) -> bool {
        let mut own = self.own.lock();
        let known = own.entry(file).or_insert(0);
        let is_later = since > *known;
        *known = since.max(*known);
        is_later
    }

    /// Notes that the owner of a file has signed that it is back since then.
    pub(super) fn note_other(&self, key: CopyKey, since: u64) {
        let mut others = self.others.lock();
        if since > 0 && (others.len() < MOST || others.contains_key(&key)) {
            let known = others.entry(key).or_insert(0);
            *known = since.max(*known);
        }
    }

    /// Whether a file of another is known to be back since that removal.
    pub(super) fn is_since(&self, key: CopyKey, removal: &Withdrawal) -> bool {
        let since = self.others.lock().get(&key).copied();
        since.is_some_and(|it| it > removal.told_at)
    }

    /// Has nobody else remove an own file meanwhile, or find that it is back.
    pub(super) async fn turn(&self, file: FileId) -> Option<MutexGuard<'_, ()>> {
        let turn = self.hasher.hash_one(file) % TURNS as u64;
        let turn = self.turns.get(usize::try_from(turn).unwrap_or(0))?;
        Some(turn.lock().await)
    }
}

/// While it lives, nobody finds that the file is back whose removal was written down.
#[must_use]
pub struct Removing<'a> {
    pub(super) _turn: Option<MutexGuard<'a, ()>>,
}
