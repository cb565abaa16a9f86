//! Opening content: what is not all there is told before anything of it is given out.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::blob::{BlobError, OpenBlob};
use crate::hash::BlobHash;
use crate::record::FileRecord;

impl Store {
    /// Opens content by its hash; its length is proven.
    pub async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        let Some(blob) = self.open_needed(hash).await? else {
            return Ok(None);
        };
        blob.prove_size().await?;
        Ok(Some(blob))
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

    /// Opens content by its hash. None if there is none; that there is none though a file
    /// needs it is damage.
    async fn open_needed(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        // What is stored still, or again, of a file that was removed is nobody's.
        if !self.is_needed(hash).await? {
            return Ok(None);
        }
        if let Some(blob) = self.blobs.open(hash).await? {
            return Ok(Some(blob));
        }
        // It may have been collected, and come again.
        let Some(_held) = self.index.hold(hash).await? else {
            return Ok(None);
        };
        if let Some(blob) = self.blobs.open(hash).await? {
            return Ok(Some(blob));
        }
        self.blobs.note_missing(hash).await?;
        let (hash, detail) = (*hash, "it is not there".to_owned());
        Err(BlobError::Damaged { hash, detail }.into())
    }
}
