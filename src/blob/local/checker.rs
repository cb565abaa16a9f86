//! Reading a blob's file so that every byte is proven before anybody has it.
//!
//! The blob's outboard proves what is read, 256 KiB at once where so much is wanted. One that
//! is missing or does not check is derived from the blob again; where that cannot be written
//! down, as on a full disk, the blob is read once more to have in memory what proves it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::super::BlobError;
use super::stored::{Absent, Stored};
use crate::blocking::{self, Wanted};
use crate::outboard::{Leaf, Mismatch, PIECE_BYTES, PieceHasher, PieceValues, Prover, Tree};
use crate::stored_file::read_cached;

/// Reads a blob's file from one leaf to the next.
pub(super) struct Checker {
    pub(super) blob: Arc<Stored>,
    proof: Proof,
    /// Whether the outboard was derived for this reader.
    derived: bool,
    /// Behind the leaf that was read last.
    prover: Option<Prover>,
}

/// What proves the bytes.
enum Proof {
    /// Nothing was opened yet.
    Unopened,
    Outboard(File),
    Values(PieceValues),
}

/// Why a leaf is not there.
pub(super) enum Trouble {
    /// Nothing proves it: the outboard cannot be used.
    NoProof(io::Error),
    Blob(BlobError),
}

impl From<BlobError> for Trouble {
    fn from(error: BlobError) -> Self {
        Self::Blob(error)
    }
}

impl Checker {
    pub(super) fn new(blob: Arc<Stored>) -> Self {
        Self {
            blob,
            proof: Proof::Unopened,
            derived: false,
            prover: None,
        }
    }

    /// The next leaf is not behind the one that was read last.
    pub(super) fn jump(&mut self) {
        self.prover = None;
    }

    /// Puts the bytes of the leaf in which `ahead` begins into `buffer`, proven, and tells
    /// which they are: at most `most`, if that is not too few.
    pub(super) fn read(
        &mut self,
        ahead: &Range<u64>,
        most: u64,
        buffer: &mut Vec<u8>,
        absent: Absent,
    ) -> Result<Range<u64>, Trouble> {
        let read = self.read_leaf(ahead, most, buffer, absent);
        if read.is_err() {
            // It comes again for whoever tries again.
            self.prover = None;
        }
        read
    }

    fn read_leaf(
        &mut self,
        ahead: &Range<u64>,
        most: u64,
        buffer: &mut Vec<u8>,
        absent: Absent,
    ) -> Result<Range<u64>, Trouble> {
        let before = self.blob.identity()?;
        let bytes = if let Proof::Values(values) = &self.proof {
            let start = ahead.start / PIECE_BYTES * PIECE_BYTES;
            let bytes = start..self.blob.size.min(start + PIECE_BYTES);
            let check = |read: &[u8]| values.check(start, read);
            read_checked(&self.blob, &bytes, buffer, absent, check)?;
            bytes
        } else {
            let leaf = self
                .next_leaf(ahead, most, absent)
                .map_err(Trouble::NoProof)?;
            let bytes = leaf.bytes();
            let check = |read: &[u8]| leaf.check(read);
            read_checked(&self.blob, &bytes, buffer, absent, check)?;
            bytes
        };
        let is_piece = bytes.start.is_multiple_of(PIECE_BYTES)
            && bytes.end == self.blob.size.min(bytes.start + PIECE_BYTES);
        if is_piece {
            let proven = &self.blob.shelf.proven;
            proven.note(self.blob.hash, before, bytes.start);
        }
        Ok(bytes)
    }

    fn next_leaf(&mut self, ahead: &Range<u64>, most: u64, absent: Absent) -> io::Result<Leaf> {
        if let (Proof::Unopened, Absent::Await) = (&self.proof, absent) {
            let outboard = self.blob.shelf.outboards.open(&self.blob.hash)?;
            self.proof = Proof::Outboard(outboard);
        }
        let Proof::Outboard(outboard) = &self.proof else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let (hash, tree) = (self.blob.hash, Tree::new(self.blob.size));
        let begin = || Prover::new(hash, tree, ahead);
        let prover = self.prover.get_or_insert_with(begin);
        let leaf = prover.next_leaf(most, |buffer, at| match absent {
            Absent::Await => outboard.read_exact_at(buffer, at),
            Absent::Refuse => read_cached(outboard, buffer, at),
        })?;
        leaf.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The same with something else that proves the bytes.
    pub(super) async fn with_other_proof(mut self, error: io::Error) -> Result<Self, BlobError> {
        let unusable = match std::mem::replace(&mut self.proof, Proof::Unopened) {
            Proof::Outboard(file) => Some(file),
            _ => None,
        };
        self.prover = None;
        let hash = self.blob.hash;
        if self.derived {
            tracing::warn!(%hash, %error, "an outboard that was derived cannot be used");
        } else if self.blob.shelf.outboards.can_be_derived() {
            self.derived = true;
            let outboards = &self.blob.shelf.outboards;
            let blob = (Arc::clone(&self.blob.file), self.blob.size);
            match outboards.derive(hash, blob, unusable).await {
                Ok(outboard) => {
                    self.proof = Proof::Outboard(outboard);
                    return Ok(self);
                }
                // What follows finds out whether it is.
                Err(BlobError::Damaged { .. }) => {}
                Err(error) => tracing::warn!(%hash, %error, "an outboard cannot be derived"),
            }
        }
        blocking::run_while_wanted(move |wanted| {
            self.proof = Proof::Values(values(&self.blob, wanted)?);
            Ok(self)
        })
        .await
    }
}

/// What proves each piece of a blob, which is read whole. Blocks.
pub(super) fn values(blob: &Stored, wanted: &Wanted) -> Result<PieceValues, BlobError> {
    let before = blob.identity()?;
    let (mut hasher, mut piece) = (PieceHasher::default(), Vec::new());
    for bytes in pieces(0..blob.size) {
        blob.check(wanted)?;
        blob.read(&mut piece, length(&bytes), bytes.start, Absent::Await)?;
        hasher.update(&piece);
    }
    let values = hasher.finish();
    if values.hash() != blob.hash {
        return Err(blob.damaged("its bytes have another hash"));
    }
    for bytes in pieces(0..blob.size) {
        blob.shelf.proven.note(blob.hash, before, bytes.start);
    }
    Ok(values)
}

/// Reads these bytes of a blob and checks them.
fn read_checked(
    blob: &Stored,
    bytes: &Range<u64>,
    buffer: &mut Vec<u8>,
    absent: Absent,
    check: impl Fn(&[u8]) -> Result<(), Mismatch>,
) -> Result<(), BlobError> {
    blob.read(buffer, length(bytes), bytes.start, absent)?;
    if check(buffer).is_ok() {
        return Ok(());
    }
    if absent == Absent::Refuse {
        let unproven = io::Error::from(io::ErrorKind::WouldBlock);
        return Err(BlobError::io("read", blob.hash.to_string(), unproven));
    }
    // Once more, so that a fault of memory or of a cable is not taken for damage.
    blob.read(buffer, length(bytes), bytes.start, absent)?;
    check(buffer).map_err(|mismatch| blob.damaged(&mismatch.to_string()))
}

/// The pieces that hold a range that begins with one.
pub(super) fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let step = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
    let end = range.end;
    range.step_by(step).map(move |start| {
        let bytes_end = end.min(start + PIECE_BYTES);
        start..bytes_end
    })
}

fn length(bytes: &Range<u64>) -> usize {
    usize::try_from(bytes.end - bytes.start).unwrap_or(usize::MAX)
}
