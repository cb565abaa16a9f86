//! How writing to a store goes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Mutex;

use super::error::StoreError;
use crate::blob::BlobError;
use crate::index::IndexError;
use crate::watched_disk::{Failure, Writes};

/// How writing goes.
#[derive(Default)]
pub(super) struct Writing {
    pub(super) writes: Arc<Writes>,
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

    /// Passes on how a change went.
    pub(super) fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Ok(_) => self.writes.succeed(),
            Err(error) => self.note(error),
        }
        result
    }

    /// Notes a failure that no operation of the disk was: that of a look at it.
    pub(super) fn note(&self, error: &StoreError) {
        if let StoreError::Blob(BlobError::Io { path, source, .. })
        | StoreError::Index(
            IndexError::Io { path, source, .. } | IndexError::Full { path, source },
        ) = error
        {
            // A directory that is looked at is itself the place.
            let place = path.parent().filter(|_| !path.is_dir()).unwrap_or(path);
            self.writes.fail("use", path, place, source);
        }
        if let StoreError::Index(IndexError::Lookup(reason)) = error {
            let error = io::Error::other(reason.clone());
            let index = Path::new("index");
            self.writes.fail("make anew", index, index, &error);
        }
    }

    /// How the last change went.
    pub(super) fn last(&self) -> Result<(), StoreError> {
        match self.writes.failure() {
            None => Ok(()),
            Some(Failure {
                action,
                path,
                error,
                ..
            }) => Err(BlobError::io(action, path, error).into()),
        }
    }
}
