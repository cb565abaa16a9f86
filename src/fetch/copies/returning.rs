//! Removing own files, and finding out which are there again.

use super::holder::Copies;
use super::returned::Removing;
use crate::peer::copies::{CopiedFile, CopyKey, Withdrawal};
use crate::record::FileId;
use crate::store::StoreError;

impl Copies {
    /// Writes down, signed, that an own file is removed, before it is: from then on all copies of
    /// it go.
    pub async fn begin_removal(&self, file: FileId) -> Result<Removing<'_>, StoreError> {
        let turn = self.returned.turn(file).await;
        let removing = Removing { _turn: turn };
        if self.own.get(file).await?.is_none() {
            return Ok(removing);
        }
        let since = self.returned.since(file);
        let signed = self.fetcher.network.end_copies(file, since);
        let store = &self.table.store;
        // On a full disk, too: by a removal there is room again.
        let room = store.lend_if_short().await;
        let written = self.remember_removal(self.own_key(file), &signed).await;
        store.take_back(room).await;
        written?;
        Ok(removing)
    }

    /// Finds out whether an own file is there of which it is written down that it was removed.
    pub(super) async fn look_whether_back(&self, file: FileId) -> Result<bool, StoreError> {
        let _turn = self.returned.turn(file).await;
        match self.table.withdrawal(self.own_key(file)).await? {
            Some(removal) => self.note_back(file, &removal).await,
            None => Ok(false),
        }
    }

    /// A member remembers that this one has removed a file of its own, which it may not know itself
    /// any more.
    pub(super) async fn hear_own_removal(
        &self,
        file: FileId,
        removal: &Withdrawal,
    ) -> Result<(), StoreError> {
        let _turn = self.returned.turn(file).await;
        if self.own.get(file).await?.is_none() {
            self.forget_told(file);
            return Ok(());
        }
        let key = self.own_key(file);
        let known = self.table.withdrawal(key).await?;
        if known.is_none_or(|it| it.told_at < removal.told_at) {
            // So that the next start knows it, too.
            self.remember_removal(key, removal).await?;
        }
        self.note_back(file, removal).await.map(drop)
    }

    /// Has all members look again at what is there, if a file is back since a removal; whether it
    /// is there.
    async fn note_back(&self, file: FileId, removal: &Withdrawal) -> Result<bool, StoreError> {
        let is_there = self.own.get(file).await?.is_some();
        if is_there && self.returned.note(file, removal.behind()) {
            tracing::debug!(%file, "a file is back, and copies of it are asked for anew");
            self.look_again();
        }
        Ok(is_there)
    }

    /// Whether a copy counts of which another member tells: none does whose file its owner has
    /// removed since.
    pub(super) async fn counts_as_copy(
        &self,
        key: CopyKey,
        told: &CopiedFile,
    ) -> Result<bool, StoreError> {
        // Whoever tells of it may have made up since when it is back.
        if told.since > 0 && told.check().is_err() {
            return Ok(false);
        }
        let Some(removal) = self.table.withdrawal(key).await? else {
            self.returned.note_other(key, told.since);
            return Ok(true);
        };
        if removal.ends(told) {
            return Ok(false);
        }
        if key.owner == self.me() {
            return self.is_mine_again(key, told).await;
        }
        self.returned.note_other(key, told.since);
        self.forget_removal(key).await?;
        Ok(true)
    }

    /// Whether an own file is there of which somebody holds a copy that was ordered behind what is
    /// remembered of its removal; where it is not, it is removed again, behind that order.
    async fn is_mine_again(&self, key: CopyKey, told: &CopiedFile) -> Result<bool, StoreError> {
        let _turn = self.returned.turn(key.file).await;
        if self.own.get(key.file).await?.is_some() {
            return Ok(true);
        }
        let signed = self.fetcher.network.end_copies(key.file, told.since);
        self.remember_removal(key, &signed).await?;
        Ok(false)
    }

    pub(super) fn own_key(&self, file: FileId) -> CopyKey {
        let owner = self.me();
        CopyKey { owner, file }
    }
}
