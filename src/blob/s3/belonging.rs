//! Whose a place in a bucket is: one object says that larder writes there, another one whose rows
//! tell what of it is needed.

use bytes::Bytes;
use chrono::TimeDelta;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use uuid::Uuid;

use super::S3Blobs;
use super::bucket::Bucket;
use super::options::StoreError;
use crate::blob::BlobError;

/// By this object a bucket is known as one that larder writes to.
const MARK: &str = "larder-format";
/// This one says whose rows tell what is in the bucket.
const OWNER: &str = "larder-owner";
/// Where those say so who are about to write the second one.
const CLAIMS: &str = "claims";
/// How long they may take for that. What is older a crash has left.
const LATELY: TimeDelta = TimeDelta::minutes(2);
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

    /// Makes the bucket one that larder writes to, and of which the rows with this id tell; false
    /// where it is that of others, or others make it theirs just now.
    ///
    /// No store is relied upon to refuse the second of two. So each says first, beside the others,
    /// that it is about to, and then looks for them: of two at once one at least sees the other,
    /// and who sees nobody finds what those have written who were there before.
    pub async fn make_own(&self, owner: Uuid) -> Result<bool, StoreError> {
        let (bucket, own) = (&self.depot.bucket, owner.to_string());
        // One for each node: of two of this database the first to be done deletes only its own.
        let claim = bucket.folder(CLAIMS);
        let claim = claim.join(format!("{own}.{}", Uuid::new_v4()));
        bucket.store.put(&claim, PutPayload::default()).await?;
        let is_alone = bucket.is_alone(&claim, &own).await?;
        let is_free = is_alone && self.owner().await?.is_none_or(|it| it == own);
        if is_free {
            bucket.say(MARK, Bytes::from_static(MARKED)).await?;
            bucket.say(OWNER, own.into()).await?;
        }
        bucket.store.delete(&claim).await?;
        Ok(is_free)
    }

    /// Fails where nothing can be written to the bucket.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(self.depot.bucket.try_to_write().await?)
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

    /// Whether no other owner has made a claim lately, by the clock of the store.
    async fn is_alone(&self, own: &Path, owner: &str) -> Result<bool, StoreError> {
        let claims = self.store.list(Some(&self.folder(CLAIMS)));
        let claims: Vec<_> = claims.try_collect().await?;
        let made = claims.iter().find(|it| it.location == *own);
        let Some(before) = made.and_then(|it| it.last_modified.checked_sub_signed(LATELY)) else {
            return Ok(false);
        };
        let is_others = |it: &ObjectMeta| {
            !it.location
                .filename()
                .is_some_and(|it| it.starts_with(owner))
        };
        let mut others = claims.iter().filter(|it| is_others(it));
        Ok(others.all(|it| it.last_modified <= before))
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
