//! Has files of uploads in parts be on as many members as their uploaders say.

use std::sync::Arc;

use async_trait::async_trait;

use crate::fetch::copies::{self, Copies};
use crate::record::FileId;
use crate::resumable::{Unseen, Wishes};
use crate::store::StoreError;

/// What a member does about copies, as uploads need it.
pub(super) struct Wishing(pub(super) Arc<Copies>);

impl Unseen for copies::Unseen {}

#[async_trait]
impl Wishes for Wishing {
    async fn hide_newer(&self) -> Result<Box<dyn Unseen>, StoreError> {
        Ok(Box::new(self.0.hide_newer().await?))
    }

    async fn wish(&self, file: FileId, copies: u8) -> Result<(), StoreError> {
        self.0.wish(file, copies).await
    }
}
