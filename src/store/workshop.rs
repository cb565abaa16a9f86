//! A directory for what is made in passing, where nothing can be made in the storage directory.

use std::env::temp_dir;
use std::fs;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskError, RealDisk};

/// A directory of the system's for temporary files, its owner's alone; gone on drop.
pub(super) struct Workshop(PathBuf);

impl Workshop {
    /// Makes one. Blocks.
    pub(super) fn make() -> Result<Self, DiskError> {
        let name = format!("larder-{}", uuid::Uuid::new_v4().simple());
        let path = temp_dir().join(name);
        match RealDisk.create_dir(&path) {
            Ok(()) => Ok(Self(path)),
            Err(error) => Err(DiskError::new("create", path, error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary directory stays");
        }
    }
}
