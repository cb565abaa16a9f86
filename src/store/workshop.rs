//! A directory for what is made in passing, where nothing can be made in the storage directory.

use std::env::temp_dir;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A directory among the system's for temporary files, which whoever needs it makes; gone on drop.
pub(super) struct Workshop(PathBuf);

impl Workshop {
    /// Names one that nobody has.
    pub(super) fn name() -> Self {
        let name = format!("larder-{}", uuid::Uuid::new_v4().simple());
        Self(temp_dir().join(name))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "a temporary directory stays");
            }
            _ => {}
        }
    }
}
