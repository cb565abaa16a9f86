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
    /// The work was cut off by the end of the process.
    #[error("the store is shutting down")]
    ShuttingDown,
}

impl StoreError {
    /// Whether the system was only short of something that may be there later: room, open
    /// files, memory.
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::Blob(error) => error.is_shortage(),
            Self::Index(error) => error.is_shortage(),
            Self::ShuttingDown => false,
        }
    }
}
