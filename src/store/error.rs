//! What can go wrong in the store.

use crate::blob::BlobError;
use crate::index::IndexError;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The blob backend failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// No more content is kept than so many bytes.
    #[error("the node keeps at most {0} bytes of content")]
    OverQuota(u64),
    /// The work was cut off by the end of the process.
    #[error("the store is shutting down")]
    ShuttingDown,
}
