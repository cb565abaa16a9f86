//! What is known of files whose uploaders have said on how many members they are to be.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;

use crate::record::FileId;

/// The most members that a file can be on.
pub const MOST_COPIES: u8 = 16;

/// What is known of wishes.
#[derive(Default)]
pub(super) struct Wishes {
    /// Whether there may be any.
    pub(super) any: AtomicBool,
    /// Behind which files none is told of, by the number of who has said so.
    pub(super) hidden: Mutex<BTreeMap<u64, Option<FileId>>>,
    pub(super) next: AtomicU64,
    /// How often something was hidden and is no longer.
    pub(super) shown: AtomicU64,
    /// How often one was written down.
    pub(super) made: AtomicU64,
    /// How often another number was wished for a file of which others may know.
    pub(super) changed: AtomicU64,
    /// Taken by whoever writes one down, or forgets it.
    pub(super) writing: tokio::sync::Mutex<()>,
}
