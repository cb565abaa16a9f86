//! The trash: files that were removed and can be brought back for a while.
//!
//! To the index they are files as any others, so their contents stay, are checked, repaired and
//! counted. Which of them are in the trash is written down beside it (`log.rs`), and whoever asks
//! the store for files finds none of those. So to remove a file is one synced entry, and so is it
//! to bring it back, with its id and all else that it had.
//!
//! How long a file stays is measured by a clock that nobody sets: it goes while a node runs, and
//! stands while none does. A file never goes before its time, then, whatever the clock of the
//! machine does, and may stay for longer where the node was stopped meanwhile.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};

use crate::disk::{Disk, DiskError, Durability};
use crate::hash::BlobHash;
use crate::index::IndexError;
use crate::record::{FileId, FileRecord, Timestamp};
use crate::store::layout::TRASH;

mod entry;
mod keeping;
mod log;
mod marks;
mod shown;

pub(super) use log::UNFINISHED;
pub use marks::TrashTotals;

use entry::{Entry, Mark};
use log::Log;

/// How many turns there are at files, which share them.
const TURNS: usize = 64;

/// The trash of a store.
pub(super) struct Trash {
    /// How long what is removed stays; None where it goes at once.
    keeps: Option<Duration>,
    log: Log,
    /// How far its own clock had come, and when that was.
    clock: (u64, Instant),
    /// Whoever removes a file or brings it back has the turn at it.
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
}

/// A file in the trash.
#[derive(Debug)]
pub struct Trashed {
    /// What it was.
    pub record: FileRecord,
    /// When it was removed, by the clock of the machine.
    pub removed_at: Timestamp,
    /// How long it stays, if the node runs.
    pub stays: Duration,
}

impl Trash {
    /// The trash of a storage directory, in which what is removed from now on stays for so long.
    /// `announce` has older larders kept out, before the first file is in it. Blocks.
    pub(super) fn open(
        dir: &Path,
        disk: Arc<dyn Disk>,
        durability: Durability,
        keeps: Option<Duration>,
        announce: impl Fn() -> Result<(), DiskError> + Send + Sync + 'static,
    ) -> Result<Self, DiskError> {
        let read = log::read(dir)?;
        let clock = read.as_ref().map_or(0, |it| it.clock);
        if let Some(damaged @ 1..) = read.as_ref().map(|it| it.damaged) {
            tracing::error!(
                damaged,
                "changes of the trash cannot be read: the files that they had removed are back"
            );
        }
        let announce = Box::new(announce);
        Ok(Self {
            keeps,
            log: Log::open(dir, disk, durability, read, announce)?,
            clock: (clock, Instant::now()),
            turns: (0..TURNS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        })
    }

    /// How far its own clock is, in milliseconds.
    fn now(&self) -> u64 {
        let (before, since) = self.clock;
        let passed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        before.saturating_add(passed)
    }

    /// Has nobody else change the file meanwhile.
    async fn turn(&self, id: FileId) -> Option<MutexGuard<'_, ()>> {
        let turn = self.hasher.hash_one(id) % TURNS as u64;
        let turn = self.turns.get(usize::try_from(turn).unwrap_or(0))?;
        Some(turn.lock().await)
    }

    /// Whether a file is in it.
    pub(super) fn has(&self, id: FileId) -> bool {
        self.log.marks().has(id)
    }

    /// How many of its files have this content.
    pub(super) fn users(&self, hash: &BlobHash) -> u32 {
        self.log.marks().users(hash)
    }

    pub(super) fn totals(&self) -> TrashTotals {
        self.log.marks().totals()
    }

    fn mark_of(&self, record: &FileRecord, keeps: Duration) -> Mark {
        let keeps = u64::try_from(keeps.as_millis()).unwrap_or(u64::MAX);
        Mark {
            hash: record.file.hash,
            size: record.file.size,
            removed_at: Timestamp::now(),
            until: self.now().saturating_add(keeps),
        }
    }

    /// With relaxed durability: makes durable what was written.
    pub(super) async fn sync(&self) -> Result<(), IndexError> {
        self.log.sync().await
    }

    /// Why nothing more is written, if that is so.
    pub(super) fn refusal(&self) -> Option<String> {
        self.log.refusal()
    }
}

/// What is wrong with what is written down in a storage directory, in words. Blocks.
pub(super) fn problem(dir: &Path) -> Result<Option<(PathBuf, String)>, DiskError> {
    let damaged = log::read(dir)?.map_or(0, |it| it.damaged);
    let problem = "changes cannot be read, and files that they had removed are back";
    Ok((damaged > 0).then(|| (dir.join(TRASH), format!("{damaged} {problem}"))))
}
