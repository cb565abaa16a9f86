//! What is known of content before it comes: whether it is sure to find no room.

use futures_util::TryStreamExt;

use super::{Store, StoreError};
use crate::blob::BlobError;
use crate::client_key::ClientKey;
use crate::hash::BlobHash;
use crate::upload_rows::TakenElsewhere;

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
        let Some(quota) = &self.quota else {
            return Ok(());
        };
        let elsewhere = self.elsewhere(None).await?;
        let kept = || self.kept_or_in(&elsewhere).saturating_add(elsewhere.inside);
        Ok(quota.check(bytes, kept).await?)
    }

    /// What uploads take that only rows of all nodes count.
    pub(super) async fn elsewhere(
        &self,
        client: Option<&ClientKey>,
    ) -> Result<TakenElsewhere, StoreError> {
        match self.ledger.as_ref().filter(|_| self.quota.is_some()) {
            Some(ledger) => {
                let client = client.map_or_else(String::new, ClientKey::to_string);
                let elsewhere = ledger.elsewhere(&client).await;
                Ok(elsewhere.map_err(BlobError::from)?)
            }
            None => Ok(TakenElsewhere::default()),
        }
    }

    /// How many bytes are kept, as of now or of when the rows were looked at, whichever is more.
    pub(super) fn kept_or_in(&self, elsewhere: &TakenElsewhere) -> u64 {
        self.totals().blob_bytes.max(elsewhere.kept)
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
        // First: before it is there no longer its length is noted.
        if self
            .quota
            .as_ref()
            .is_some_and(|it| it.expects_length(bytes))
        {
            return Ok(true);
        }
        if self.is_shared {
            // What others bring meanwhile is not noted here.
            return Ok(self.index.may_have_length(bytes).await?);
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
