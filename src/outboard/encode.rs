//! The answer to a range, made from a blob and its outboard.

use std::io;
use std::ops::Range;

use super::tree::{PAIR_BYTES, Tree};
use super::walk::{Step, Walk};
use crate::hash::BlobHash;

/// A blob with its outboard, to be read anywhere. All calls may block.
pub trait Source {
    /// Fills `buffer` with the bytes of the blob from `offset` on.
    fn read_blob(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Fills `buffer` with the bytes of the outboard from `offset` on.
    fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Gives out the answer to a range piece by piece.
#[derive(Debug)]
pub struct Encoder {
    walk: Walk,
}

impl Encoder {
    /// The answer to `range` of the blob with this hash and tree.
    pub fn new(hash: BlobHash, tree: Tree, range: &Range<u64>) -> Self {
        Self {
            walk: Walk::new(hash, tree, range),
        }
    }

    /// Puts what follows behind `answer`, until that has at least `target` bytes; less
    /// means that the answer is complete.
    ///
    /// An outboard that does not belong to the hash is an error of the kind
    /// [`io::ErrorKind::InvalidData`]. The bytes of the blob are for the receiver to check.
    pub fn read_on(
        &mut self,
        source: &impl Source,
        answer: &mut Vec<u8>,
        target: usize,
    ) -> io::Result<()> {
        while answer.len() < target {
            match self.walk.next() {
                Some(Step::Pair(parent)) => {
                    let mut pair = [0; PAIR_BYTES];
                    source.read_outboard(&mut pair, parent.pair_offset())?;
                    let descended = self.walk.descend(&parent, &pair);
                    descended.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                    answer.extend_from_slice(&pair);
                }
                Some(Step::Group(group)) => {
                    let begin = answer.len();
                    answer.resize(begin + group.len(), 0);
                    let (_, buffer) = answer.split_at_mut(begin);
                    source.read_blob(buffer, group.bytes.start)?;
                }
                None => break,
            }
        }
        Ok(())
    }
}
