//! What is known of content before it comes: whether it is sure to find no room.

use futures_util::TryStreamExt;

use super::{Store, StoreError};
use crate::hash::BlobHash;

impl Store {
    /// The longest content that can ever be kept, in bytes; None where nothing limits it.
    pub fn longest(&self) -> Option<u64> {
        self.limit().bytes()
    }

    /// Fails where content of so many bytes can never be kept, whatever else is.
    pub fn check_length(&self, bytes: u64) -> Result<(), StoreError> {
        Ok(self.limit().check(bytes)?)
    }

    /// Fails where the quota has no room now for so many bytes of new content.
    pub(super) async fn check_quota(&self, bytes: u64) -> Result<(), StoreError> {
        match &self.quota {
            Some(quota) => Ok(quota.check(bytes, || self.totals().blob_bytes).await?),
            None => Ok(()),
        }
    }

    pub(super) fn is_expected(&self, hash: &BlobHash) -> bool {
        self.quota.as_ref().is_some_and(|it| it.expects(hash))
    }

    /// Fails where content of so many bytes is sure to find no room: the quota has none now, and
    /// nothing that is kept or on its way has this length. What is kept already takes nothing.
    pub async fn check_quota_of_length(&self, bytes: u64) -> Result<(), StoreError> {
        match self.check_quota(bytes).await {
            Err(full) if !self.may_be_kept(bytes).await? => Err(full),
            _ => Ok(()),
        }
    }

    /// Whether content of this length may be kept already, or be on its way.
    pub(super) async fn may_be_kept(&self, bytes: u64) -> Result<bool, StoreError> {
        // What others bring meanwhile is not noted here.
        if self.is_shared {
            return Ok(true);
        }
        // First: before it is there no longer its length is noted.
        if self
            .quota
            .as_ref()
            .is_some_and(|it| it.expects_length(bytes))
        {
            return Ok(true);
        }
        let filled = self.lengths.filled.get_or_try_init(|| self.note_lengths());
        filled.await?;
        Ok(self.lengths.has(bytes))
    }

    async fn note_lengths(&self) -> Result<(), StoreError> {
        let mut files = self.files(None);
        while let Some(record) = files.try_next().await? {
            self.lengths.note(record.file.size);
        }
        Ok(())
    }
}
