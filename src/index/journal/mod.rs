//! The journal: every change of the index in the order in which it happened.
//!
//! It is the truth; the lookup database is brought up to it and can be made anew
//! from it. `migrations/0001_first_format.md` gives its format byte by byte.
//!
//! Entries are numbered from 1 (their sequence number). They are written in batches,
//! each with a checksum, into segments: files that are written to the end and then
//! never changed. A snapshot segment replaces all segments before it.

use std::path::{Path, PathBuf};

use super::IndexError;

mod batch;
mod read;
mod segment;
mod snapshot;
mod writer;

pub(super) use read::{End, Piece, read};
pub(super) use segment::{Kind, Segment, last_number, list};
pub(super) use snapshot::SnapshotWriter;
pub(super) use writer::{Journal, Options};

/// Bytes of the journal that were durable once and cannot be read any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// How it shows.
    pub detail: String,
}

impl From<Damage> for IndexError {
    fn from(
        Damage {
            path,
            offset,
            detail,
        }: Damage,
    ) -> Self {
        Self::Damaged {
            path,
            offset,
            detail,
        }
    }
}

/// Where segments are made before they get their names: what a crash may leave.
pub(super) fn unfinished(dir: &Path) -> [PathBuf; 2] {
    [segment::UNFINISHED, snapshot::UNFINISHED].map(|name| dir.join(name))
}

/// What happens with damage: an error stops the reading, Ok has it go on behind.
pub(super) type OnDamage<'a> = &'a mut dyn FnMut(Damage) -> Result<(), IndexError>;

/// Stops at the first damage.
pub(super) fn refuse(damage: Damage) -> Result<(), IndexError> {
    Err(damage.into())
}
