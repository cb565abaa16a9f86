//! Where and how the journal is kept.

use std::path::PathBuf;
use std::sync::Arc;

use super::note::ContentDir;
use crate::disk::{Disk, Durability};

/// Where and how the journal is kept.
#[derive(Clone)]
pub(in crate::index) struct Options {
    /// The directory of the segments.
    pub(in crate::index) dir: PathBuf,
    /// The contents that its records need: with each it is noted how far it has come.
    pub(in crate::index) contents: Vec<ContentDir>,
    /// How files are changed.
    pub(in crate::index) disk: Arc<dyn Disk>,
    /// Whether an append is synced before it returns.
    pub(in crate::index) durability: Durability,
    /// The length, in bytes, at which a segment is finished and a new one begun.
    pub(in crate::index) segment_bytes: u64,
}
