//! The answer to a range, made from a blob and its outboard.

use std::io;
use std::ops::Range;

use super::tree::{PAIR_BYTES, Tree};
use super::walk::{Group, Mismatch, Parent, Step, Walk};
use crate::hash::BlobHash;

/// A blob with its outboard, to be read anywhere. All calls may block.
pub trait Source {
    /// Fills `buffer` with the bytes of the blob from `offset` on.
    fn read_blob(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Fills `buffer` with the bytes of the outboard from `offset` on.
    fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// Gives out the answer to a range piece by piece, after checking it.
#[derive(Debug)]
pub struct Encoder {
    walk: Walk,
    /// What the answer continues with; None when it is complete.
    next: Option<Step>,
}

/// Why an answer does not go on. Bytes that do not belong to the hash are an error of the
/// kind [`io::ErrorKind::InvalidData`] that holds a [`Mismatch`].
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The outboard cannot be used. It can be derived from the blob again.
    #[error("the outboard: {0}")]
    Outboard(#[source] io::Error),
    /// The blob cannot be used.
    #[error("the blob: {0}")]
    Blob(#[source] io::Error),
}

impl Encoder {
    /// The answer to `range` of the blob with this hash and tree.
    pub fn new(hash: BlobHash, tree: Tree, range: &Range<u64>) -> Self {
        let mut walk = Walk::new(hash, tree, range);
        let next = walk.next();
        Self { walk, next }
    }

    /// Puts what follows behind `answer`, until that has at least `target` bytes; less
    /// means that the answer is complete.
    ///
    /// After an error the answer can be gone on with, from what could not be used; nothing
    /// of that is in `answer`.
    pub fn read_on(
        &mut self,
        source: &impl Source,
        answer: &mut Vec<u8>,
        target: usize,
    ) -> Result<(), EncodeError> {
        while answer.len() < target {
            match &self.next {
                Some(Step::Pair(parent)) => {
                    let read = |buffer: &mut [u8], at| source.read_outboard(buffer, at);
                    let read = read_pair(&mut self.walk, parent, read);
                    answer.extend_from_slice(&read.map_err(EncodeError::Outboard)?);
                }
                Some(Step::Group(group)) => {
                    let begin = answer.len();
                    answer.resize(begin + group.len(), 0);
                    let (_, buffer) = answer.split_at_mut(begin);
                    if let Err(error) = read_group(group, buffer, source) {
                        answer.truncate(begin);
                        return Err(EncodeError::Blob(error));
                    }
                }
                None => break,
            }
            self.next = self.walk.next();
        }
        Ok(())
    }
}

/// Checks every pair of an outboard, of which `read` fills a buffer with the bytes from an
/// offset on. None that is wrong passes, whatever the blob's bytes are now.
pub fn check_outboard(
    hash: BlobHash,
    tree: Tree,
    read: impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut walk = Walk::new(hash, tree, &(0..tree.size()));
    while let Some(step) = walk.next() {
        if let Step::Pair(parent) = step {
            read_pair(&mut walk, &parent, &read)?;
        }
    }
    Ok(())
}

/// Reads the pair of a parent and goes below that.
pub(super) fn read_pair(
    walk: &mut Walk,
    parent: &Parent,
    read: impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<[u8; PAIR_BYTES]> {
    let mut pair = [0; PAIR_BYTES];
    read(&mut pair, parent.pair_offset())?;
    walk.descend(parent, &pair).map_err(invalid)?;
    Ok(pair)
}

fn read_group(group: &Group, buffer: &mut [u8], source: &impl Source) -> io::Result<()> {
    source.read_blob(buffer, group.bytes.start)?;
    group.check(buffer).map_err(invalid)
}

fn invalid(mismatch: Mismatch) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, mismatch)
}
