//! The bytes of a range of a blob that is a file, on their way to a client.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::super::{BlobError, ByteStream};
use super::checker::{Checker, Trouble};
use super::stored::{Absent, Stored};
use crate::blocking::{self, Running};
use crate::outboard::{GROUP_BYTES, PIECE_BYTES};
use crate::room::Room;

/// What is left to read.
pub(super) struct Reader {
    checker: Checker,
    ahead: Range<u64>,
}

/// Where the next piece comes from.
enum Next {
    /// From memory, most likely: the one before did.
    Memory(Reader),
    Disk(Reading),
}

/// A piece being read on a blocking thread.
type Reading = Running<Result<Read, BlobError>>;

struct Read {
    piece: Result<Bytes, Trouble>,
    was_in_memory: bool,
    rest: Reader,
}

impl Reader {
    pub(super) fn new(blob: Arc<Stored>, range: Range<u64>) -> Self {
        Self {
            checker: Checker::new(blob),
            ahead: range,
        }
    }

    /// The bytes, piece by piece.
    ///
    /// What the page cache has is read and proven by whoever asks for it: that takes less than
    /// a tenth of a millisecond, and the bytes are still in the caches of that core when they
    /// are sent. For what comes from the disk a blocking thread waits, one piece ahead. No
    /// thread stays with a reader, so any number of slow consumers can be served.
    pub(super) fn into_stream(self) -> ByteStream {
        // Nothing is read before the first piece is asked for: a HEAD asks for none.
        let begun = (!self.ahead.is_empty()).then_some(Next::Memory(self));
        stream::unfold(begun, |next| async {
            match next?.piece().await {
                Ok((piece, next)) => Some((Ok(piece), next)),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    /// Reads the next piece.
    fn step(&mut self, absent: Absent) -> Result<Bytes, Trouble> {
        let blob = &self.checker.blob;
        if self.ahead.start >= blob.size {
            return Err(match absent {
                Absent::Await => blob.ends_at(blob.size).into(),
                Absent::Refuse => Trouble::NoProof(io::ErrorKind::WouldBlock.into()),
            });
        }
        let room = Room::take((self.ahead.end - self.ahead.start).min(PIECE_BYTES));
        if let Some(piece) = self.unchecked(&room, absent)? {
            self.checker.jump();
            self.ahead.start += piece.len() as u64;
            return Ok(room.hold(piece));
        }
        let most = leaf_bytes(room.bytes());
        let mut leaf = Vec::new();
        let bytes = self.checker.read(&self.ahead, most, &mut leaf, absent)?;
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
        Ok(room.hold(leaf))
    }

    /// The next piece where it need not be checked: it was proven lately, of this very file.
    fn unchecked(&self, room: &Room, absent: Absent) -> Result<Option<Vec<u8>>, BlobError> {
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
        let wanted = left.min(room.bytes());
        blob.read(&mut piece, wanted, self.ahead.start, absent)?;
        // Looked at behind the bytes, which are those of then if it has not changed.
        let is_same = !verify || blob.identity()? == before;
        Ok(is_same.then_some(piece))
    }

    /// Reads the next piece on a blocking thread.
    fn begin(mut self) -> Reading {
        blocking::begin(move || {
            let at_once = self.step(Absent::Refuse);
            let was_in_memory = at_once.is_ok();
            let piece = at_once.or_else(|_| self.step(Absent::Await));
            match piece {
                Err(Trouble::Blob(error)) => Err(error),
                piece => Ok(Read {
                    piece,
                    was_in_memory,
                    rest: self,
                }),
            }
        })
    }
}

impl Next {
    /// The next piece, and where the one after it comes from.
    async fn piece(self) -> Result<(Bytes, Option<Self>), BlobError> {
        let mut reading = match self {
            Self::Disk(reading) => reading,
            Self::Memory(mut rest) => {
                // Others of this thread have their turns in between.
                tokio::task::yield_now().await;
                match rest.step(Absent::Refuse) {
                    Ok(piece) => return Ok((piece, Self::after(rest, true))),
                    // Whatever it is, the blocking thread finds it out again.
                    Err(_) => rest.begin(),
                }
            }
        };
        loop {
            let Read {
                piece,
                was_in_memory,
                rest,
            } = reading.await?;
            reading = match piece {
                Ok(piece) => return Ok((piece, Self::after(rest, was_in_memory))),
                Err(Trouble::Blob(error)) => return Err(error),
                Err(Trouble::NoProof(error)) => {
                    let Reader { checker, ahead } = rest;
                    let checker = checker.with_other_proof(error).await?;
                    Reader { checker, ahead }.begin()
                }
            }
        }
    }

    fn after(rest: Reader, was_in_memory: bool) -> Option<Self> {
        if rest.ahead.is_empty() {
            return None;
        }
        // The next piece is read from the disk while the consumer works on this one.
        Some(if was_in_memory {
            Self::Memory(rest)
        } else {
            Self::Disk(rest.begin())
        })
    }
}

/// How many bytes to check together in so much room: a power of two of chunk groups.
fn leaf_bytes(room: usize) -> u64 {
    let groups = (room as u64 / GROUP_BYTES).max(1);
    (1 << groups.ilog2()) * GROUP_BYTES
}
