//! What can go wrong in the store.

use crate::blob::BlobError;
use crate::index::IndexError;
use crate::small_state::StateError;
use crate::unavailable::Unavailable;

/// What can go wrong in the store.
#[derive(Debug, Clone, thiserror::Error)]
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

/// Whoever keeps small state beside a store tells what fails of either in the same way.
impl From<StateError> for StoreError {
    fn from(error: StateError) -> Self {
        Self::Blob(match error {
            StateError::Disk(error) => error.into(),
            StateError::Unavailable(error) => error.into(),
        })
    }
}

impl StoreError {
    /// What is out of reach for now, if that is it.
    pub fn unavailable(&self) -> Option<&Unavailable> {
        match self {
            Self::Blob(BlobError::Unavailable(error))
            | Self::Index(IndexError::Unavailable(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether it is what is stored here that is not to be had: others may have the same content.
    pub fn may_be_elsewhere(&self) -> bool {
        matches!(self, Self::Blob(error) if error.may_be_elsewhere())
    }

    /// Whether no room was left on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Blob(BlobError::Disk(error)) => error.is_full(),
            Self::Index(error) => error.is_full(),
            Self::Blob(_) | Self::ShuttingDown => false,
        }
    }

    /// Whether only something was missing that may be there later: room, open files, memory, a
    /// server that is out of reach.
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::Blob(error) => error.is_shortage(),
            Self::Index(error) => error.is_shortage(),
            Self::ShuttingDown => false,
        }
    }
}
