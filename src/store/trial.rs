//! Whether the store takes changes now: as the last ones went, or found out by a trial.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::plenty::PLENTY;
use super::writing::Writing;
use super::{Store, StoreError};
use crate::blob::BlobError;

/// How often something is written only to find out whether it can be, at most.
const TRY_EVERY: Duration = Duration::from_secs(2);
/// As much as a trial writes, and a bit more, in bytes: where that is not free the next one would
/// fail.
const TRIAL_BYTES: u64 = 32 << 10;
/// A disk that takes so long for a trial would take an upload as little as a broken one.
const PATIENCE: Duration = Duration::from_secs(5);

impl Store {
    /// Fails as an upload would fail now: as the last change did in any place where nothing
    /// could be written since, or as a trial does, of which there is at most one every two
    /// seconds, and one more after each upload that was taken while something else failed. Over
    /// servers as the last trial of them went.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        #[cfg(feature = "shared")]
        if let Some(probe) = &self.probe {
            let store = self.clone();
            return probe.ask(|| store.try_all()).await;
        }
        self.writable()?;
        self.check_quota(1).await?;
        self.check_room(0).await.inspect_err(|error| {
            self.writing.note(error);
        })?;
        let Writing { writes, tried, .. } = &*self.writing;
        let mut tried = tried.lock().await;
        let is_due = tried.is_none_or(|at| {
            let may_have_healed = writes.failure().is_some() && writes.succeeded() > Some(at);
            may_have_healed || at.elapsed() >= TRY_EVERY
        });
        if is_due {
            *tried = Some(Instant::now());
            self.try_to_write().await?;
        } else {
            self.check_room(TRIAL_BYTES).await?;
        }
        self.writing.last()
    }

    /// Does what an upload to servers would need.
    #[cfg(feature = "shared")]
    async fn try_all(self) -> Result<(), StoreError> {
        self.writable()?;
        let blobs = async { Ok::<_, StoreError>(self.blobs.try_to_write().await?) };
        let index = async { Ok(self.index.try_to_write().await?) };
        tokio::try_join!(self.check_quota(1), blobs, index)?;
        Ok(())
    }

    /// Fails where `bytes` more would leave less room on the disk than is to be left.
    pub async fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        Ok(self.blobs.check_room(bytes).await?)
    }

    /// The same for content that is about to come, of which short ones go by the last look of
    /// all where that has found plenty.
    pub async fn check_room_ahead(&self, bytes: u64) -> Result<(), StoreError> {
        let is_short = bytes <= PLENTY;
        match self.writing.plenty.lately() {
            Some(true) if is_short => return Ok(()),
            Some(_) => return self.check_room(bytes).await,
            None => {}
        }
        let at = Instant::now();
        let found = self.check_room(2 * PLENTY).await.is_ok();
        self.writing.plenty.note(at, found);
        if found && is_short {
            return Ok(());
        }
        self.check_room(bytes).await
    }

    async fn try_to_write(&self) -> Result<(), StoreError> {
        let writes = &self.writing.writes;
        let failed = writes.failed();
        let tried = match timeout(PATIENCE, self.trial()).await {
            Ok(tried) => tried,
            // Many uploads may be before it, which are taken.
            Err(_) if writes.succeeded().is_some_and(|it| it.elapsed() < PATIENCE) => return Ok(()),
            Err(_) => Err(self.too_slow()),
        };
        match &tried {
            Ok(()) => writes.heal(failed),
            Err(error) => self.writing.note(error),
        }
        tried
    }

    /// Writes what an upload would write, where it would and wherever something failed, and
    /// removes it again.
    async fn trial(&self) -> Result<(), StoreError> {
        let Ok(running) = Arc::clone(&self.writing.running).try_lock_owned() else {
            return Err(self.too_slow());
        };
        let store = self.clone();
        // On a task of its own, since who waits for it may not wait to its end.
        let all = tokio::spawn(async move {
            let _running = running;
            store.blobs.try_to_write().await?;
            Ok::<_, StoreError>(store.index.try_to_write().await?)
        });
        all.await.map_err(|_| StoreError::ShuttingDown)?
    }

    fn too_slow(&self) -> StoreError {
        let error = io::Error::from(io::ErrorKind::TimedOut);
        // The first is where they come in.
        let place = self.writing.writes.places_of_uploads().into_iter().next();
        BlobError::io("write to", place.unwrap_or_default(), error).into()
    }
}
