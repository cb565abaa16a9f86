//! Long content of a bucket, read again piece by piece, and what is right of it.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::long::LongBlob;
use crate::blob::{BlobError, Rereading, Salvage};
use crate::blocking;
use crate::outboard::{PIECE_BYTES, PieceValues, PlacedPair};

/// How much is asked for at once at least, and at most, in bytes: each request costs as much as
/// reading some of that.
const LEAST: u64 = 4 * PIECE_BYTES;
const MOST: u64 = 16 * PIECE_BYTES;

/// Long content of a bucket that is read again.
pub(super) struct LongReread {
    pub(super) blob: LongBlob,
    /// How much of it was read.
    pub(super) at: u64,
}

#[async_trait]
impl Rereading for LongReread {
    async fn next(&mut self, most: u64) -> Result<u64, BlobError> {
        let Self { blob, at } = self;
        if *at >= blob.size {
            // Also where another node has found it damaged.
            blob.depot.damage.clear(blob.place);
            return Ok(0);
        }
        // What proves it is remembered, and may have rotten in the bucket meanwhile.
        if *at == 0 && !blob.check_outboard().await? {
            tracing::info!(hash = %blob.hash, "an outboard was damaged, and is made anew");
        }
        let values = blob.values().await?;
        let most = most.clamp(LEAST, MOST) / PIECE_BYTES * PIECE_BYTES;
        let end = blob.size.min(*at + most);
        blob.fetch(&values, *at..end).await?;
        let read = end - *at;
        *at = end;
        Ok(read)
    }

    fn position(&self) -> u64 {
        self.at
    }
}

/// Long content of which something is not right.
pub(super) struct InPart {
    pub(super) blob: LongBlob,
    pub(super) values: Arc<PieceValues>,
}

#[async_trait]
impl Salvage for InPart {
    async fn read(&self, range: Range<u64>) -> Result<Vec<(u64, Bytes)>, BlobError> {
        // Also of an object that was cut, or has something behind it.
        let (bucket, key) = (
            &self.blob.depot.bucket,
            self.blob.depot.blob(self.blob.place),
        );
        let got = bucket.get(&key, range.start, range.end).await?;
        let bytes = got.map(|(bytes, _)| bytes).unwrap_or_default();
        let values = Arc::clone(&self.values);
        let prove = move || {
            let step = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
            let pieces = bytes.chunks(step).map(|piece| bytes.slice_ref(piece));
            let pieces = (range.start..).step_by(step).zip(pieces);
            pieces
                .filter(|(start, piece)| values.check(*start, piece).is_ok())
                .collect()
        };
        Ok(blocking::run(prove).await)
    }

    async fn unproven(&self, _from: u64) -> Result<Option<u64>, BlobError> {
        // Each piece is right or is not.
        Ok(None)
    }

    async fn prove_by(&self, _pairs: Vec<PlacedPair>) -> Result<(), BlobError> {
        Ok(())
    }
}
