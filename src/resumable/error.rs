//! Why an upload does not go on.

use crate::blob::BlobError;
use crate::small_state::StateError;
use crate::store::StoreError;
use crate::unavailable::Unavailable;

/// Why an upload does not go on.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// There is none with this id: it never was, has expired, or was removed.
    #[error("no upload has this id")]
    Unknown,
    /// Bytes were to be put elsewhere than at the end of what has come.
    #[error("the upload goes on at byte {0}")]
    Offset(u64),
    /// It was to have another length than was told before, or less than is here.
    #[error(
        "Upload-Length is told once, and is not less than what is here or other than its parts"
    )]
    Length,
    /// It is to be joined of an upload that was not begun as a part.
    #[error("Upload-Concat names an upload that was not begun with 'Upload-Concat: partial'")]
    NoPart,
    /// It is to be joined of a part that is not whole.
    #[error("Upload-Concat names a partial upload that is not finished")]
    Unfinished,
    /// It is to be joined of a part that another one has taken in.
    #[error("Upload-Concat names a partial upload that is in another final upload already")]
    Joined,
    /// It is made of its parts, and takes no bytes.
    #[error("a final upload is made of its partial uploads, and takes no bytes")]
    Final,
    /// What was acknowledged of it is no longer what came; it is given up.
    #[error("what was stored of the upload is damaged; begin it anew")]
    Damaged,
    /// Another node has taken the turn.
    #[error("another request has taken this upload over")]
    TakenOver,
    /// The file that it has become was removed.
    #[error("the file of this upload was removed")]
    FileRemoved,
    /// Too many are unfinished.
    #[error("{0} uploads are unfinished, and there may be no more")]
    TooMany(usize),
    /// Too many of one client are.
    #[error("{0} uploads of this client are unfinished, and one client may have no more")]
    TooManyOfOne(usize),
    /// It cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<BlobError> for UploadError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

impl From<Unavailable> for UploadError {
    fn from(error: Unavailable) -> Self {
        BlobError::from(error).into()
    }
}

impl From<StateError> for UploadError {
    fn from(error: StateError) -> Self {
        Self::Store(error.into())
    }
}
