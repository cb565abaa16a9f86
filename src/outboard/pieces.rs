//! What the pieces of a blob must be, without an outboard: from one pass over all of it.

use blake3::Hasher;
use blake3::hazmat::ChainingValue;

use super::hasher::subtree_value;
use super::prove::PIECE_BYTES;
use super::walk::Mismatch;
use crate::hash::BlobHash;

/// The chaining value of each piece of a blob that was proven as a whole: 1/16384 of it.
#[derive(Debug)]
pub struct PieceValues {
    hash: BlobHash,
    size: u64,
    values: Vec<ChainingValue>,
}

/// Makes the values of a blob as it is read.
#[derive(Debug, Default)]
pub struct PieceHasher {
    whole: Hasher,
    size: u64,
    values: Vec<ChainingValue>,
}

impl PieceHasher {
    /// Takes the next piece: [`PIECE_BYTES`], or less at the end.
    pub fn update(&mut self, piece: &[u8]) {
        self.whole.update(piece);
        self.values.push(subtree_value(self.size, piece));
        self.size += piece.len() as u64;
    }

    /// The blob is complete: its values, if it has this hash.
    pub fn finish(self, hash: BlobHash) -> Option<PieceValues> {
        let found: BlobHash = self.whole.finalize().into();
        (found == hash).then_some(PieceValues {
            hash,
            size: self.size,
            values: self.values,
        })
    }
}

impl PieceValues {
    /// Whether these are the bytes of the piece that begins at `offset`.
    pub fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let index = usize::try_from(offset / PIECE_BYTES).unwrap_or(usize::MAX);
        let is_right = if bytes.len() as u64 == self.size {
            BlobHash::of(bytes) == self.hash
        } else {
            self.values.get(index) == Some(&subtree_value(offset, bytes))
        };
        is_right.then_some(()).ok_or(Mismatch { offset })
    }
}
