//! How writing to a store goes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::error::StoreError;
use super::plenty::Plenty;
use crate::blob::BlobError;
use crate::disk::DiskError;
use crate::index::IndexError;
use crate::watched_disk::Writes;

/// How writing goes.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) writes: Arc<Writes>,
    /// How much room there was a moment ago.
    pub(super) plenty: Plenty,
    /// When the last trial began. Held while one runs, so that there is one at a time.
    pub(super) tried: Mutex<Option<Instant>>,
    /// Held by a trial to its end, which may come long after it was given up.
    pub(super) running: Arc<Mutex<()>>,
}

impl Writing {
    /// Of a disk that notes in `writes` how it goes.
    pub(super) fn of(writes: Arc<Writes>) -> Self {
        Self {
            writes,
            ..Self::default()
        }
    }

    /// Notes a failure that no operation of the disk was: that of a look at it.
    pub(super) fn note(&self, error: &StoreError) {
        match error {
            // So much room may only have been wanted: what a disk does not write, it notes itself.
            StoreError::Blob(BlobError::Disk(error)) if error.is_full() => {}
            StoreError::Blob(BlobError::Disk(error))
            | StoreError::Index(IndexError::Disk(error)) => {
                let path = &error.path;
                // A directory that is looked at is itself the place.
                let place = path.parent().filter(|_| !path.is_dir()).unwrap_or(path);
                let mut noted = error.clone();
                noted.action = "use";
                self.writes.fail(place, noted);
            }
            StoreError::Index(IndexError::Lookup(reason)) => {
                let (index, error) = (Path::new("index"), io::Error::other(reason.clone()));
                self.writes
                    .fail(index, DiskError::new("make anew", index, error));
            }
            _ => {}
        }
    }

    /// How the last change went.
    pub(super) fn last(&self) -> Result<(), StoreError> {
        match self.writes.failure() {
            None => Ok(()),
            Some(error) => Err(BlobError::from(error).into()),
        }
    }
}
