//! An object that comes in parts.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::PartId;
use tokio::runtime::Handle;

use super::depot::{Depot, RoomToSend};
use super::task::Task;
use crate::blob::BlobError;
use crate::place::Place;

/// How many parts of the usual length there are, in bytes each, before those that are longer: a
/// store takes 10,000.
pub(super) const PART_BYTES: u64 = 8 << 20;
const PARTS: u64 = 6_000;
const LONG_PART_BYTES: u64 = 64 << 20;
const LONG_PARTS: u64 = 4_000;
/// How many bytes of one object are on their way at once, unless a single part is longer.
pub(super) const UNDER_WAY: u64 = 4 * PART_BYTES;
/// The longest content, in bytes.
pub(super) const LONGEST: u64 = PARTS * PART_BYTES + LONG_PARTS * LONG_PART_BYTES;

/// An object that comes in parts, which is nowhere to be seen before it is complete. Dropped
/// before, nothing is left of it.
pub(super) struct Multipart {
    depot: Arc<Depot>,
    pub(super) place: Place,
    id: String,
    /// How many parts were begun.
    begun: usize,
    /// Those that are on their way, the first first, each with its length in bytes.
    coming: VecDeque<(u64, Task<Result<PartId, BlobError>>)>,
    /// Those that are there, before the others.
    parts: Vec<PartId>,
    size: u64,
    is_done: bool,
}

/// How long the part has to be in which the byte at `offset` is, in bytes.
pub(super) fn part_bytes(offset: u64) -> u64 {
    if offset < PARTS * PART_BYTES {
        PART_BYTES
    } else {
        LONG_PART_BYTES
    }
}

impl Multipart {
    /// Begins the object of a place, of which nothing may be there.
    pub(super) async fn begin(depot: Arc<Depot>, place: Place) -> Result<Self, BlobError> {
        let id = depot.bucket.begin(&depot.blob(place)).await?;
        Ok(Self {
            depot,
            place,
            id,
            begun: 0,
            coming: VecDeque::new(),
            parts: Vec::new(),
            size: 0,
            is_done: false,
        })
    }

    /// Begins to write the next part, of `len` bytes, which are had from `part` with room for them
    /// in memory; waits while too much is on its way.
    pub(super) async fn put(
        &mut self,
        len: u64,
        part: impl Future<Output = Result<(Bytes, RoomToSend), BlobError>> + Send + 'static,
    ) -> Result<(), BlobError> {
        while !self.coming.is_empty() && self.under_way() + len > UNDER_WAY {
            self.wait().await?;
        }
        let (depot, place, id) = (Arc::clone(&self.depot), self.place, self.id.clone());
        let number = self.begun;
        let put = Task::begin(async move {
            let (bytes, _room) = part.await?;
            depot
                .bucket
                .put_part(&depot.blob(place), &id, number, bytes)
                .await
        });
        self.begun += 1;
        self.size += len;
        self.coming.push_back((len, put));
        Ok(())
    }

    /// All parts were begun.
    pub(super) async fn complete(mut self) -> Result<(), BlobError> {
        while !self.coming.is_empty() {
            self.wait().await?;
        }
        let (bucket, key) = (&self.depot.bucket, self.depot.blob(self.place));
        let parts = std::mem::take(&mut self.parts);
        bucket.complete(&key, &self.id, parts, self.size).await?;
        self.is_done = true;
        Ok(())
    }

    fn under_way(&self) -> u64 {
        self.coming.iter().map(|(len, _)| len).sum()
    }

    /// Waits until the first of those on their way is there.
    async fn wait(&mut self) -> Result<(), BlobError> {
        if let Some((_, first)) = self.coming.front_mut() {
            let part = first.await;
            self.coming.pop_front();
            self.parts.push(part?);
        }
        Ok(())
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        // None comes behind the end.
        self.coming.clear();
        let (depot, place, id) = (Arc::clone(&self.depot), self.place, self.id.clone());
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            // Whoever deletes the place, or sweeps, finds what is left where this fails.
            if let Err(error) = depot.bucket.abort(&depot.blob(place), &id).await {
                tracing::debug!(%place, %error, "an unfinished object could not be given up");
            }
        });
    }
}
