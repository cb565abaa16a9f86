//! The journal: every change of the index in the order in which it happened.
//!
//! It is the truth; the lookup database is brought up to it and can be made anew
//! from it. `migrations/0001_first_format.md` gives its format byte by byte.
//!
//! Entries are numbered from 1 (their sequence number). They are written in batches,
//! each with a checksum, into segments: files that are written to the end and then
//! never changed. A snapshot segment replaces all segments before it.

use std::path::{Path, PathBuf};

mod batch;
mod damage;
mod last;
mod list;
mod note;
mod options;
mod reached;
mod read;
mod reread;
mod search;
mod segment;
mod snapshot;
mod writer;

pub(super) use batch::Batch;
pub use damage::Damage;
pub(super) use damage::{OnDamage, refuse};
pub(super) use last::{Last, copy_of_last, damage_of_last, forget_last, has_copy_of_last, last};
pub(super) use list::list;
pub use note::ContentDir;
pub(super) use options::Options;
pub(super) use reached::{
    damage_of_reached, forget_reached, has_silent_note, reached, settle_kept, stranger,
    tells_of_journal, tells_of_kept, unnoted,
};
pub(super) use read::{End, Piece, Spot, read};
pub(super) use reread::{LastRead, Reread};
pub(super) use segment::{Kind, Segment, last_number};
pub(super) use snapshot::SnapshotWriter;
pub(super) use writer::Journal;

/// Where a snapshot is written before it gets its name.
pub(super) fn unfinished_snapshot(dir: &Path) -> PathBuf {
    dir.join(snapshot::UNFINISHED)
}

/// Where segments are made before they get their names: what a crash may leave.
pub(super) fn unfinished(dir: &Path) -> [PathBuf; 2] {
    [segment::UNFINISHED, snapshot::UNFINISHED].map(|name| dir.join(name))
}
