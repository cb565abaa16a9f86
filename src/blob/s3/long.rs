//! Long content in a bucket: what proves it, and pieces of it that are proven.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};

use super::depot::Depot;
use crate::blob::{BlobError, other_size};
use crate::blocking;
use crate::hash::BlobHash;
use crate::outboard::{PIECE_BYTES, PieceHasher, PieceValues};
use crate::place::Place;

/// How much is read at once to derive what proves a content, in bytes, and how much of that is
/// under way.
const DERIVED_BYTES: u64 = 16 * PIECE_BYTES;
const DERIVED_AHEAD: usize = 2;

/// Content in a bucket that is read piece by piece.
#[derive(Clone)]
pub(super) struct LongBlob {
    pub(super) depot: Arc<Depot>,
    pub(super) hash: BlobHash,
    pub(super) place: Place,
    /// As the store tells it, in bytes.
    pub(super) size: u64,
}

impl LongBlob {
    /// What proves its pieces: as it was written down, or derived from all of it.
    pub(super) async fn values(&self) -> Result<Arc<PieceValues>, BlobError> {
        let (hash, size) = (self.hash, self.size);
        if size <= PIECE_BYTES {
            return Ok(Arc::new(PieceValues::of_one(hash, size)));
        }
        let proofs = &self.depot.proofs;
        proofs
            .get_or_insert_async(&(hash, size), async {
                let key = self.depot.outboard(self.place);
                // One byte more shows what is too long.
                let most = PieceValues::written_len(size) + 1;
                let written = self.depot.bucket.get(&key, 0, most).await?;
                let known = written.and_then(|(bytes, _)| PieceValues::read(hash, size, &bytes));
                match known {
                    Some(values) => Ok(Arc::new(values)),
                    None => self.derive().await.map(Arc::new),
                }
            })
            .await
    }

    /// Whether what is written down of that is right, or nothing is; what is not is removed, and
    /// derived when it is needed.
    pub(super) async fn check_outboard(&self) -> Result<bool, BlobError> {
        let most = PieceValues::written_len(self.size) + 1;
        let key = self.depot.outboard(self.place);
        if most == 1 {
            return Ok(true);
        }
        let written = self.depot.bucket.get(&key, 0, most).await?;
        let is_there = written.is_some();
        let values = written.and_then(|(it, _)| PieceValues::read(self.hash, self.size, &it));
        let (proofs, of) = (&self.depot.proofs, (self.hash, self.size));
        if let Some(values) = values {
            // So that whoever reads the content next does not ask for it again.
            proofs.insert(of, Arc::new(values));
            return Ok(true);
        }
        proofs.remove(&of);
        if is_there {
            self.depot.bucket.delete(&key).await?;
        }
        Ok(!is_there)
    }

    /// Reads all of it for what proves its pieces, and writes that down.
    async fn derive(&self) -> Result<PieceValues, BlobError> {
        let step = usize::try_from(DERIVED_BYTES).unwrap_or(usize::MAX);
        let ranges = (0..self.size).step_by(step);
        let ranges = ranges.map(|start| start..self.size.min(start + DERIVED_BYTES));
        let mut read = stream::iter(ranges)
            .map(|range| self.get(range))
            .buffered(DERIVED_AHEAD);
        let mut hasher = PieceHasher::default();
        while let Some(bytes) = read.try_next().await? {
            hasher = blocking::run(move || {
                hasher.update(&bytes);
                hasher
            })
            .await;
        }
        let values = hasher.finish();
        if values.hash() != self.hash {
            return Err(self.damaged(BlobError::other_hash(self.hash)));
        }
        let key = self.depot.outboard(self.place);
        let put = self.depot.bucket.put(&key, values.bytes().into()).await;
        if let Err(error) = put {
            tracing::debug!(place = %self.place, %error, "an outboard could not be written");
        }
        Ok(values)
    }

    /// The bytes of whole pieces, proven.
    pub(super) async fn fetch(
        &self,
        values: &Arc<PieceValues>,
        range: Range<u64>,
    ) -> Result<Bytes, BlobError> {
        let mut mismatch = None;
        // Twice, so that what the way has changed is not taken for damage.
        for _ in 0..2 {
            let bytes = self.get(range.clone()).await?;
            let (values, start) = (Arc::clone(values), range.start);
            let checked = blocking::run(move || {
                let step = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
                let mut pieces = bytes.chunks(step).enumerate();
                let checked = pieces.try_for_each(|(at, piece)| {
                    values.check(start + at as u64 * PIECE_BYTES, piece)
                });
                checked.map(|()| bytes)
            });
            match checked.await {
                Ok(bytes) => return Ok(bytes),
                Err(found) => mismatch = Some(found),
            }
        }
        let detail = mismatch.map(|it| it.to_string()).unwrap_or_default();
        Err(self.damaged(BlobError::damaged(self.hash, &detail)))
    }

    /// These bytes as the store has them.
    pub(super) async fn get(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let key = self.depot.blob(self.place);
        let got = self.depot.bucket.get(&key, range.start, range.end).await?;
        let Some((bytes, size)) = got else {
            // Whether it is to be there whoever opens it again finds out.
            return Err(BlobError::missing(self.hash));
        };
        if size != self.size {
            let detail = other_size(size, self.size);
            return Err(self.damaged(BlobError::damaged(self.hash, &detail)));
        }
        Ok(bytes)
    }

    pub(super) fn damaged(&self, error: BlobError) -> BlobError {
        self.depot.damaged(self.hash, self.place, error)
    }
}
