//! What is in a bucket, read again: long content piece by piece, packs as a whole.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::S3Blobs;
use super::compaction::all_of_pack;
use super::long::LongBlob;
use super::packed::{self, Believed};
use super::reading;
use crate::blob::{BlobError, OpenBlob, Rereading, Salvage};
use crate::blocking;
use crate::hash::BlobHash;
use crate::outboard::{PIECE_BYTES, PieceValues, PlacedPair};
use crate::place::Place;

/// How much is asked for at once at least, and at most, in bytes: each request costs as much as
/// reading some of that.
const LEAST: u64 = 4 * PIECE_BYTES;
const MOST: u64 = 16 * PIECE_BYTES;

/// How a content was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// All bytes of it have its hash.
    Whole,
    /// They have not, which is remembered of the place.
    Damaged,
    /// Nothing is there.
    Missing,
}

impl S3Blobs {
    /// Reads all of a pack, and tells which of these contents of it are whole there.
    pub async fn reread_pack(
        &self,
        pack: Place,
        contents: Vec<(BlobHash, Place)>,
    ) -> Result<Vec<bool>, BlobError> {
        let bytes = all_of_pack(&self.depot, pack).await?;
        let prove = move || {
            let is_whole = |(hash, place)| packed::within(&bytes, &hash, place).is_some();
            contents.into_iter().map(is_whole).collect()
        };
        Ok(blocking::run(prove).await)
    }

    /// Reads all of a content that is in a place, whatever was proven of it before.
    pub async fn reread(&self, hash: &BlobHash, place: Place) -> Result<Found, BlobError> {
        let opened = reading::open(&self.depot, *hash, place, Believed::Bucket).await;
        let proven = match opened {
            Ok(None) => return Ok(Found::Missing),
            Ok(Some(blob)) => blob.prove().await,
            Err(error) => Err(error),
        };
        match proven {
            Ok(()) => {
                self.depot.damage.clear(place);
                Ok(Found::Whole)
            }
            Err(error) if error.is_missing() => Ok(Found::Missing),
            Err(BlobError::Damaged { .. }) => Ok(Found::Damaged),
            Err(error) => Err(error),
        }
    }

    /// Opens content that may be known to be damaged, of which what is not right is an error when
    /// it is read; None where nothing of it can be.
    pub async fn open_in_part(&self, hash: &BlobHash, place: Place) -> Option<Arc<dyn OpenBlob>> {
        let opened = reading::open(&self.depot, *hash, place, Believed::Bucket).await;
        opened.ok().flatten()
    }

    /// What is right of content of `size` bytes in a place; None where nothing tells that.
    pub async fn salvage(
        &self,
        hash: BlobHash,
        place: Place,
        size: u64,
    ) -> Option<Box<dyn Salvage>> {
        if place.at().is_some() {
            return None;
        }
        let blob = LongBlob {
            depot: Arc::clone(&self.depot),
            hash,
            place,
            size,
        };
        let values = blob.values().await.ok()?;
        Some(Box::new(InPart { blob, values }))
    }
}

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
struct InPart {
    blob: LongBlob,
    values: Arc<PieceValues>,
}

#[async_trait]
impl Salvage for InPart {
    async fn read(&self, range: Range<u64>) -> Result<Vec<(u64, Bytes)>, BlobError> {
        let bytes = match self.blob.get(range.clone()).await {
            Err(BlobError::Damaged { .. }) => return Ok(Vec::new()),
            got => got?,
        };
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
