//! Where and how packs are kept.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::damage::Damage;
use super::super::refusal::Refusal;
use super::super::spool;
use super::open_packs::OpenPacks;
use crate::disk::Disk;

/// Where and how packs are kept.
#[derive(Clone)]
pub(crate) struct Options {
    /// The directory of the packs.
    pub(crate) dir: PathBuf,
    /// The directory of the blobs that are files if format 1 has left small ones there.
    pub(crate) small_files: Option<PathBuf>,
    /// How files are changed, when a blob is durable, and how much room is left alone.
    pub(crate) spool: spool::Scratch,
    /// The length, in bytes, at which a pack is finished and a new one begun.
    pub(crate) pack_bytes: u32,
    /// Which packs stay open.
    pub(crate) open: Arc<OpenPacks>,
    /// Shared with the blobs that are files.
    pub(crate) refusal: Arc<Refusal>,
    /// Shared with the blobs that are files.
    pub(crate) damage: Arc<Damage>,
}

impl Options {
    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.spool.disk
    }
}
