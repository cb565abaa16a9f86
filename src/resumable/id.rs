//! By what uploads are found.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::blob::PartialId;

/// The id of an upload: 122 random bits, so that nobody guesses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(Uuid);

/// A text that is no upload's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the id of an upload is 32 hexadecimal digits")]
pub struct InvalidUploadId;

impl UploadId {
    pub(super) fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The same as rows have it.
    pub(super) fn uuid(self) -> Uuid {
        self.0
    }

    pub(super) fn of_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// What has come of the upload is called alike.
    pub(super) fn partial(self) -> PartialId {
        PartialId::of(self.0.as_bytes())
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.simple(), f)
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let id = Uuid::try_parse(text).map(Self);
        // Of the ways to write one, only that which was given out names a file.
        id.ok()
            .filter(|id| id.to_string() == text)
            .ok_or(InvalidUploadId)
    }
}
