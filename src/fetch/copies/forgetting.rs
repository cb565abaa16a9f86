//! Forgetting what is of no use any more: what has come in part, and the oldest removals.

use std::sync::Arc;

use super::holder::{Copies, PAGE};
use super::table::Word;
use crate::blob::Purpose;
use crate::fetch::repairing::{partial_of, remove_gathered};
use crate::hash::BlobHash;
use crate::peer::copies::{CopyKey, Withdrawal};
use crate::peer_id::PeerId;
use crate::record::FileId;
use crate::store::{StoreError, TakenRoom};

impl Copies {
    /// How many removals are remembered.
    pub fn remembered(&self) -> u64 {
        self.remembered.all()
    }

    /// Writes down, as its owner has signed it, that a file is removed. Ok means durable.
    pub(super) async fn remember_removal(
        &self,
        key: CopyKey,
        signed: &Withdrawal,
    ) -> Result<(), StoreError> {
        if self.table.withdraw(key, signed).await? {
            self.remembered.add(key.owner);
        }
        Ok(())
    }

    /// Forgets that a file is removed, which is back.
    pub(super) async fn forget_removal(&self, key: CopyKey) -> Result<(), StoreError> {
        for _ in 0..self.table.forget_removal(key).await? {
            self.remembered.forget_one(key.owner);
        }
        Ok(())
    }

    /// An own file is removed: that others have it counts no more, who hear of it later, nor what
    /// was wished of it, unless it can be brought back from the trash.
    pub async fn end_removal(&self, file: FileId) -> Result<(), StoreError> {
        self.forget_told(file);
        if self.own.is_trashed(file) {
            return Ok(());
        }
        self.forget_wish(file).await
    }

    /// Forgets who has told that he has a file, which its owner has removed.
    pub(super) fn forget_told(&self, file: FileId) {
        self.forget_told_but(file, None);
    }

    /// The same but of one peer, which speaks for itself.
    pub(super) fn forget_told_but(&self, file: FileId, one: Option<PeerId>) {
        let directory = &self.fetcher.network.directory;
        for held in directory.with_id(file) {
            for peer in held.peers.into_iter().filter(|it| Some(*it) != one) {
                directory.withdraw(peer, file);
            }
        }
    }

    /// Forgets the oldest where there are too many.
    pub(super) async fn forget_oldest(&self) -> Result<(), StoreError> {
        let (mut excess, mut after) = (self.remembered.too_many(), None);
        while !excess.is_empty() {
            let (words, next) = self.table.words(after, PAGE).await?;
            for (entry, word) in words {
                let Word::Gone(CopyKey { owner, .. }) = word else {
                    continue;
                };
                let Some(count) = excess.get_mut(&owner) else {
                    continue;
                };
                if self.table.remove(entry).await? {
                    self.remembered.forget_one(owner);
                }
                *count -= 1;
                if *count == 0 {
                    excess.remove(&owner);
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The room that has been taken for a content, or none yet.
    pub(super) fn room_for(&self, hash: &BlobHash) -> Arc<TakenRoom> {
        let room = self.half.take(hash);
        room.unwrap_or_else(|| self.table.store.no_room_yet(None))
    }

    /// Removes what has come of a content.
    pub(super) async fn remove_half(&self, hash: &BlobHash) {
        let partials = self.table.store.partials(Purpose::Copies);
        remove_gathered(&*partials, &partial_of(hash)).await;
    }

    /// Removes what nobody has come back to.
    pub(super) async fn forget_half(&self) {
        for hash in self.half.take_late() {
            let _alone = self.half.alone_at(hash).await;
            self.remove_half(&hash).await;
        }
    }
}
