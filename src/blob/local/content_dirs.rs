//! The directories in which blobs are, for who keeps records of them.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::packs::{self, NOTE};
use super::{DIR, LONGEST_IN_PACKS, PACKS_DIR, listing};

/// A directory of blobs, for who keeps records of them.
pub struct ContentDir {
    /// Where it is.
    pub dir: PathBuf,
    /// A file in it that is left to whoever keeps the records; None where only directories
    /// belong there.
    pub note: Option<PathBuf>,
    /// The sizes of the blobs that come into it, in bytes.
    pub sizes: RangeInclusive<u64>,
    /// Whether any blob is in it, for who has to know that before anything is built upon there
    /// being none. What cannot be looked at counts as some. It blocks.
    pub holds_any: fn(&Path) -> bool,
}

/// Where the blobs of a storage directory are.
pub fn content_dirs(storage: &Path) -> [ContentDir; 2] {
    let (long, packs) = (storage.join(DIR), storage.join(PACKS_DIR));
    [
        ContentDir {
            dir: long,
            note: None,
            sizes: LONGEST_IN_PACKS + 1..=u64::MAX,
            holds_any: listing::has_any,
        },
        ContentDir {
            note: Some(packs.join(NOTE)),
            dir: packs,
            sizes: 0..=LONGEST_IN_PACKS,
            holds_any: packs::are_any,
        },
    ]
}

/// Those of them in which nothing is: the store is new, or their disk is not mounted. Blocks.
pub fn bare_dirs(storage: &Path) -> Vec<ContentDir> {
    let mut dirs = Vec::from(content_dirs(storage));
    dirs.retain(|it| listing::is_bare(&it.dir));
    dirs
}

impl ContentDir {
    /// Removes what a start has made in one that was bare, so that the next one finds it so.
    /// Blocks.
    pub fn leave_bare(&self) {
        if let Some(note) = &self.note {
            // Whoever has it open goes on writing to it.
            let _ = std::fs::remove_file(note);
        }
        listing::remove_empty_in(&self.dir);
    }
}
