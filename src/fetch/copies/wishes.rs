//! Files whose uploaders have said on how many members they are to be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::holder::Copies;
use crate::record::FileId;
use crate::store::StoreError;

/// While it lives, no other member is told of the files that came behind it.
#[must_use]
pub struct Unseen {
    copies: Arc<Copies>,
    number: u64,
}

impl Copies {
    /// Tells no other member of files that come from now on, as long as that lives.
    pub async fn hide_newer(self: &Arc<Self>) -> Result<Unseen, StoreError> {
        let wishes = &self.wishes;
        let number = wishes.next.fetch_add(1, Ordering::Relaxed);
        let newest = self.own.page_back(None, 1).await?;
        let newest = newest.first().map(|it| it.id);
        wishes.hidden.lock().insert(number, newest);
        Ok(Unseen {
            copies: Arc::clone(self),
            number,
        })
    }

    /// Writes down on how many members an own file is to be, itself among them.
    pub async fn wish(&self, file: FileId, copies: u8) -> Result<(), StoreError> {
        self.wishes.any.store(true, Ordering::Relaxed);
        self.table.wish(file, copies).await
    }

    /// On how many members an own file is to be.
    pub(super) async fn copies_of(&self, file: FileId) -> Result<u8, StoreError> {
        if !self.wishes.any.load(Ordering::Relaxed) {
            return Ok(self.options.copies);
        }
        let wished = self.table.wished(file).await?;
        Ok(wished.unwrap_or(self.options.copies))
    }

    /// Finds out whether anything is wished; where that cannot be read, there may be.
    pub(super) async fn recall_wishes(&self) {
        let any = self.table.has_wishes().await.unwrap_or(true);
        self.wishes.any.fetch_or(any, Ordering::Relaxed);
    }

    /// Whether others are told of an own file by now.
    pub(super) fn is_shown(&self, file: FileId) -> bool {
        let hidden = self.wishes.hidden.lock();
        hidden.values().all(|newest| Some(file) <= *newest)
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let wishes = &self.copies.wishes;
        wishes.hidden.lock().remove(&self.number);
        wishes.shown.fetch_add(1, Ordering::Relaxed);
    }
}
