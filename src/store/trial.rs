//! Whether the store takes changes now: as the last ones went, or found out by a trial.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::writing::Writing;
use super::{Store, StoreError};
use crate::blob::spool::{self, check_space};
use crate::blob::{BlobError, run_blocking};

/// How often something is written only to find out whether it can be, at most; and how long a
/// change that was written says that the next one can be.
const TRY_EVERY: Duration = Duration::from_secs(2);
/// A disk that takes so long for a trial would take an upload as little as a broken one.
const PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Fails as an upload would fail now: as the last change did since which none was written,
    /// or as a trial does, of which there is at most one every two seconds.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        self.writable()?;
        self.check_quota(1)?;
        let spool = self.spool.clone();
        let space = run_blocking(move || check_space(&spool)).await;
        space.map_err(|error| {
            let error = error.into();
            self.writing.note(&error);
            error
        })?;
        let Writing { writes, tried, .. } = &*self.writing;
        if writes.succeeded_within(TRY_EVERY) {
            return Ok(());
        }
        let mut tried = tried.lock().await;
        if tried.is_none_or(|at| at.elapsed() >= TRY_EVERY) {
            *tried = Some(Instant::now());
            self.try_to_write().await?;
        }
        self.writing.last()
    }

    async fn try_to_write(&self) -> Result<(), StoreError> {
        let tried = match timeout(PATIENCE, self.trial()).await {
            Ok(tried) => tried,
            Err(_) => Err(self.too_slow()),
        };
        self.writing.noted(tried)
    }

    /// Writes what an upload would write, where it would, and removes it again.
    async fn trial(&self) -> Result<(), StoreError> {
        let Ok(running) = Arc::clone(&self.writing.running).try_lock_owned() else {
            return Err(self.too_slow());
        };
        let spool = self.spool.clone();
        let failure = self.writing.writes.failure();
        let trial = run_blocking(move || {
            let storage = spool.dir.parent().unwrap_or(&spool.dir);
            let failed = failure.as_ref().and_then(|it| it.path.parent());
            let failed = failed.filter(|it| it.starts_with(storage));
            spool::try_to_write(&spool, failed.unwrap_or(&spool.dir))
        });
        let store = self.clone();
        // On a task of its own, since who waits for it may not wait to its end.
        let all = tokio::spawn(async move {
            let _running = running;
            trial.await?;
            store.blobs.try_to_write().await?;
            Ok::<_, StoreError>(store.index.try_to_write().await?)
        });
        all.await.map_err(|_| StoreError::ShuttingDown)?
    }

    fn too_slow(&self) -> StoreError {
        let error = io::Error::from(io::ErrorKind::TimedOut);
        BlobError::io("write to", &self.spool.dir, error).into()
    }
}
