//! What bytes of a blob must be, found out before they are read: many chunk groups at once,
//! of which no pairs are needed.

use std::io;
use std::ops::Range;

use super::encode::read_pair;
use super::tree::{GROUP_BYTES, Tree};
use super::walk::{Group, Mismatch, Step, Walk};
use crate::hash::BlobHash;

/// The most bytes that are checked together. A piece of a blob begins at a multiple of it.
pub const PIECE_BYTES: u64 = 16 * GROUP_BYTES;

/// Goes through the leaves of a range. A leaf is a node whose bytes are checked together.
#[derive(Debug)]
pub struct Prover {
    walk: Walk,
}

/// Bytes to be checked together.
#[derive(Debug)]
pub struct Leaf(Group);

impl Prover {
    /// The leaves that hold `range` of the blob with this hash and tree.
    pub fn new(hash: BlobHash, tree: Tree, range: &Range<u64>) -> Self {
        Self {
            walk: Walk::new(hash, tree, range),
        }
    }

    /// The next leaf, of at most so many bytes but at least one chunk group; None behind the
    /// last one. `read` fills a buffer with the bytes of the outboard from an offset on.
    ///
    /// After an error, which is about the outboard, it can be gone on with.
    pub fn next_leaf(
        &mut self,
        bytes: u64,
        read: impl Fn(&mut [u8], u64) -> io::Result<()>,
    ) -> io::Result<Option<Leaf>> {
        let groups = bytes.min(PIECE_BYTES) / GROUP_BYTES;
        while let Some(step) = self.walk.next_of(groups) {
            match step {
                Step::Group(group) => return Ok(Some(Leaf(group))),
                Step::Pair(parent) => {
                    if let Err(error) = read_pair(&mut self.walk, &parent, &read) {
                        self.walk.put_back(parent);
                        return Err(error);
                    }
                }
            }
        }
        Ok(None)
    }
}

impl Leaf {
    /// Which bytes of the blob these are.
    pub fn bytes(&self) -> Range<u64> {
        self.0.bytes.clone()
    }

    /// Whether these are its bytes.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        self.0.check(bytes)
    }
}
