//! What the pieces of a blob must be, without an outboard: from one pass over all of it, or as it
//! was written down after one.

use std::ops::Range;

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use super::hasher::subtree_value;
use super::prove::PIECE_BYTES;
use super::tree::PAIR_BYTES;
use super::walk::Mismatch;
use crate::hash::BlobHash;

/// The length of a chaining value, in bytes.
const VALUE_BYTES: usize = PAIR_BYTES / 2;

/// The chaining value of each piece of a blob that was proven as a whole: 1/8192 of it.
#[derive(Debug)]
pub struct PieceValues {
    hash: BlobHash,
    size: u64,
    /// None where there is but one piece, which is hashed differently.
    values: Vec<ChainingValue>,
}

/// Makes the values of a blob as it comes.
#[derive(Debug, Clone, Default)]
pub struct PieceHasher {
    /// Of the first piece, as of one that is all.
    first: Hasher,
    /// Of the piece that has begun.
    last: Hasher,
    size: u64,
    /// Of the whole ones before it.
    values: Vec<ChainingValue>,
}

impl PieceHasher {
    /// Goes on behind whole pieces, of which these are the values, one behind the other; None where
    /// they are no such values.
    pub fn behind(values: &[u8]) -> Option<Self> {
        let (values, rest) = values.as_chunks::<VALUE_BYTES>();
        // Of one the bytes are needed, since it may be all.
        if !rest.is_empty() || values.len() == 1 {
            return None;
        }
        let size = values.len() as u64 * PIECE_BYTES;
        let mut last = Hasher::new();
        last.set_input_offset(size);
        Some(Self {
            first: Hasher::new(),
            last,
            size,
            values: values.to_vec(),
        })
    }

    /// Takes what follows of the blob.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let filled = self.size % PIECE_BYTES;
            let room = usize::try_from(PIECE_BYTES - filled).unwrap_or(usize::MAX);
            let (taken, rest) = bytes.split_at(room.min(bytes.len()));
            if self.size < PIECE_BYTES {
                self.first.update(taken);
            }
            self.last.update(taken);
            self.size += taken.len() as u64;
            if self.size.is_multiple_of(PIECE_BYTES) {
                self.values.push(self.last.finalize_non_root());
                self.last = Hasher::new();
                self.last.set_input_offset(self.size);
            }
            bytes = rest;
        }
    }

    /// The values of the whole pieces that have come from the byte at `start` on, where a piece
    /// begins.
    pub fn values_from(&self, start: u64) -> Vec<u8> {
        let start = usize::try_from(start / PIECE_BYTES).unwrap_or(usize::MAX);
        self.values.get(start..).unwrap_or_default().concat()
    }

    /// The hash of the first `len` bytes, which are several whole pieces; None of any others.
    pub fn hash_of_first(&self, len: u64) -> Option<BlobHash> {
        let count = usize::try_from(len / PIECE_BYTES).ok()?;
        root_of(self.values.get(..count)?).filter(|_| len.is_multiple_of(PIECE_BYTES))
    }

    /// The blob is complete: its values, and by them its hash.
    pub fn finish(mut self) -> PieceValues {
        if self.size <= PIECE_BYTES {
            self.values.clear();
        } else if !self.size.is_multiple_of(PIECE_BYTES) {
            self.values.push(self.last.finalize_non_root());
        }
        let hash = root_of(&self.values).unwrap_or_else(|| self.first.finalize().into());
        PieceValues {
            hash,
            size: self.size,
            values: self.values,
        }
    }
}

impl PieceValues {
    /// Those of a blob of one piece, which its hash proves.
    pub fn of_one(hash: BlobHash, size: u64) -> Self {
        let values = Vec::new();
        Self { hash, size, values }
    }

    /// As they were written down for the blob with this hash and of `size` bytes; None where that
    /// is not what was written. Of the size only the last piece proves more than how many pieces
    /// there are.
    pub fn read(hash: BlobHash, size: u64, written: &[u8]) -> Option<Self> {
        let (values, rest) = written.as_chunks::<VALUE_BYTES>();
        let is_right = rest.is_empty()
            && values.len() as u64 == size.div_ceil(PIECE_BYTES)
            && root_of(values) == Some(hash);
        is_right.then(|| Self {
            hash,
            size,
            values: values.to_vec(),
        })
    }

    /// How they are written down: nothing where there is but one piece.
    pub fn bytes(&self) -> Vec<u8> {
        self.values.concat()
    }

    /// How long that is for a blob of `size` bytes.
    pub fn written_len(size: u64) -> u64 {
        if size <= PIECE_BYTES {
            return 0;
        }
        size.div_ceil(PIECE_BYTES) * VALUE_BYTES as u64
    }

    /// The hash of the blob.
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// The size of the blob, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether these are the bytes of the piece that begins at `offset`.
    pub fn check(&self, offset: u64, bytes: &[u8]) -> Result<(), Mismatch> {
        let index = usize::try_from(offset / PIECE_BYTES).unwrap_or(usize::MAX);
        let is_right = if bytes.len() as u64 == self.size {
            BlobHash::of(bytes) == self.hash
        } else {
            // No piece is empty.
            !bytes.is_empty() && self.values.get(index) == Some(&subtree_value(offset, bytes))
        };
        is_right.then_some(()).ok_or(Mismatch { offset })
    }

    /// The chaining value of the node over these bytes, one of several pieces but not of all.
    pub(super) fn of_node(&self, bytes: &Range<u64>) -> Option<ChainingValue> {
        let [start, end] = [bytes.start, bytes.end.next_multiple_of(PIECE_BYTES)]
            .map(|at| usize::try_from(at / PIECE_BYTES).unwrap_or(usize::MAX));
        value_of(self.values.get(start..end)?)
    }
}

/// The hash over the values of several pieces.
fn root_of(values: &[ChainingValue]) -> Option<BlobHash> {
    let (left, right) = halves(values)?;
    let merged = merge_subtrees_root(&value_of(left)?, &value_of(right)?, Mode::Hash);
    Some(merged.into())
}

/// The chaining value over those of pieces; None of none.
fn value_of(values: &[ChainingValue]) -> Option<ChainingValue> {
    let Some((left, right)) = halves(values) else {
        return values.first().copied();
    };
    let (left, right) = (value_of(left)?, value_of(right)?);
    Some(merge_subtrees_non_root(&left, &right, Mode::Hash))
}

/// Both sides of a node, the left one as large as a power of two allows.
fn halves(values: &[ChainingValue]) -> Option<(&[ChainingValue], &[ChainingValue])> {
    let height = values.len().checked_sub(1)?.checked_ilog2()?;
    Some(values.split_at(1 << height))
}
