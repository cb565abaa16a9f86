//! On how many members of a network files are to be, as their uploaders say.

use async_trait::async_trait;

use crate::record::FileId;
use crate::store::StoreError;

/// Something that lives as long as others are not told of files.
pub trait Unseen: Send + Sync {}

/// Who sees to it that a file is on so many members.
#[async_trait]
pub trait Wishes: Send + Sync {
    /// Has nobody else be told of the files that come from now on, as long as what it returns
    /// lives.
    async fn hide_newer(&self) -> Result<Box<dyn Unseen>, StoreError>;

    /// Writes down on how many members a file is to be. Ok means durable; what is said twice counts
    /// once.
    async fn wish(&self, file: FileId, copies: u8) -> Result<(), StoreError>;
}
