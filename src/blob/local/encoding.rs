//! The answer to a range of a blob that is a file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::super::{BlobError, ByteStream};
use super::checker::values;
use super::stored::Stored;
use crate::blocking::{self, Running};
use crate::outboard::{EncodeError, Encoder, Source, Tree};
use crate::room::{LONGEST, Room};

/// The length of a chunk group, in bytes.
const GROUP: usize = 16 * 1024;

/// An answer, from what is not yet given out of it.
pub(super) struct Encoding {
    encoder: Encoder,
    /// How many bytes are left.
    left: u64,
    files: Files,
    /// Whether the outboard was derived for this answer.
    derived: bool,
}

struct Files {
    blob: Arc<Stored>,
    outboard: Option<File>,
}

/// What comes next, being read.
type Reading = Running<Result<Step, BlobError>>;

enum Step {
    Piece(Bytes, Encoding),
    /// The outboard cannot be used, for this reason.
    NoOutboard(io::Error, Encoding),
}

impl Encoding {
    /// The answer to a range of a blob.
    pub(super) fn new(blob: Arc<Stored>, range: &Range<u64>) -> Self {
        let tree = Tree::new(blob.size);
        Self {
            encoder: Encoder::new(blob.hash, tree, range),
            left: tree.encoded_len(range),
            files: Files {
                blob,
                outboard: None,
            },
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

    /// Whether the outboard that is there proves all of it. None is derived.
    pub(super) async fn prove_at_hand(self) -> Result<bool, BlobError> {
        let mut reading = self.begin();
        while let Some(step) = reading {
            match step.await? {
                Step::Piece(_, rest) => reading = rest.begin(),
                Step::NoOutboard(..) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Begins to read the next piece, if there is one.
    fn begin(self) -> Option<Reading> {
        (self.left > 0).then(|| blocking::begin(move || self.step()))
    }

    /// Reads the next piece. Blocks.
    fn step(mut self) -> Result<Step, BlobError> {
        let blob = Arc::clone(&self.files.blob);
        if self.files.outboard.is_none() {
            // Why it cannot be opened is told by what comes of deriving it.
            self.files.outboard = blob.shelf.outboards.open(&blob.hash).ok();
        }
        let room = Room::take(self.left.min(LONGEST));
        // With the group that reaches over its end: it never grows, which would copy it.
        let mut piece = Vec::with_capacity(room.bytes() + GROUP);
        let mut read = self.read_on(&mut piece, room.bytes());
        if let Err(EncodeError::Blob(_)) = read {
            // Once more, so that a fault of memory or of a cable is not taken for damage.
            read = self.read_on(&mut piece, room.bytes());
        }
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

    fn read_on(&mut self, piece: &mut Vec<u8>, target: usize) -> Result<(), EncodeError> {
        self.encoder.read_on(&self.files, piece, target)
    }

    /// The error for a blob that cannot be read. Blocks.
    fn unreadable(&self, error: io::Error) -> BlobError {
        let blob = &self.files.blob;
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let found = blob.file.metadata();
                blob.ends_at(found.map_or(0, |found| found.len()))
            }
            io::ErrorKind::InvalidData => blob.damaged(&error.to_string()),
            _ => blob.unreadable(error),
        }
    }

    /// The same with an outboard derived from the blob, unless it already was.
    async fn with_derived(mut self, error: io::Error) -> Result<Self, BlobError> {
        let blob = Arc::clone(&self.files.blob);
        if self.derived {
            let what = format!("outboard of {}", blob.hash);
            return Err(BlobError::io("read", what, error));
        }
        let unusable = self.files.outboard.take();
        let outboards = &blob.shelf.outboards;
        let file = (Arc::clone(&blob.file), blob.size);
        let derived = outboards.derive(blob.hash, file, unusable);
        match derived.await {
            Ok(outboard) => self.files.outboard = Some(outboard),
            // Whether it is the blob that is damaged is found out by reading it once more.
            Err(error) => {
                let read = move |wanted: &_| values(&blob, wanted).and(Err(error));
                return blocking::run_while_wanted(read).await;
            }
        }
        self.derived = true;
        Ok(self)
    }
}

/// The next piece and what is left after it.
async fn next(mut reading: Reading) -> Result<(Bytes, Encoding), BlobError> {
    loop {
        reading = match reading.await? {
            Step::Piece(piece, rest) => return Ok((piece, rest)),
            Step::NoOutboard(error, encoding) => {
                let encoding = encoding.with_derived(error).await?;
                blocking::begin(move || encoding.step())
            }
        }
    }
}

impl Source for Files {
    fn read_blob(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.blob.file.read_exact_at(buffer, offset)
    }

    fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let outboard = self.outboard.as_ref().ok_or(io::ErrorKind::NotFound)?;
        outboard.read_exact_at(buffer, offset)
    }
}
