//! Blobs read from their files.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use tokio::task::JoinHandle;

use super::super::encoded::encoded;
use super::super::room::Room;
use super::super::{BlobError, ByteStream, OpenBlob, joined};
use super::encoding::Encoding;
use super::outboards::Outboards;
use crate::hash::BlobHash;

/// A blob of at most this many bytes is read when it is opened, which spares it a second
/// turn on a blocking thread.
const SMALL: u64 = 64 * 1024;

/// Opens a blob's file; None if there is none. Blocks.
pub(super) fn open(
    hash: BlobHash,
    path: &Path,
    outboards: &Arc<Outboards>,
) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
    match File::open(path).and_then(|file| load(hash, file, outboards)) {
        Ok(blob) => Ok(Some(blob)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(BlobError::io("open", path, e)),
    }
}

fn load(
    hash: BlobHash,
    mut file: File,
    outboards: &Arc<Outboards>,
) -> io::Result<Arc<dyn OpenBlob>> {
    let size = file.metadata()?.len();
    if size > SMALL {
        return Ok(Arc::new(BlobFile {
            hash,
            size,
            file: Arc::new(file),
            outboards: Arc::clone(outboards),
        }));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    Ok(small(hash, bytes.into()))
}

/// A blob that was read whole.
pub(super) fn small(hash: BlobHash, bytes: Bytes) -> Arc<dyn OpenBlob> {
    Arc::new(SmallBlob { hash, bytes })
}

/// A blob read whole.
struct SmallBlob {
    hash: BlobHash,
    bytes: Bytes,
}

impl OpenBlob for SmallBlob {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> ByteStream {
        let at = |offset| {
            usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(self.bytes.len())
        };
        let bytes = self.bytes.slice(at(range.start)..at(range.end));
        let pieces = (!bytes.is_empty()).then_some(Ok(bytes));
        stream::iter(pieces).boxed()
    }

    fn encoded(&self, range: Range<u64>) -> ByteStream {
        encoded(self.hash, self.bytes.clone(), range)
    }
}

/// A blob read piece by piece.
struct BlobFile {
    hash: BlobHash,
    size: u64,
    file: Arc<File>,
    outboards: Arc<Outboards>,
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
        // Nothing is read before the first piece is asked for: a HEAD asks for none.
        let begun = stream::once(async { reader.read_on() });
        let pieces = begun.flat_map(|reading| {
            stream::unfold(reading, |reading| async move {
                match joined(reading?.await) {
                    // The next piece is read while the consumer works on this one.
                    Ok((piece, rest)) => Some((Ok(piece), rest.read_on())),
                    Err(error) => Some((Err(error), None)),
                }
            })
        });
        pieces.boxed()
    }

    fn encoded(&self, range: Range<u64>) -> ByteStream {
        let (blob, outboards) = (Arc::clone(&self.file), Arc::clone(&self.outboards));
        Encoding::new(self.hash, self.size, &range, blob, outboards).into_stream()
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
        let room = Room::take(self.end - self.at);
        let wanted = room.bytes();
        // Not zeroed before it is read into.
        let mut piece = Vec::with_capacity(wanted);
        while piece.len() < wanted {
            let at = self.at + piece.len() as u64;
            match pread(&self.file, spare_capacity(&mut piece), at) {
                Ok(0) => return Err(BlobError::cut_short(self.hash, at, self.end)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(BlobError::io("read", self.hash.to_string(), e.into())),
            }
        }
        piece.truncate(wanted);
        self.at += piece.len() as u64;
        Ok((room.hold(piece), self))
    }
}
