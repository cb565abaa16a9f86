//! Where and how content is spooled.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::{Disk, Durability};

/// Content up to this many bytes is spooled in memory.
pub(crate) const MEMORY_LIMIT: u64 = 64 * 1024;

/// Where and how content is spooled.
#[derive(Clone)]
pub(crate) struct Scratch {
    /// The directory of the spool files, on the file system of the blobs.
    pub(crate) dir: PathBuf,
    /// How files are changed.
    pub(crate) disk: Arc<dyn Disk>,
    /// The free space, in bytes, below which nothing more is taken: the journal
    /// and the index need room to go on.
    pub(crate) reserve: u64,
    /// When what is spooled will be durable once it is kept: content that is synced then goes
    /// to the disk while it comes in.
    pub(crate) durability: Durability,
}
