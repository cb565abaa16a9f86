//! Files whose uploaders have said on how many members they are to be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::holder::{Copies, PAGE};
use super::table::Word;
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::record::FileId;
use crate::store::StoreError;

/// While it lives, no other member is told of the files that came behind it.
#[must_use]
pub struct Unseen {
    copies: Arc<Copies>,
    number: u64,
}

/// On how many members an own file is to be, and on which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spread {
    /// On how many it is to be, this one among them.
    pub wanted: u8,
    /// The others that are there and have told that they hold it.
    pub others: Vec<PeerId>,
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
        self.wishes.made.fetch_add(1, Ordering::Relaxed);
        let _writing = self.wishes.writing.lock().await;
        let written = self.table.wish(file, copies).await;
        self.count_again(file);
        written
    }

    /// The same of a file of which others may know; they look at it again. False where there is no
    /// such file.
    pub async fn wish_otherwise(&self, file: FileId, copies: u8) -> Result<bool, StoreError> {
        if self.own.get(file).await?.is_none() {
            return Ok(false);
        }
        self.wish(file, copies).await?;
        if self.own.get(file).await?.is_none() {
            // It was removed meanwhile.
            self.forget_wish(file).await?;
            return Ok(false);
        }
        self.look_again();
        Ok(true)
    }

    /// Has the other members look at own files again from the first one on.
    pub(super) fn look_again(&self) {
        self.wishes.changed.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets what was wished of a file that was removed.
    pub async fn forget_wish(&self, file: FileId) -> Result<(), StoreError> {
        if !self.wishes.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let _writing = self.wishes.writing.lock().await;
        self.table.forget_wish(file).await
    }

    /// On how many members an own file is to be, and on which it is.
    pub async fn spread_of(&self, file: FileId, hash: &BlobHash) -> Result<Spread, StoreError> {
        let wanted = self.copies_of(file).await?;
        let (view, _) = self.members.look();
        let others = self.holders_of(hash, &view);
        Ok(Spread {
            wanted,
            others: others.into_iter().collect(),
        })
    }

    /// On how many members an own file is to be.
    pub(super) async fn copies_of(&self, file: FileId) -> Result<u8, StoreError> {
        let wished = self.wished(file).await?;
        Ok(wished.unwrap_or(self.options.copies))
    }

    /// On how many an own file is to be, where its uploader, or somebody since, has said so.
    pub(super) async fn wished(&self, file: FileId) -> Result<Option<u8>, StoreError> {
        if !self.wishes.any.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.table.wished(file).await
    }

    /// Finds out whether anything is wished, and how many removals are remembered, and forgets what
    /// was wished of files that are gone; where that cannot be read, anything may be wished.
    pub(super) async fn recall_words(&self) {
        let any = self.go_through_words().await.unwrap_or(true);
        self.wishes.any.fetch_or(any, Ordering::Relaxed);
    }

    /// Whether any wish is left that is of a file that is there.
    async fn go_through_words(&self) -> Result<bool, StoreError> {
        let (mut any, mut after) = (false, None);
        loop {
            let (words, next) = self.table.words(after, PAGE).await?;
            for (entry, word) in words {
                match word {
                    Word::Copy => self.table.count_copies(1),
                    Word::Gone(key) => {
                        self.remembered.add(key.owner);
                        if key.owner == self.me() {
                            self.look_whether_back(key.file).await?;
                        }
                    }
                    Word::Wish(file) if self.may_be_wished(file).await? => any = true,
                    Word::Wish(_) => drop(self.table.remove(entry).await?),
                }
            }
            after = next;
            if after.is_none() {
                return Ok(any);
            }
        }
    }

    /// Whether an own file is there, or can come back as it was.
    async fn may_be_wished(&self, file: FileId) -> Result<bool, StoreError> {
        Ok(self.own.is_trashed(file) || self.own.get(file).await?.is_some())
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
