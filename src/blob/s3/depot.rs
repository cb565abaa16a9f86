//! What all share who write to a bucket and read from it.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use object_store::path::Path;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bucket::{BLOBS, Bucket, OUTBOARDS};
use super::damage::Damage;
use super::packs::{Coming, Packs};
use super::remembered::{self, Remembered};
use crate::blob::BlobError;
use crate::blob::pack_format::LONGEST_CONTENT;
use crate::hash::BlobHash;
use crate::outboard::PieceValues;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// How much of what is on its way to the store is in memory at once, in MiB.
const SENDING_MIB: u32 = 128;
/// How many bytes of what proves contents are remembered.
const PROOFS: u64 = 32 << 20;
/// How many contents that is of, usually.
const USUAL_PROOFS: usize = 1_000;

/// What proves contents, by hash and size: it is right wherever they are.
pub(super) type Proofs = Cache<(BlobHash, u64), Arc<PieceValues>, Weight>;

/// What all share who write to a bucket and read from it.
pub(super) struct Depot {
    pub(super) bucket: Arc<Bucket>,
    pub(super) damage: Damage,
    pub(super) proofs: Proofs,
    /// Contents in packs that were read lately.
    pub(super) packed: Remembered,
    packs: OnceLock<Packs>,
    sending: Arc<Semaphore>,
}

/// Room in memory for what is on its way to the store; given back on drop.
pub(super) struct RoomToSend {
    _permit: Option<OwnedSemaphorePermit>,
}

/// How much memory the proof of a content takes.
#[derive(Clone)]
pub(super) struct Weight;

impl Weighter<(BlobHash, u64), Arc<PieceValues>> for Weight {
    fn weight(&self, (_, size): &(BlobHash, u64), _: &Arc<PieceValues>) -> u64 {
        256 + PieceValues::written_len(*size)
    }
}

/// What comes of `read`, which is done once more where that is damaged: so what the way from the
/// store has changed is not taken for damage.
pub(super) async fn twice<T, Reading>(read: impl Fn() -> Reading) -> Result<T, BlobError>
where
    Reading: Future<Output = Result<T, BlobError>>,
{
    match read().await {
        Err(BlobError::Damaged { .. }) => read().await,
        read => read,
    }
}

impl Depot {
    /// With room for so many bytes of contents in packs that were read lately.
    pub(super) fn new(bucket: Bucket, packed: u64) -> Self {
        Self {
            bucket: Arc::new(bucket),
            damage: Damage::default(),
            proofs: Cache::with_weighter(USUAL_PROOFS, PROOFS, Weight),
            packed: remembered::remembering(packed),
            packs: OnceLock::new(),
            sending: Arc::new(Semaphore::new(SENDING_MIB as usize)),
        }
    }

    /// Has short contents be kept in packs from now on, as soon as all nodes know of them.
    pub(super) fn write_packs(&self, packs: Packs) {
        // Whoever writes them already goes on.
        let _ = self.packs.set(packs);
    }

    /// Where short contents go together; none where each is by itself.
    pub(super) fn packs(&self) -> Option<&Packs> {
        self.packs.get().filter(|it| it.rows.are_known())
    }

    /// Content begins to come that may be so short.
    pub(super) fn coming(&self) -> Option<Coming> {
        self.packs().map(Packs::coming)
    }

    /// Whether content of so many bytes is kept together with others.
    pub(super) fn gathers(&self, bytes: u64) -> bool {
        bytes <= LONGEST_CONTENT && self.packs().is_some()
    }

    /// Keeps a content in the next pack.
    pub(super) async fn gather(
        &self,
        hash: BlobHash,
        bytes: Bytes,
        coming: Option<Coming>,
    ) -> Result<Gathered, BlobError> {
        match self.packs.get() {
            Some(packs) => packs.gather(hash, bytes, coming).await,
            None => Err(BlobError::kept_alone(hash)),
        }
    }

    /// Where the content of a place is.
    pub(super) fn blob(&self, place: Place) -> Path {
        self.bucket.key(BLOBS, place)
    }

    /// Where is what proves it.
    pub(super) fn outboard(&self, place: Place) -> Path {
        self.bucket.key(OUTBOARDS, place)
    }

    /// Waits for room in memory for so many bytes on their way to the store.
    pub(super) async fn room_to_send(&self, bytes: u64) -> RoomToSend {
        let mebibytes = u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(SENDING_MIB);
        let room = Arc::clone(&self.sending).acquire_many_owned(mebibytes.min(SENDING_MIB));
        // It is never closed.
        let permit = room.await.ok();
        RoomToSend { _permit: permit }
    }

    /// Writes what proves the content of a place. Where that fails it is derived when it is needed.
    pub(super) async fn put_outboard(&self, place: Place, values: Arc<PieceValues>) {
        let written = values.bytes();
        if written.is_empty() {
            return;
        }
        let key = self.outboard(place);
        if let Err(error) = self.bucket.put(&key, Bytes::from(written)).await {
            tracing::debug!(%place, %error, "an outboard could not be written");
        }
        let key = (values.hash(), values.size());
        self.proofs.insert(key, values);
    }

    /// What [`twice`] makes of reading content with this hash in a place, where damage is
    /// remembered.
    pub(super) async fn proven<T, Reading>(
        &self,
        (hash, place): (BlobHash, Place),
        read: impl Fn() -> Reading,
    ) -> Result<T, BlobError>
    where
        Reading: Future<Output = Result<T, BlobError>>,
    {
        match twice(read).await {
            Err(error @ BlobError::Damaged { .. }) => Err(self.damaged(hash, place, error)),
            read => read,
        }
    }

    /// Remembers that what is in a place is not the content with this hash.
    pub(super) fn damaged(&self, hash: BlobHash, place: Place, error: BlobError) -> BlobError {
        if self.damage.mark(place) {
            tracing::error!(%hash, %place, %error, "a content in the bucket is damaged");
        }
        error
    }

    /// Deletes whatever is kept for a place, or is on its way there.
    pub(super) async fn delete(&self, place: Place) -> Result<(), BlobError> {
        let blob = self.blob(place);
        // Whoever is late with the end of an object in parts finds that there is none.
        if let Err(error) = self.bucket.abort_all(&blob).await {
            tracing::debug!(%place, %error, "what is unfinished cannot be looked at");
        }
        self.bucket.delete(&blob).await?;
        self.bucket.delete(&self.outboard(place)).await?;
        self.damage.clear_all(place);
        Ok(())
    }
}
