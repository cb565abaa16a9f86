//! Checking a blob against its name.

use futures_util::StreamExt;

use crate::blob::{BlobBackend, BlobError};
use crate::hash::BlobHash;

/// Whether a blob is there and its bytes have its hash.
pub(super) async fn is_whole(blobs: &dyn BlobBackend, hash: &BlobHash) -> Result<bool, BlobError> {
    let Some(blob) = blobs.open(hash).await? else {
        return Ok(false);
    };
    let mut hasher = blake3::Hasher::new();
    let mut bytes = blob.read(0..blob.size());
    while let Some(piece) = bytes.next().await {
        match piece {
            Ok(piece) => drop(hasher.update(&piece)),
            Err(BlobError::Damaged { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(BlobHash::from(hasher.finalize()) == *hash)
}
