//! That a database and a bucket are about the same files: what others have is not to be taken for
//! damaged, and not to be collected.
//!
//! The bucket says whose it is, and the database that it has one. So once both are said no place
//! becomes the database's beside that, whether there are files or not. A crash between the two
//! leaves a bucket that the next start finds to be its own, or the note of which place was to be.

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
    if !is_own(index, blobs, bucket).await? {
        return other_bucket(index, bucket).await;
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
    // Before the bucket is asked, which another node may make the database's meanwhile.
    let has_bucket = index.totals().files > 0 || index.has_bucket().await?;
    let is_marked = blobs.is_marked().await?;
    let is_own = is_own(index, blobs, bucket).await?;
    if !is_own {
        if has_bucket {
            return other_bucket(index, bucket).await;
        }
        blobs.check_writable().await?;
        if !index.claim_bucket(bucket).await? {
            return other_bucket(index, bucket).await;
        }
    }
    if (!is_own || !is_marked) && !blobs.make_own(index.owner().await?).await? {
        index.leave_bucket(bucket).await?;
        let bucket = bucket.to_owned();
        return Err(OpenError::OtherDatabase { bucket });
    }
    Ok(index.note_bucket().await?)
}

/// Whether the bucket says that it is the database's; fails where it is another's.
async fn is_own(index: &PostgresIndex, blobs: &S3Blobs, bucket: &str) -> Result<bool, OpenError> {
    let Some(said) = blobs.owner().await? else {
        return Ok(false);
    };
    let bucket = bucket.to_owned();
    let is_own = said == index.owner().await?.to_string();
    is_own
        .then_some(true)
        .ok_or(OpenError::OtherDatabase { bucket })
}

async fn other_bucket(index: &PostgresIndex, bucket: &str) -> Result<(), OpenError> {
    Err(OpenError::OtherBucket {
        bucket: bucket.to_owned(),
        owner: index.owner().await?,
    })
}
