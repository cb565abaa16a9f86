//! A blob of which all bytes are in memory, and proven.

use std::iter;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::encoded::encoded;
use super::{BlobError, ByteStream, OpenBlob};
use crate::hash::BlobHash;

/// The longest piece handed out, in bytes.
const PIECE: usize = 256 * 1024;

/// The bytes of a blob, which have its hash.
pub(super) struct OpenBytes {
    pub(super) hash: BlobHash,
    pub(super) bytes: Bytes,
}

#[async_trait]
impl OpenBlob for OpenBytes {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ByteStream {
        let size = self.bytes.len();
        let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
        let (start, end) = (place(range.start), place(range.end));
        if end > size {
            let error = BlobError::cut_short(self.hash, self.size(), range.end);
            return stream::iter([Err(error)]).boxed();
        }
        let mut rest = self.bytes.slice(start.min(end)..end);
        let pieces = iter::from_fn(move || {
            let piece = rest.split_to(rest.len().min(PIECE));
            (!piece.is_empty()).then_some(Ok(piece))
        });
        stream::iter(pieces).boxed()
    }

    fn encoded(&self, range: Range<u64>) -> ByteStream {
        encoded(self.hash, self.bytes.clone(), range)
    }

    async fn prove_size(&self) -> Result<(), BlobError> {
        Ok(())
    }

    async fn refuse_size(&self, size: u64) -> BlobError {
        BlobError::other_size(self.hash, self.size(), size)
    }

    async fn prove(&self) -> Result<(), BlobError> {
        Ok(())
    }
}
