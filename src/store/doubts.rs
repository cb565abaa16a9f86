//! What a start has found of packs that a torn write leaves, or damage: the index tells which of
//! it somebody needs.

use futures_util::TryStreamExt;

use super::{Store, StoreError};
use crate::blob::BlobError;
use crate::blob::local::{Doubts, LONGEST_IN_PACKS};
use crate::hash::BlobHash;
use crate::index::Content;
use crate::place::Place;
use crate::record::FileRecord;

impl Store {
    /// Remembers which contents that files need are not whole, or gone, so that it shows, and the
    /// same content mends it when it comes again; tells each in the log.
    pub(super) async fn settle_doubts(&self, doubts: Doubts) -> Result<(), StoreError> {
        let mut lost = 0;
        for hash in &doubts.broken {
            lost += u64::from(self.is_lost(hash).await?);
        }
        if doubts.has_gaps {
            lost += self.find_lost().await?;
        }
        if lost > 0 {
            tracing::error!(
                lost,
                "content that files need is damaged or cut off at the end of a pack; the same \
                 content mends it when it is uploaded again"
            );
        }
        Ok(())
    }

    /// Looks for the short content of every file.
    async fn find_lost(&self) -> Result<u64, StoreError> {
        let (mut lost, mut files) = (0, self.files(None));
        while let Some(FileRecord { file, .. }) = files.try_next().await? {
            let hash = file.hash;
            // Longer content is in no pack.
            let is_there = file.size > LONGEST_IN_PACKS
                || self.is_damaged(&hash).await?
                || self.stored_size(&hash).await?.is_some();
            lost += u64::from(!is_there && self.is_lost(&hash).await?);
        }
        Ok(lost)
    }

    /// Whether a file needs content that is not whole, which is remembered then.
    async fn is_lost(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        let Some(Content { place, .. }) = self.index.locate(hash).await? else {
            return Ok(false);
        };
        if !self.is_broken(hash, place).await? {
            return Ok(false);
        }
        if !self.is_damaged(hash).await? {
            self.blobs.note_missing(place).await?;
        }
        Ok(true)
    }

    /// Whether content turned out not to be whole. Of what cannot be read now nobody knows.
    pub(super) async fn is_broken(
        &self,
        hash: &BlobHash,
        place: Place,
    ) -> Result<bool, StoreError> {
        match self.blobs.is_whole(hash, place).await {
            Err(error @ BlobError::Disk(_)) if !error.is_shortage() => {
                tracing::warn!(%hash, %error, "content that files need cannot be read now");
                Ok(false)
            }
            is_whole => Ok(!is_whole?),
        }
    }
}
