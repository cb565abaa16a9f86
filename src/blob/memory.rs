//! Blobs in memory, for tests.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;

use super::encoded::encoded;
use super::spool::Content;
use super::{BlobBackend, BlobError, ByteStream, DamageCounts, OpenBlob, SpooledBlob};
use crate::blocking;
use crate::hash::BlobHash;

/// The longest piece handed out, in bytes.
const PIECE: usize = 256 * 1024;

/// A backend that forgets everything when it is dropped.
#[derive(Default)]
pub struct MemoryBlobs {
    blobs: Mutex<BTreeMap<BlobHash, Bytes>>,
}

#[async_trait]
impl BlobBackend for MemoryBlobs {
    async fn commit(&self, blob: SpooledBlob) -> Result<(), BlobError> {
        let hash = blob.hash();
        let bytes = match blob.into_content() {
            Content::Memory(bytes) => bytes.into(),
            Content::File { blob, outboard } => {
                blocking::run(move || {
                    let bytes = std::fs::read(blob.path())
                        .map_err(|e| BlobError::io("read", blob.path(), e))?;
                    blob.discard();
                    outboard.discard();
                    Ok::<_, BlobError>(bytes.into())
                })
                .await?
            }
        };
        self.blobs.lock().insert(hash, bytes);
        Ok(())
    }

    async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let Some(bytes) = self.blobs.lock().get(hash).cloned() else {
            return Ok(None);
        };
        Ok(Some(Arc::new(OpenBytes { hash: *hash, bytes })))
    }

    async fn size(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        Ok(self.blobs.lock().get(hash).map(|bytes| bytes.len() as u64))
    }

    async fn is_whole(&self, hash: &BlobHash) -> Result<bool, BlobError> {
        Ok(self.blobs.lock().contains_key(hash))
    }

    async fn note_missing(&self, _: &BlobHash) -> Result<(), BlobError> {
        Ok(())
    }

    fn is_damaged(&self, _: &BlobHash) -> bool {
        false
    }

    fn damage(&self) -> DamageCounts {
        DamageCounts::default()
    }

    async fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        self.blobs.lock().remove(hash);
        Ok(())
    }

    fn list(&self) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
        let sizes: Vec<_> = self
            .blobs
            .lock()
            .iter()
            .map(|(hash, bytes)| Ok((*hash, bytes.len() as u64)))
            .collect();
        stream::iter(sizes).boxed()
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        Ok(0)
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    async fn sync(&self) -> Result<(), BlobError> {
        Ok(())
    }
}

struct OpenBytes {
    hash: BlobHash,
    bytes: Bytes,
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

    async fn prove(&self) -> Result<(), BlobError> {
        Ok(())
    }
}
