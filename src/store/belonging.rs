//! That a database and a bucket are about the same files: what others have is not to be taken for
//! damaged, and not to be collected.
//!
//! The bucket says whose it is, and the database that it has one. So once both are said no place
//! becomes the database's beside that, whether there are files or not. A crash between the two
//! leaves a bucket that the next start finds to be its own, or the note of which place was to be.

use uuid::Uuid;

use super::shared_error::OpenError;
use crate::blob::s3::{S3Blobs, StoreError};
use crate::index::IndexBackend;
use crate::index::postgres::PostgresIndex;

/// Fails where the bucket at this URL is not that of the database; nothing is made in either.
pub(super) async fn check_together(
    index: &PostgresIndex,
    blobs: &S3Blobs,
    bucket: &str,
) -> Result<(), OpenError> {
    if !blobs.is_marked().await? {
        return Err(StoreError::Unused.into());
    }
    let owner = index.owner().await?;
    if !is_own(blobs, owner, bucket).await? {
        return Err(other_bucket(owner, bucket));
    }
    Ok(())
}

/// The same, or makes the bucket its own where it has none, nor files. Nothing is made where that
/// fails.
pub(super) async fn bring_together(
    index: &PostgresIndex,
    blobs: &S3Blobs,
    bucket: &str,
) -> Result<(), OpenError> {
    let owner = index.owner().await?;
    // Before the bucket is asked, which another node may make the database's meanwhile.
    let has_bucket = index.totals().files > 0 || index.has_bucket().await?;
    let is_marked = blobs.is_marked().await?;
    let is_own = is_own(blobs, owner, bucket).await?;
    if !is_own {
        if has_bucket {
            return Err(other_bucket(owner, bucket));
        }
        blobs.check_writable().await?;
        if !index.claim_bucket(bucket).await? {
            return Err(other_bucket(owner, bucket));
        }
    }
    if (!is_own || !is_marked) && !blobs.make_own(owner).await? {
        index.leave_bucket(bucket).await?;
        let bucket = bucket.to_owned();
        return Err(OpenError::OtherDatabase { bucket });
    }
    Ok(index.note_bucket().await?)
}

/// Whether the bucket says that it is the database's, which has this id; fails where it is that of
/// another.
async fn is_own(blobs: &S3Blobs, owner: Uuid, bucket: &str) -> Result<bool, OpenError> {
    match blobs.owner().await? {
        None => Ok(false),
        Some(said) if said == owner.to_string() => Ok(true),
        Some(_) => Err(OpenError::OtherDatabase {
            bucket: bucket.to_owned(),
        }),
    }
}

fn other_bucket(owner: Uuid, bucket: &str) -> OpenError {
    OpenError::OtherBucket {
        bucket: bucket.to_owned(),
        owner,
    }
}
