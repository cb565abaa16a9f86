//! Whose a place in a bucket is: one object says that larder writes there, another one whose rows
//! tell what of it is needed.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use uuid::Uuid;

use super::S3Blobs;
use super::bucket::Bucket;
use super::options::StoreError;
use crate::blob::BlobError;

/// By this object a bucket is known as one that larder writes to.
const MARK: &str = "larder-format";
/// This one says whose rows tell what is in the bucket.
const OWNER: &str = "larder-owner";
/// What is in the first.
const MARKED: &[u8] = b"larder blobs, format 1\n";

impl S3Blobs {
    /// Whose rows tell what is in the bucket, as it says there; None where nothing does.
    pub async fn owner(&self) -> Result<Option<String>, StoreError> {
        let said = self.depot.bucket.said(OWNER).await?;
        Ok(said.map(|it| String::from_utf8_lossy(&it).trim().to_owned()))
    }

    /// The same, where a store that cannot be asked comes back.
    pub(crate) async fn owner_now(&self) -> Result<Option<String>, BlobError> {
        let owner = self.owner().await;
        owner.map_err(|error| self.depot.bucket.away(error.into()))
    }

    /// Makes the bucket one that larder writes to, and of which the rows with this id tell.
    pub async fn make_own(&self, owner: Uuid) -> Result<(), StoreError> {
        let bucket = &self.depot.bucket;
        bucket.say(MARK, Bytes::from_static(MARKED)).await?;
        bucket.say(OWNER, owner.to_string().into()).await
    }

    /// Fails where nothing can be written to the bucket.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let bucket = &self.depot.bucket;
        let trial = bucket.trial();
        bucket.store.put(&trial, PutPayload::default()).await?;
        Ok(bucket.store.delete(&trial).await?)
    }

    /// Whether it is said that larder writes to the bucket; fails where a later one does, in a
    /// format that this one does not know.
    pub async fn is_marked(&self) -> Result<bool, StoreError> {
        match self.depot.bucket.said(MARK).await? {
            Some(said) if said == MARKED => Ok(true),
            Some(_) => Err(StoreError::Format),
            None => Ok(false),
        }
    }
}

impl Bucket {
    /// The key of what says that larder writes to the bucket.
    pub(super) fn mark(&self) -> Path {
        self.folder(MARK)
    }

    async fn said(&self, name: &str) -> Result<Option<Bytes>, StoreError> {
        match self.store.get(&self.folder(name)).await {
            Err(error @ object_store::Error::NotFound { .. }) => match StoreError::from(error) {
                error @ StoreError::NoBucket => Err(error),
                _ => Ok(None),
            },
            found => Ok(Some(found?.bytes().await?)),
        }
    }

    async fn say(&self, name: &str, text: Bytes) -> Result<(), StoreError> {
        let key = self.folder(name);
        self.store.put(&key, text.into()).await?;
        Ok(())
    }
}
