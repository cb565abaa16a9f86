//! Blobs read from their files.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinHandle;

use super::super::{BlobError, ByteStream, OpenBlob, joined};
use crate::hash::BlobHash;

/// The longest piece handed out, in bytes.
const PIECE: u64 = 512 * 1024;

/// Opens a blob's file; None if there is none. Blocks.
pub(super) fn open(hash: BlobHash, path: &Path) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((size, file)) => Ok(Some(Arc::new(BlobFile {
            hash,
            size,
            file: Arc::new(file),
        }))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(BlobError::io("open", path, e)),
    }
}

struct BlobFile {
    hash: BlobHash,
    size: u64,
    file: Arc<File>,
}

impl OpenBlob for BlobFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> ByteStream {
        let reader = Reader {
            hash: self.hash,
            file: Arc::clone(&self.file),
            at: range.start,
            end: range.end,
        };
        let pieces = stream::unfold(reader.read_on(), |reading| async move {
            match joined(reading?.await) {
                // The next piece is read while the consumer works on this one.
                Ok((piece, rest)) => Some((Ok(piece), rest.read_on())),
                Err(error) => Some((Err(error), None)),
            }
        });
        pieces.boxed()
    }
}

/// A piece being read, and what is left to read after it.
type Reading = JoinHandle<Result<(Bytes, Reader), BlobError>>;

/// What is left to read.
struct Reader {
    hash: BlobHash,
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Reader {
    /// Begins to read the next piece, if there is one.
    ///
    /// No thread stays with a reader, so any number of slow consumers can be served.
    fn read_on(self) -> Option<Reading> {
        (self.at < self.end).then(|| tokio::task::spawn_blocking(move || self.piece()))
    }

    /// Reads the next piece. Blocks.
    fn piece(mut self) -> Result<(Bytes, Self), BlobError> {
        let len = PIECE.min(self.end - self.at);
        let mut piece = BytesMut::zeroed(usize::try_from(len).unwrap_or_default());
        self.file.read_exact_at(&mut piece, self.at).map_err(|e| {
            if e.kind() == io::ErrorKind::UnexpectedEof {
                BlobError::cut_short(self.hash, self.file_size(), self.end)
            } else {
                BlobError::io("read", self.hash.to_string(), e)
            }
        })?;
        self.at += len;
        Ok((piece.freeze(), self))
    }

    fn file_size(&self) -> u64 {
        self.file
            .metadata()
            .map_or(self.at, |metadata| metadata.len())
    }
}
