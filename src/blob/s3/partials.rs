//! Partial content, which stays in scratch until it is complete, and goes to the bucket then.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{TryStreamExt, future};
use tokio::sync::Mutex;

use super::depot::{Depot, RoomToSend};
use super::multipart::{Multipart, PART_BYTES, part_bytes};
use crate::blob::{
    Arrival, BlobBackend, BlobError, Filling, FoundPartial, Limit, OpenBlob, Partial, PartialId,
    Partials, Proven, Received, Receiving,
};
use crate::hash::BlobHash;
use crate::outboard::PieceHasher;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// Content that is complete and on its way from scratch to the bucket.
pub(super) struct Scratch {
    pub(super) backend: Arc<dyn BlobBackend>,
    /// How many send each content: it is deleted when the last is through.
    senders: Mutex<BTreeMap<BlobHash, usize>>,
}

/// The partial contents of one purpose.
pub(super) struct ScratchPartials {
    depot: Arc<Depot>,
    scratch: Arc<Scratch>,
    partials: Arc<dyn Partials>,
}

/// One that is gone on with.
struct InScratch {
    depot: Arc<Depot>,
    scratch: Arc<Scratch>,
    partial: Box<dyn Partial>,
    own: Own,
}

/// By what partial content is found.
#[derive(Clone)]
struct Own {
    partials: Arc<dyn Partials>,
    id: PartialId,
}

/// One that is complete.
struct Complete {
    depot: Arc<Depot>,
    scratch: Arc<Scratch>,
    received: Box<dyn Received>,
    /// What is no longer partial once it is kept.
    ends: Option<Own>,
}

/// One that is in scratch while it is sent.
struct Leaving {
    depot: Arc<Depot>,
    scratch: Arc<Scratch>,
    hash: BlobHash,
    ends: Option<Own>,
}

impl Scratch {
    /// Content that a crash has left there is removed: it is partial content still.
    pub(super) async fn open(backend: Arc<dyn BlobBackend>) -> Result<Self, BlobError> {
        let left: Vec<_> = backend.list().try_collect().await?;
        for (place, _) in left {
            backend.delete(place).await?;
        }
        backend.sweep().await?;
        let senders = Mutex::default();
        Ok(Self { backend, senders })
    }

    /// Makes content a blob of scratch, and opens that.
    async fn enter(&self, content: Box<dyn Received>) -> Result<Arc<dyn OpenBlob>, BlobError> {
        let hash = content.hash();
        let place = Place::of(&hash);
        let mut senders = self.senders.lock().await;
        content.keep(place).await?;
        let opened = self.backend.open(&hash, place).await?;
        let opened = opened.ok_or_else(|| BlobError::damaged(hash, &"it is gone from scratch"))?;
        *senders.entry(hash).or_default() += 1;
        Ok(opened)
    }

    /// One is through with a content.
    async fn leave(&self, hash: BlobHash) {
        let mut senders = self.senders.lock().await;
        let left = senders.entry(hash).or_default();
        *left = left.saturating_sub(1);
        if *left > 0 {
            return;
        }
        senders.remove(&hash);
        // The next start removes what stays.
        if let Err(error) = self.backend.delete(Place::of(&hash)).await {
            tracing::warn!(%hash, %error, "content could not be removed from scratch");
        }
    }
}

impl ScratchPartials {
    pub(super) fn new(
        depot: Arc<Depot>,
        scratch: Arc<Scratch>,
        partials: Arc<dyn Partials>,
    ) -> Self {
        Self {
            depot,
            scratch,
            partials,
        }
    }
}

#[async_trait]
impl Partials for ScratchPartials {
    async fn prepare(&self) -> Result<Vec<FoundPartial>, BlobError> {
        self.partials.prepare().await
    }

    async fn resume(
        &self,
        id: &PartialId,
        size: u64,
        proven: Option<Proven>,
        limit: Limit,
    ) -> Result<Box<dyn Partial>, BlobError> {
        Ok(Box::new(InScratch {
            depot: Arc::clone(&self.depot),
            scratch: Arc::clone(&self.scratch),
            partial: self.partials.resume(id, size, proven, limit).await?,
            own: Own {
                partials: Arc::clone(&self.partials),
                id: id.clone(),
            },
        }))
    }

    async fn fill(
        &self,
        id: &PartialId,
        size: u64,
        limit: Limit,
    ) -> Result<Arc<dyn Filling>, BlobError> {
        self.partials.fill(id, size, limit).await
    }

    async fn longest(
        &self,
        id: &PartialId,
        beginnings: Vec<Proven>,
    ) -> Result<Option<Proven>, BlobError> {
        self.partials.longest(id, beginnings).await
    }

    async fn cut(&self, id: &PartialId, counts: u64) -> Result<u64, BlobError> {
        self.partials.cut(id, counts).await
    }

    async fn read(&self, id: &PartialId, offset: u64, len: usize) -> Result<Bytes, BlobError> {
        self.partials.read(id, offset, len).await
    }

    async fn rename(&self, from: &PartialId, to: &PartialId) -> Result<(), BlobError> {
        self.partials.rename(from, to).await
    }

    async fn remove(&self, id: &PartialId) -> Result<(), BlobError> {
        self.partials.remove(id).await
    }
}

impl InScratch {
    /// It stays in scratch until it is in the bucket, which may be out of reach.
    async fn complete(self, is_end: bool) -> Result<Box<dyn Received>, BlobError> {
        Ok(Box::new(Complete {
            depot: self.depot,
            scratch: self.scratch,
            received: self.partial.finish_copy().await?,
            ends: is_end.then_some(self.own),
        }))
    }
}

#[async_trait]
impl Receiving for InScratch {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.partial.write(piece).await
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        self.complete(true).await
    }
}

#[async_trait]
impl Partial for InScratch {
    fn received(&self) -> u64 {
        self.partial.received()
    }

    async fn written(&mut self) -> Result<Proven, BlobError> {
        self.partial.written().await
    }

    async fn sync(&mut self) -> Result<Proven, BlobError> {
        self.partial.sync().await
    }

    async fn finish_copy(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        self.complete(false).await
    }
}

#[async_trait]
impl Received for Complete {
    fn hash(&self) -> BlobHash {
        self.received.hash()
    }

    fn size(&self) -> u64 {
        self.received.size()
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            is_gathered: self.depot.gathers(self.received.size()),
            ..Arrival::default()
        }
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        let (content, leaving) = self.enter().await?;
        let sent = send(&leaving.depot, place, &*content).await;
        leaving.end(sent).await
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        let hash = self.received.hash();
        let (content, leaving) = self.enter().await?;
        let depot = &leaving.depot;
        let read = read(
            depot,
            &*content,
            0..content.size(),
            &mut PieceHasher::default(),
        )
        .await;
        let gathered = match read {
            Ok((bytes, _room)) => depot.gather(hash, bytes, None).await,
            Err(error) => Err(error),
        };
        leaving.end(gathered).await
    }
}

impl Complete {
    /// Has it in scratch until it is sent.
    async fn enter(self: Box<Self>) -> Result<(Arc<dyn OpenBlob>, Leaving), BlobError> {
        let Self {
            depot,
            scratch,
            received,
            ends,
        } = *self;
        let hash = received.hash();
        let content = scratch.enter(received).await?;
        let leaving = Leaving {
            depot,
            scratch,
            hash,
            ends,
        };
        Ok((content, leaving))
    }
}

impl Leaving {
    /// It was sent, or could not be.
    async fn end<T>(self, sent: Result<T, BlobError>) -> Result<T, BlobError> {
        self.scratch.leave(self.hash).await;
        let sent = sent?;
        if let Some(Own { partials, id }) = self.ends {
            partials.remove(&id).await?;
        }
        Ok(sent)
    }
}

/// Sends content to its place in the bucket, a part at a time.
async fn send(depot: &Arc<Depot>, place: Place, content: &dyn OpenBlob) -> Result<(), BlobError> {
    let size = content.size();
    let mut hasher = PieceHasher::default();
    if size <= PART_BYTES {
        let (bytes, _room) = read(depot, content, 0..size, &mut hasher).await?;
        depot.put_outboard(place, Arc::new(hasher.finish())).await;
        depot.bucket.put(&depot.blob(place), bytes).await?;
    } else {
        let mut multipart = Multipart::begin(Arc::clone(depot), place).await?;
        let mut offset = 0;
        while offset < size {
            let end = size.min(offset + part_bytes(offset));
            let part = read(depot, content, offset..end, &mut hasher).await?;
            multipart.put(end - offset, future::ready(Ok(part))).await?;
            offset = end;
        }
        depot.put_outboard(place, Arc::new(hasher.finish())).await;
        multipart.complete().await?;
    }
    depot.damage.written(place);
    Ok(())
}

/// Reads what is sent at once, which is hashed as it comes.
async fn read(
    depot: &Depot,
    content: &dyn OpenBlob,
    range: Range<u64>,
    hasher: &mut PieceHasher,
) -> Result<(Bytes, RoomToSend), BlobError> {
    let room = depot.room_to_send(range.end - range.start).await;
    let mut bytes = BytesMut::new();
    let mut pieces = content.read(range);
    while let Some(piece) = pieces.try_next().await? {
        hasher.update(&piece);
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes.freeze(), room))
}
