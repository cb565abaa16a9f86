//! Content on its way, as the quota counts it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::quota::{Kind, TakenRoom};
use super::{Store, StoreError};
use crate::blob::{Arrival, BlobError, Limit, Received, Receiving};
use crate::client_key::ClientKey;
use crate::hash::BlobHash;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// Content that comes in one piece takes room from here on, in bytes: before it is in memory.
const IN_MEMORY: u64 = 64 << 10;
/// How much is taken at once as content comes whose room is not taken ahead, in bytes.
const STEP: u64 = 256 << 10;

impl Store {
    /// How many bytes more can be kept now, within the quota and what the backend has room for.
    pub async fn room(&self) -> u64 {
        let kept = self.totals().blob_bytes;
        let quota = self.quota.as_ref().map(|quota| quota.left(kept));
        let free = self.blobs.room().await;
        quota.map_or(free, |quota| quota.min(free))
    }

    /// How long content may be now. What is kept is taken once more however small the quota has
    /// become: all of it together is no shorter than one content of it.
    pub fn limit(&self) -> Limit {
        let quota = self.quota.as_ref().map(|quota| quota.limit());
        Limit {
            longest: self.longest,
            quota: quota.map(|quota| quota.max(self.totals().blob_bytes)),
        }
    }

    /// How many bytes are kept at most, where a quota limits that.
    pub fn quota(&self) -> Option<u64> {
        self.quota.as_ref().map(|quota| quota.limit())
    }

    /// Whether a quota limits what is kept.
    pub fn has_quota(&self) -> bool {
        self.quota.is_some()
    }

    /// Begins to receive content, for [`Store::ingest`].
    pub async fn receive(&self) -> Result<Box<dyn Receiving>, StoreError> {
        self.receive_of(None).await
    }

    /// The same for content that a client brings, of whom no more than a share comes at once.
    pub async fn receive_of(
        &self,
        client: Option<ClientKey>,
    ) -> Result<Box<dyn Receiving>, StoreError> {
        let receiving = self.blobs.receive(self.limit()).await?;
        if self.quota.is_none() {
            return Ok(receiving);
        }
        Ok(Box::new(Counted {
            receiving,
            received: 0,
            room: self.no_room_yet(client),
            store: self.clone(),
        }))
    }

    /// No room yet for content on its way that a client brings, over several requests perhaps.
    pub fn no_room_yet(&self, client: Option<ClientKey>) -> Arc<TakenRoom> {
        TakenRoom::none_yet(self.quota.clone(), client)
    }

    /// Takes room for content on its way that will have `length` bytes, of which `here` have come.
    /// Where the quota has none, it may come all the same if content of this length is kept: it
    /// may be that.
    pub async fn let_come(
        &self,
        room: &TakenRoom,
        here: u64,
        length: u64,
    ) -> Result<(), StoreError> {
        let elsewhere = self.elsewhere(room.client()).await?;
        let kept = || self.kept_or_in(&elsewhere);
        let take = |kind| room.take_beside(&elsewhere, (length, here, kind), kept);
        match take(Kind::Promised).await {
            Err(BlobError::OverQuota { .. }) if self.may_be_kept(length).await? => {
                Ok(take(Kind::Beyond).await?)
            }
            taken => Ok(taken?),
        }
    }

    /// Takes more room for content of which so many bytes have come, where it has less. Where
    /// nobody knows its length, it may be kept already.
    pub async fn let_more_come(
        &self,
        room: &TakenRoom,
        here: u64,
        length: Option<u64>,
    ) -> Result<(), StoreError> {
        if self.quota.is_none() || room.bytes() >= here {
            return Ok(());
        }
        let ahead = here.next_multiple_of(STEP);
        let Some(length) = length else {
            let elsewhere = self.elsewhere(room.client()).await?;
            let wanted = (ahead, ahead, Kind::Beyond);
            let kept = || self.kept_or_in(&elsewhere);
            return Ok(room.take_beside(&elsewhere, wanted, kept).await?);
        };
        self.let_come(room, ahead.min(length), length).await
    }

    /// Takes room for a copy of content with this hash. Where a file or whoever else brings it has
    /// it already it takes nothing in the end.
    pub async fn let_copy_come(
        &self,
        room: &TakenRoom,
        hash: &BlobHash,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let elsewhere = self.elsewhere(room.client()).await?;
        let kept = || self.kept_or_in(&elsewhere);
        let take = |kind| room.take_beside(&elsewhere, (bytes, bytes, kind), kept);
        match take(Kind::Promised).await {
            Err(BlobError::OverQuota { .. })
                if self.is_expected(hash) || self.is_needed(hash).await? =>
            {
                Ok(take(Kind::Beyond).await?)
            }
            taken => Ok(taken?),
        }
    }
}

/// Content that is received in one piece, and counted. Nobody knows before its end whether it is
/// kept already, so that it takes room beyond the quota only.
struct Counted {
    receiving: Box<dyn Receiving>,
    received: u64,
    room: Arc<TakenRoom>,
    store: Store,
}

/// Content that was received whole, and counts until it is kept or gone.
struct CountedWhole {
    received: Box<dyn Received>,
    _room: Arc<TakenRoom>,
}

#[async_trait]
impl Receiving for Counted {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.received += piece.len() as u64;
        if self.received > IN_MEMORY && self.room.bytes() < self.received {
            let (bytes, kept) = (self.received.next_multiple_of(STEP), || {
                self.store.totals().blob_bytes
            });
            self.room.take(bytes, bytes, Kind::Beyond, kept).await?;
        }
        self.receiving.write(piece).await
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        Ok(Box::new(CountedWhole {
            received: self.receiving.finish().await?,
            _room: self.room,
        }))
    }
}

#[async_trait]
impl Received for CountedWhole {
    fn hash(&self) -> BlobHash {
        self.received.hash()
    }

    fn size(&self) -> u64 {
        self.received.size()
    }

    fn arrival(&self) -> Arrival {
        self.received.arrival()
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        self.received.gather().await
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        self.received.keep(place).await
    }
}
