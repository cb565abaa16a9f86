//! What a store is kept in, for people who look after it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk_use::{DiskUse, files_below};
use super::{Store, StoreError};
use crate::blob::BlobError;
use crate::blocking;
use crate::metrics::servers::Servers;
use crate::timed_disk::Syncs;

/// The parts of a storage directory whose files are counted when that is asked: few files each,
/// however many are stored.
const COUNTED_DIRS: [&str; 5] = ["spool", "keeping", "repairing", "journal", "index"];

/// What a store is kept in.
#[derive(Debug, Default)]
pub struct Storage {
    /// The storage directory; None where all is in memory.
    pub(super) dir: Option<PathBuf>,
    /// The URL of the bucket that keeps the contents, where that is what keeps them: the same for
    /// all nodes that share it.
    pub(super) bucket: Option<String>,
    /// Whether long content is proven against its hash before it is given out.
    pub(super) verifies_reads: bool,
    /// How long its disk takes to sync.
    pub(super) syncs: Arc<Syncs>,
    /// What is asked of the servers that keep it for several nodes, if they do.
    pub(super) servers: Option<Servers>,
}

impl Storage {
    /// Whether long content is proven against its hash before it is given out.
    pub fn verifies_reads(&self) -> bool {
        self.verifies_reads
    }

    /// How long its disk takes to sync.
    pub fn syncs(&self) -> &Syncs {
        &self.syncs
    }

    /// What is asked of the servers that keep it for several nodes, if they do.
    pub fn servers(&self) -> Option<&Servers> {
        self.servers.as_ref()
    }
}

/// Where contents are kept, as it was configured.
impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.bucket, &self.dir) {
            (Some(bucket), _) => f.write_str(bucket),
            (None, Some(dir)) => dir.display().fmt(f),
            (None, None) => f.write_str("memory"),
        }
    }
}

impl Store {
    /// What it is kept in.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The files in each part of the storage directory, of which there is none in memory.
    pub async fn disk_use(&self) -> Result<Vec<(&'static str, DiskUse)>, StoreError> {
        let Some(dir) = self.storage.dir.clone() else {
            return Ok(Vec::new());
        };
        Ok(blocking::run(move || count(&dir)).await?)
    }
}

fn count(dir: &Path) -> Result<Vec<(&'static str, DiskUse)>, BlobError> {
    let counted = COUNTED_DIRS.iter().map(|name| {
        let files = files_below(&dir.join(name));
        let files = files.map_err(|e| BlobError::io("count files in", dir, e))?;
        Ok((*name, files))
    });
    counted.collect()
}
