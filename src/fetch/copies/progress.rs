//! How far what others tell of copies was read.

use std::time::Instant;

use crate::peer_id::PeerId;
use crate::record::FileId;

/// What is known of what a member has told.
#[derive(Debug, Clone, Default)]
pub(super) struct Polled {
    pub(super) run: String,
    /// The last entry read.
    pub(super) after: Option<FileId>,
    pub(super) dropped: u64,
    pub(super) listed: u64,
    pub(super) asks: u64,
    /// The owners that do not know files of theirs that it holds.
    pub(super) unknown: Vec<PeerId>,
    /// Whether all was read that it has told in this run, and with that of all removals.
    pub(super) is_whole: bool,
}

impl Polled {
    /// Whether the member has told of its files, and in which run.
    pub(super) fn run(&self) -> Option<&str> {
        (!self.run.is_empty()).then_some(&self.run)
    }
}

/// How far the files of an owner were read that a member tells of.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadList {
    pub(super) run: String,
    pub(super) asks: u64,
    pub(super) listed: u64,
    pub(super) epoch: u64,
    /// The last one read.
    pub(super) after: Option<String>,
    /// How often in a row something of it could not be fetched, and when that is tried again.
    pub(super) failures: u32,
    pub(super) due: Option<Instant>,
}
