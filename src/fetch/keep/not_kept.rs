//! Why a copy is not promised.

use crate::blob::BlobError;
use crate::small_state::StateError;
use crate::store::StoreError;

/// The most that users may ask for before it is there.
pub(super) const MAX_OPEN: usize = 1000;
/// The most that one client may ask for before it is there.
pub(super) const MAX_OF_ONE: usize = MAX_OPEN / 4;

/// Why something is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// Too much is waiting.
    #[error("{MAX_OPEN} files are waiting to be fetched, and no more can")]
    TooMany,
    /// Too much is waiting that one client has asked for.
    #[error(
        "{MAX_OF_ONE} files that this client asked for are waiting, and one client may have no more"
    )]
    TooManyOfOne,
    /// It cannot be written down.
    #[error("what is wanted cannot be written down")]
    Store(#[from] StoreError),
}

impl From<BlobError> for NotKept {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

impl From<StateError> for NotKept {
    fn from(error: StateError) -> Self {
        Self::Store(error.into())
    }
}
