//! The janitor: what the index tells to be garbage is deleted.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, TryStreamExt};

use super::{Store, StoreError};
use crate::index::Garbage;
use crate::place::Place;
use crate::record::FileRecord;

/// How many blobs are looked at together.
const PAGE: usize = 256;
/// How many places are claimed together: whoever brings a content again may wait for so many
/// deletions.
const CLAIMED: usize = 16;

impl Store {
    /// Deletes what has become garbage, at the end of each change. What cannot be deleted now is
    /// garbage still for the next one, and found again by [`Store::collect_all`]; the log tells of
    /// the first time.
    pub(super) async fn collect(&self) {
        let collected = self.try_collect().await;
        let has_failed = self
            .collecting_fails
            .swap(collected.is_err(), Ordering::Relaxed);
        let Err(error) = collected else {
            return;
        };
        self.uncollected.store(true, Ordering::Relaxed);
        if !has_failed {
            tracing::warn!(%error, "content that no file needs is left for now");
        }
    }

    /// Deletes what the index tells to be garbage, and returns of how many contents.
    pub(super) async fn try_collect(&self) -> Result<u64, StoreError> {
        let mut collected = 0;
        loop {
            let garbage = self.index.garbage(CLAIMED).await?;
            if garbage.is_empty() {
                return Ok(collected);
            }
            // After a failed sync nobody knows what a restart will find.
            self.writable()?;
            collected += self.delete(garbage).await?;
        }
    }

    /// Deletes what is in places, as many as can be, and returns how many those were.
    async fn delete(&self, garbage: Vec<Garbage>) -> Result<u64, StoreError> {
        let (mut deleted, mut failed) = (Vec::new(), Ok(()));
        for garbage in garbage {
            match self.blobs.delete(garbage.place()).await {
                Ok(()) => deleted.push(garbage),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        let count = deleted.len() as u64;
        self.index.collected(deleted).await?;
        failed?;
        Ok(count)
    }

    /// Deletes every blob that no record needs, as a crash between the two steps of
    /// an upload or a removal leaves them, and returns how many those were.
    pub async fn collect_all(&self) -> Result<u64, StoreError> {
        let round = Round::begin(&self.uncollected);
        let mut collected = 0;
        let mut pages = self.blobs.list().chunks(PAGE);
        while let Some(page) = pages.next().await {
            let page: Result<Vec<_>, _> = page.into_iter().collect();
            let stored: Vec<Place> = page?.into_iter().map(|(place, _)| place).collect();
            self.index.sift(&stored).await?;
            collected += self.try_collect().await?;
        }
        self.writable()?;
        self.blobs.sweep().await?;
        round.end();
        Ok(collected)
    }

    /// Tells in the log which files have no content, and returns how many: those whose removal
    /// the journal has lost, among others.
    pub async fn tell_missing(&self) -> Result<u64, StoreError> {
        let (mut missing, mut files) = (0, self.files(None));
        while let Some(FileRecord { id, file, .. }) = files.try_next().await? {
            if self.stored_size(&file.hash).await?.is_none() && self.get(id).await?.is_some() {
                tracing::warn!(%id, name = file.name, hash = %file.hash,
                    "this file has no content: it was removed, or its content is lost");
                missing += 1;
            }
        }
        Ok(missing)
    }
}

/// A round over all blobs; one that does not come to its end has to be made again.
struct Round<'a> {
    uncollected: &'a AtomicBool,
    ended: bool,
}

impl<'a> Round<'a> {
    fn begin(uncollected: &'a AtomicBool) -> Self {
        // Before the round, so that what fails during it is not forgotten.
        uncollected.store(false, Ordering::Relaxed);
        Self {
            uncollected,
            ended: false,
        }
    }

    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.uncollected.store(true, Ordering::Relaxed);
        }
    }
}
