//! The bytes of a range of a blob that is a file, on their way to a client.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::super::room::Room;
use super::super::{BlobError, ByteStream};
use super::checker::{Checker, Trouble};
use super::stored::Stored;
use crate::blocking::{self, Running};
use crate::outboard::{GROUP_BYTES, PIECE_BYTES};

/// What is left to read.
pub(super) struct Reader {
    checker: Checker,
    ahead: Range<u64>,
}

/// What comes next, being read.
type Reading = Running<Result<Step, BlobError>>;

enum Step {
    Piece(Bytes, Reader),
    /// Nothing proves the next piece, for this reason.
    NoProof(io::Error, Reader),
}

impl Reader {
    pub(super) fn new(blob: Arc<Stored>, range: Range<u64>) -> Self {
        Self {
            checker: Checker::new(blob),
            ahead: range,
        }
    }

    /// The bytes, piece by piece.
    pub(super) fn into_stream(self) -> ByteStream {
        // Nothing is read before the first piece is asked for: a HEAD asks for none.
        let begun = stream::once(async { self.read_on() });
        let pieces = begun.flat_map(|reading| {
            stream::unfold(reading, |reading| async move {
                match next(reading?).await {
                    // The next piece is read while the consumer works on this one.
                    Ok((piece, rest)) => Some((Ok(piece), rest.read_on())),
                    Err(error) => Some((Err(error), None)),
                }
            })
        });
        pieces.boxed()
    }

    /// Begins to read the next piece, if there is one.
    ///
    /// No thread stays with a reader, so any number of slow consumers can be served.
    fn read_on(self) -> Option<Reading> {
        (!self.ahead.is_empty()).then(|| blocking::begin(move || self.step()))
    }

    /// Reads the next piece. Blocks.
    fn step(mut self) -> Result<Step, BlobError> {
        let room = Room::take(self.ahead.end - self.ahead.start);
        if let Some(piece) = self.unchecked(&room)? {
            self.checker.jump();
            self.ahead.start += piece.len() as u64;
            return Ok(Step::Piece(room.hold(piece), self));
        }
        let most = leaf_bytes(room.bytes());
        let mut leaf = Vec::new();
        let bytes = match self.checker.read(&self.ahead, most, &mut leaf) {
            Ok(bytes) => bytes,
            Err(Trouble::NoProof(error)) => return Ok(Step::NoProof(error, self)),
            Err(Trouble::Blob(error)) => return Err(error),
        };
        let skipped = usize::try_from(self.ahead.start - bytes.start).unwrap_or(usize::MAX);
        let wanted = self.ahead.start..self.ahead.end.min(bytes.end);
        let length = usize::try_from(wanted.end - wanted.start).unwrap_or(usize::MAX);
        let length = length.min(room.bytes());
        if self.ahead.start + (length as u64) < bytes.end {
            // The rest of the leaf, if it is wanted, is read again.
            self.checker.jump();
        }
        self.ahead.start += length as u64;
        if leaf.len() > length {
            // A whole leaf must not stay in memory for a part of it.
            let wanted = leaf.get(skipped..skipped + length);
            leaf = wanted.unwrap_or_default().to_vec();
        }
        Ok(Step::Piece(room.hold(leaf), self))
    }

    /// The next piece where it need not be checked: it was proven lately, of this very file.
    fn unchecked(&self, room: &Room) -> Result<Option<Vec<u8>>, BlobError> {
        let blob = &self.checker.blob;
        let offset = self.ahead.start / PIECE_BYTES * PIECE_BYTES;
        let before = blob.identity()?;
        let verify = blob.shelf.verify_reads;
        if verify && !blob.shelf.proven.holds(&blob.hash, before, offset) {
            return Ok(None);
        }
        let end = self.ahead.end.min(offset + PIECE_BYTES);
        let left = usize::try_from(end - self.ahead.start).unwrap_or(usize::MAX);
        let mut piece = Vec::new();
        blob.read(&mut piece, left.min(room.bytes()), self.ahead.start)?;
        // Looked at behind the bytes, which are those of then if it has not changed.
        let is_same = !verify || blob.identity()? == before;
        Ok(is_same.then_some(piece))
    }
}

/// How many bytes to check together in so much room: a power of two of chunk groups.
fn leaf_bytes(room: usize) -> u64 {
    let groups = (room as u64 / GROUP_BYTES).max(1);
    (1 << groups.ilog2()) * GROUP_BYTES
}

/// The next piece and what is left after it.
async fn next(mut reading: Reading) -> Result<(Bytes, Reader), BlobError> {
    loop {
        reading = match reading.await? {
            Step::Piece(piece, rest) => return Ok((piece, rest)),
            Step::NoProof(error, Reader { checker, ahead }) => {
                let checker = checker.with_other_proof(error).await?;
                let reader = Reader { checker, ahead };
                blocking::begin(move || reader.step())
            }
        }
    }
}
