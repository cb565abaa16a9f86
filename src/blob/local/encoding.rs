//! The answer to a range of a blob that is a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;
use tokio::task::JoinHandle;

use super::super::room::Room;
use super::super::{BlobError, ByteStream, joined};
use super::outboards::Outboards;
use crate::hash::BlobHash;
use crate::outboard::{EncodeError, Encoder, Source, Tree};

/// The length of a chunk group, in bytes.
const GROUP: usize = 16 * 1024;

/// An answer, from what is not yet given out of it.
pub(super) struct Encoding {
    hash: BlobHash,
    size: u64,
    encoder: Encoder,
    /// How many bytes are left.
    left: u64,
    files: Files,
    outboards: Arc<Outboards>,
    /// Whether the outboard was derived for this answer.
    derived: bool,
}

struct Files {
    blob: Arc<File>,
    outboard: Option<File>,
}

/// What comes next, being read.
type Reading = JoinHandle<Result<Step, BlobError>>;

enum Step {
    Piece(Bytes, Encoding),
    /// The outboard cannot be used, for this reason.
    NoOutboard(io::Error, Encoding),
}

impl Encoding {
    /// The answer to a range of a blob, from its open file of `size` bytes.
    pub(super) fn new(
        hash: BlobHash,
        size: u64,
        range: &Range<u64>,
        blob: Arc<File>,
        outboards: Arc<Outboards>,
    ) -> Self {
        let tree = Tree::new(size);
        Self {
            hash,
            size,
            encoder: Encoder::new(hash, tree, range),
            left: tree.encoded_len(range),
            files: Files {
                blob,
                outboard: None,
            },
            outboards,
            derived: false,
        }
    }

    /// The answer, piece by piece.
    pub(super) fn into_stream(self) -> ByteStream {
        // Nothing is read before the first piece is asked for: a HEAD asks for none.
        let begun = stream::once(async { self.begin() });
        let pieces = begun.flat_map(|reading| {
            stream::unfold(reading, |reading| async move {
                match next(reading?).await {
                    // The next piece is read while the consumer works on this one.
                    Ok((piece, rest)) => Some((Ok(piece), rest.begin())),
                    Err(error) => Some((Err(error), None)),
                }
            })
        });
        pieces.boxed()
    }

    /// Begins to read the next piece, if there is one.
    fn begin(self) -> Option<Reading> {
        (self.left > 0).then(|| tokio::task::spawn_blocking(move || self.step()))
    }

    /// Reads the next piece. Blocks.
    fn step(mut self) -> Result<Step, BlobError> {
        if self.files.outboard.is_none() {
            // Why it cannot be opened is told by what comes of deriving it.
            self.files.outboard = self.outboards.open(&self.hash).ok();
        }
        let room = Room::take(self.left);
        // With the group that reaches over its end: it never grows, which would copy it.
        let mut piece = Vec::with_capacity(room.bytes() + GROUP);
        let read = self.encoder.read_on(&self.files, &mut piece, room.bytes());
        match read {
            Err(EncodeError::Blob(error)) => return Err(self.unreadable(error)),
            Err(EncodeError::Outboard(error)) if piece.is_empty() => {
                return Ok(Step::NoOutboard(error, self));
            }
            // What was read before the error is good. The error comes again.
            Ok(()) | Err(EncodeError::Outboard(_)) => {}
        }
        self.left = self.left.saturating_sub(piece.len() as u64);
        Ok(Step::Piece(room.hold(piece), self))
    }

    /// The error for a blob that cannot be read.
    fn unreadable(&self, error: io::Error) -> BlobError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let found = self.files.blob.metadata();
                let found = found.map_or(0, |metadata| metadata.len());
                BlobError::cut_short(self.hash, found, self.size)
            }
            io::ErrorKind::InvalidData => BlobError::damaged(self.hash, &error),
            _ => BlobError::io("read", self.hash.to_string(), error),
        }
    }

    /// The same with an outboard derived from the blob, unless it already was.
    async fn with_derived(mut self, error: io::Error) -> Result<Self, BlobError> {
        if self.derived {
            let what = format!("outboard of {}", self.hash);
            return Err(BlobError::io("read", what, error));
        }
        let (blob, unusable) = (Arc::clone(&self.files.blob), self.files.outboard.take());
        let outboard = self.outboards.derive(self.hash, blob, unusable).await?;
        self.files.outboard = Some(outboard);
        self.derived = true;
        Ok(self)
    }
}

/// The next piece and what is left after it.
async fn next(mut reading: Reading) -> Result<(Bytes, Encoding), BlobError> {
    loop {
        reading = match joined(reading.await)? {
            Step::Piece(piece, rest) => return Ok((piece, rest)),
            Step::NoOutboard(error, encoding) => {
                let encoding = encoding.with_derived(error).await?;
                tokio::task::spawn_blocking(move || encoding.step())
            }
        }
    }
}

impl Source for Files {
    fn read_blob(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.blob.read_exact_at(buffer, offset)
    }

    fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let outboard = self.outboard.as_ref().ok_or(io::ErrorKind::NotFound)?;
        outboard.read_exact_at(buffer, offset)
    }
}
