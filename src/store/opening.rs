//! Opening content: what is not all there is told before anything of it is given out.

use std::sync::Arc;

use futures_util::TryStreamExt;

use super::{Store, StoreError};
use crate::blob::{BlobError, OpenBlob};
use crate::hash::BlobHash;
use crate::index::Content;
use crate::record::FileRecord;

impl Store {
    /// Opens content by its hash; its length is proven.
    pub async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        let Some(blob) = self.open_needed(hash).await? else {
            return Ok(None);
        };
        if !blob.is_size_proven().await? {
            self.check_size(hash, &*blob).await?;
            blob.prove_size().await?;
        }
        Ok(Some(blob))
    }

    /// Fails where a blob has another length than the files say that have its content: by its
    /// hash alone that shows only once all of it was read, and it may have become far longer.
    pub(super) async fn check_size(
        &self,
        hash: &BlobHash,
        blob: &dyn OpenBlob,
    ) -> Result<(), StoreError> {
        // One after the other, since each may look through all files.
        let _turn = self.sizing.lock().await;
        if blob.is_size_proven().await? {
            return Ok(());
        }
        match self.recorded_size(hash).await? {
            Some(size) if size != blob.size() => Err(blob.refuse_size(size).await.into()),
            _ => Ok(()),
        }
    }

    /// How long content is as its files say, in bytes; None where no file has it. Looks through
    /// them.
    async fn recorded_size(&self, hash: &BlobHash) -> Result<Option<u64>, StoreError> {
        let mut files = self.files(None);
        while let Some(record) = files.try_next().await? {
            if record.file.hash == *hash {
                return Ok(Some(record.file.size));
            }
        }
        Ok(None)
    }

    /// Opens the content of a file; its length is what the record says.
    pub async fn open_file(
        &self,
        record: &FileRecord,
    ) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        let (hash, size) = (record.file.hash, record.file.size);
        let Some(blob) = self.open_needed(&hash).await? else {
            return Ok(None);
        };
        if blob.size() != size {
            // It may have become far longer: nothing of it has to be read to tell.
            return Err(blob.refuse_size(size).await.into());
        }
        Ok(Some(blob))
    }

    /// How long what is stored of a content is, in bytes; None where no file needs it, where
    /// nothing is stored, and where that is known to be damaged.
    pub async fn stored_size(&self, hash: &BlobHash) -> Result<Option<u64>, StoreError> {
        match self.locate_shown(hash).await? {
            Some(Content { place, .. }) => Ok(self.blobs.size(place).await?),
            None => Ok(None),
        }
    }

    /// Opens content by its hash. None if there is none; that there is none though a file
    /// needs it is damage.
    async fn open_needed(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        // What is stored still, or again, of a file that was removed is nobody's, unless it is held
        // for whoever reads a moment of which that file is.
        let Some(content) = self.locate_shown(hash).await? else {
            #[cfg(feature = "node")]
            if let Some(place) = self.held_place(hash) {
                return Ok(self.blobs.open(hash, place).await?);
            }
            return Ok(None);
        };
        self.open_located(hash, content).await
    }

    /// The same also where all files that need it are in the trash.
    pub(super) async fn open_stored(
        &self,
        hash: &BlobHash,
    ) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        match self.index.locate(hash).await? {
            Some(content) => self.open_located(hash, content).await,
            None => Ok(None),
        }
    }

    async fn open_located(
        &self,
        hash: &BlobHash,
        Content { place, .. }: Content,
    ) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        if let Some(blob) = self.blobs.open(hash, place).await? {
            return Ok(Some(blob));
        }
        // It may have been collected, and come again, perhaps to another place.
        let Some(held) = self.index.hold(hash).await? else {
            return Ok(None);
        };
        let place = held.content.place;
        if let Some(blob) = self.blobs.open(hash, place).await? {
            return Ok(Some(blob));
        }
        self.blobs.note_missing(place).await?;
        Err(BlobError::missing(*hash).into())
    }
}
