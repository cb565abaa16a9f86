//! Where and how a local index is kept.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, Durability};
use crate::index::journal::{self, ContentDir};

/// Hears how many entries of the journal were read, now and then.
pub type Told = Arc<dyn Fn(u64) + Send + Sync>;

/// Where and how a local index is kept.
#[derive(Clone)]
pub struct Options {
    /// The storage directory; the index uses `journal/`, `index/` and `index.seal` in it.
    pub dir: PathBuf,
    /// Where lookup databases are made, if not in the storage directory: for who only looks, since
    /// opening one changes its files.
    pub elsewhere: Option<PathBuf>,
    /// How files are changed.
    pub disk: Arc<dyn Disk>,
    /// Whether a change is synced before it is acknowledged.
    pub durability: Durability,
    /// How much has to be free before a new lookup database is made, in bytes: until then the
    /// journal answers.
    pub room: u64,
    /// The lookup database's cache, in bytes.
    pub cache_bytes: u64,
    /// The length, in bytes, at which a journal segment is finished.
    pub segment_bytes: u64,
    /// The journal is compacted when it holds at least so many entries and most are dead, though
    /// more changes wait.
    pub compact_entries: u64,
    /// The same where none waits, so that a small store gives back what is dead, too.
    pub compact_in_calm: u64,
    /// Where contents are in the storage directory: where there are any, a journal must have told
    /// of them.
    pub contents: Vec<ContentDir>,
    /// Hears how far a lookup database is that is made anew.
    pub told: Option<Told>,
}

impl Options {
    /// The usual sizes.
    pub fn new(dir: impl Into<PathBuf>, disk: Arc<dyn Disk>, durability: Durability) -> Self {
        Self {
            dir: dir.into(),
            elsewhere: None,
            disk,
            durability,
            room: 0,
            cache_bytes: 4 << 20,
            segment_bytes: 64 << 20,
            compact_entries: 100_000,
            compact_in_calm: 1000,
            contents: Vec::new(),
            told: None,
        }
    }

    /// Where and how its journal is kept.
    pub(super) fn journal(&self) -> journal::Options {
        journal::Options {
            dir: self.dir.join("journal"),
            contents: self.contents.clone(),
            disk: Arc::clone(&self.disk),
            durability: self.durability,
            segment_bytes: self.segment_bytes,
        }
    }

    /// Where the lookup databases are.
    pub(super) fn index_dir(&self) -> PathBuf {
        self.elsewhere.as_ref().unwrap_or(&self.dir).join("index")
    }

    /// Where the lookup database of this generation is.
    pub(super) fn generation_dir(&self, generation: u64) -> PathBuf {
        self.index_dir().join(format!("{generation:010}"))
    }
}
