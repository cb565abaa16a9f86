//! Collection: blobs that no record needs are deleted.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;

use super::{Store, StoreError};
use crate::hash::BlobHash;
use crate::record::FileRecord;

/// How many files are looked at together.
const PAGE: usize = 256;

impl Store {
    /// Deletes a blob unless a record needs it. What cannot be deleted now is found
    /// again by [`Store::collect_all`].
    pub(super) async fn collect(&self, hash: BlobHash) {
        if let Err(error) = self.try_collect(hash).await {
            tracing::warn!(%hash, %error, "blob not collected");
            self.uncollected.store(true, Ordering::Relaxed);
        }
    }

    async fn try_collect(&self, hash: BlobHash) -> Result<bool, StoreError> {
        let _exclusive = self.in_use.take(hash).await;
        // After a failed sync nobody knows which records a restart will find. Whoever
        // shared this content until now has had its sync.
        self.writable()?;
        if self.index.needs(&hash).await? {
            return Ok(false);
        }
        self.blobs.delete(&hash).await?;
        Ok(true)
    }

    /// Deletes every blob that no record needs, as a crash between the two steps of
    /// an upload or a removal leaves them, and returns how many those were.
    pub async fn collect_all(&self) -> Result<u64, StoreError> {
        let round = Round::begin(&self.uncollected);
        let mut collected = 0;
        let mut blobs = self.blobs.list();
        while let Some(blob) = blobs.next().await {
            let (hash, _) = blob?;
            if !self.index.needs(&hash).await? && self.try_collect(hash).await? {
                collected += 1;
            }
        }
        self.writable()?;
        self.blobs.sweep().await?;
        round.end();
        Ok(collected)
    }
}

impl Store {
    /// Tells in the log which files have no content, and returns how many: those whose removal
    /// the journal has lost, among others.
    pub async fn tell_missing(&self) -> Result<u64, StoreError> {
        let (mut missing, mut after) = (0, None);
        loop {
            let page = self.index.page(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(missing);
            };
            after = Some(last.id);
            for FileRecord { id, file, .. } in page {
                if self.blobs.size(&file.hash).await?.is_none() && self.get(id).await?.is_some() {
                    tracing::warn!(%id, name = file.name, hash = %file.hash,
                        "this file has no content: it was removed, or its content is lost");
                    missing += 1;
                }
            }
        }
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
