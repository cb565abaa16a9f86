//! Receiving content that peers hold into a store, to be kept there.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::Pieces;
use super::error::FetchError;
use super::filling::FillError;
use super::repairing::partial_of;
use super::verified::VerifiedContent;
use crate::blob::{BlobError, Partials, Receiving};
use crate::store::{Store, StoreError};

/// Content up to this many bytes comes so soon that no beginning of it is worth keeping.
const SHORT: u64 = 64 * 1024;

/// Why content is not received.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Nobody can serve it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be stored.
    #[error("it cannot be stored here")]
    Store(#[from] StoreError),
    /// What an earlier try left on the disk was damaged; it is gone.
    #[error("what was fetched before was damaged, so it begins anew")]
    Damaged,
}

impl From<FillError> for ReceiptError {
    fn from(error: FillError) -> Self {
        match error {
            FillError::Fetch(error) => error.into(),
            FillError::Blob(error) => error.into(),
        }
    }
}

impl From<BlobError> for ReceiptError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

/// Where content comes, and who hears how far it is.
pub(super) struct Receipt<'a> {
    pub(super) store: &'a Store,
    /// What has come of content that takes long.
    pub(super) partials: &'a dyn Partials,
    /// Takes how many bytes are here at first.
    pub(super) here: &'a (dyn Fn(u64) + Sync),
    /// Takes how many bytes more have come.
    pub(super) came: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Receipt<'_> {
    /// Receives content that is proven as it comes.
    pub(super) async fn verified(
        &self,
        content: &VerifiedContent,
    ) -> Result<Box<dyn Receiving>, ReceiptError> {
        let size = content.size();
        if size > SHORT {
            return self.long(content, size).await;
        }
        let mut receiving = self.store.receive().await?;
        (self.here)(0);
        self.write_all(content.read(0..size), &mut *receiving)
            .await?;
        Ok(receiving)
    }

    /// Fills what is missing of long content, wherever an earlier try stopped.
    async fn long(
        &self,
        content: &VerifiedContent,
        size: u64,
    ) -> Result<Box<dyn Receiving>, ReceiptError> {
        let (id, limit) = (partial_of(&content.hash()), self.store.limit());
        let filling = self.partials.fill(&id, size, limit).await?;
        (self.here)(filling.here());
        let came = Arc::clone(&self.came);
        content.fill(filling, move |bytes| came(bytes)).await?;
        // Reads all of it once, whatever a power cut has left of what came before.
        let whole = self.partials.resume(&id, size, None, limit).await?;
        if whole.received() != size {
            return Err(ReceiptError::Damaged);
        }
        Ok(whole)
    }

    /// Writes all these pieces.
    pub(super) async fn write_all(
        &self,
        mut pieces: Pieces,
        receiving: &mut dyn Receiving,
    ) -> Result<(), ReceiptError> {
        while let Some(piece) = pieces.try_next().await? {
            (self.came)(piece.len() as u64);
            receiving.write(piece).await?;
        }
        Ok(())
    }
}
