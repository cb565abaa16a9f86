//! Contents read from a bucket: nothing is given out that was not proven.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};

use super::depot::Depot;
use super::long::LongBlob;
use super::long_reread::LongReread;
use super::packed::{self, Believed};
use super::windows::{self, Windows};
use crate::blob::open_bytes::OpenBytes;
use crate::blob::{BlobError, ByteStream, OpenBlob, Rereading};
use crate::hash::BlobHash;
use crate::outboard::PIECE_BYTES;
use crate::place::Place;

/// Content of at most this many bytes is read when it is opened.
const SMALL: u64 = 64 * 1024;

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

/// Opens the content in a place; None where nothing is there.
pub(super) async fn open(
    depot: &Arc<Depot>,
    hash: BlobHash,
    place: Place,
    believed: Believed,
) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
    if place.at().is_some() {
        let bytes = packed::content(depot, hash, place, believed).await?;
        return Ok(bytes.map(|bytes| Arc::new(OpenBytes { hash, bytes }) as _));
    }
    let key = depot.blob(place);
    let read = || async {
        let Some((bytes, size)) = depot.bucket.get(&key, 0, SMALL).await? else {
            return Ok(None);
        };
        let blob: Arc<dyn OpenBlob> = if size > SMALL {
            Arc::new(LongBlob {
                depot: Arc::clone(depot),
                hash,
                place,
                size,
            })
        } else if BlobHash::of(&bytes) == hash {
            Arc::new(OpenBytes { hash, bytes })
        } else {
            return Err(BlobError::other_hash(hash));
        };
        Ok(Some(blob))
    };
    depot.proven((hash, place), read).await
}

#[async_trait]
impl OpenBlob for LongBlob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> ByteStream {
        if range.end > self.size {
            let error = BlobError::cut_short(self.hash, self.size, range.end);
            return stream::iter([Err(error)]).boxed();
        }
        windows::read(self.clone(), range)
    }

    fn encoded(&self, range: Range<u64>) -> ByteStream {
        windows::encoded(self.clone(), range)
    }

    async fn prove_size(&self) -> Result<(), BlobError> {
        let values = self.values().await?;
        let last = (self.size - 1) / PIECE_BYTES * PIECE_BYTES;
        self.fetch(&values, last..self.size).await.map(drop)
    }

    async fn refuse_size(&self, size: u64) -> BlobError {
        self.damaged(BlobError::other_size(self.hash, self.size, size))
    }

    fn reread(&self, from: u64) -> Option<Box<dyn Rereading>> {
        Some(Box::new(LongReread {
            blob: self.clone(),
            at: from.min(self.size) / PIECE_BYTES * PIECE_BYTES,
        }))
    }

    async fn prove(&self) -> Result<(), BlobError> {
        let values = self.values().await?;
        let mut windows = Windows::new(self.clone(), values, 0..self.size);
        while let Some(window) = windows.next().await {
            window?;
        }
        Ok(())
    }
}
