//! An answer checked while it flows in.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::tree::{PAIR_BYTES, Tree};
use super::walk::{Group, Mismatch, Step, Walk};
use crate::hash::BlobHash;

/// Turns the answer to a range into the bytes of that range, each checked against the
/// blob's hash before it is given out. Holds on to one chunk group at most.
///
/// The size of the blob decides how the answer is read, so a wrong one is noticed, but
/// only where the range reaches the blob's last byte: ask for that one to prove a size.
#[derive(Debug)]
pub struct Verifier {
    walk: Walk,
    wanted: Range<u64>,
    /// What the bytes that come next must be; None when all have come.
    next: Option<Step>,
    /// The beginning of what comes next.
    partial: BytesMut,
    /// The pairs that have come, where somebody wants them.
    pairs: Option<Vec<PlacedPair>>,
}

/// A pair that is proven, and where it lies in the outboard, in bytes.
pub type PlacedPair = (u64, [u8; PAIR_BYTES]);

/// Why an answer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// It holds something else than the blob.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// It goes on where it should have ended.
    #[error("the answer is longer than it should be")]
    TooLong,
    /// It ends before it is complete.
    #[error("the answer is shorter than it should be")]
    TooShort,
}

impl Verifier {
    /// Reads the answer to `range` of the blob with this hash and tree.
    pub fn new(hash: BlobHash, tree: Tree, range: Range<u64>) -> Self {
        let mut walk = Walk::new(hash, tree, &range);
        let next = walk.next();
        Self {
            walk,
            wanted: range,
            next,
            partial: BytesMut::new(),
            pairs: None,
        }
    }

    /// Keeps the pairs from now on, for [`Verifier::take_pairs`].
    pub fn keep_pairs(&mut self) {
        self.pairs = Some(Vec::new());
    }

    /// The pairs that have come since this was last asked, if they are kept.
    pub fn take_pairs(&mut self) -> Vec<PlacedPair> {
        self.pairs.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes the next piece of the answer; puts the bytes that are proven by it behind
    /// `verified`. After an error nothing more may be taken.
    pub fn push(&mut self, mut piece: Bytes, verified: &mut Vec<Bytes>) -> Result<(), VerifyError> {
        while !piece.is_empty() {
            let needed = self.needed()?;
            let Some(part) = self.gather(&mut piece, needed) else {
                break;
            };
            self.take(part, verified)?;
        }
        Ok(())
    }

    /// The answer has ended; an error if something is missing.
    pub fn finish(self) -> Result<(), VerifyError> {
        match self.next {
            None => Ok(()),
            // The answer to an empty blob has no bytes.
            Some(Step::Group(group)) if group.len() == 0 => Ok(group.check(&[])?),
            Some(_) => Err(VerifyError::TooShort),
        }
    }

    /// How many bytes the next part has.
    fn needed(&self) -> Result<usize, VerifyError> {
        match &self.next {
            Some(Step::Pair(_)) => Ok(PAIR_BYTES),
            Some(Step::Group(group)) => Ok(group.len()),
            None => Err(VerifyError::TooLong),
        }
    }

    /// The next part, if it is complete with `piece`; takes from that what belongs to it.
    fn gather(&mut self, piece: &mut Bytes, needed: usize) -> Option<Bytes> {
        if self.partial.is_empty() && piece.len() >= needed {
            return Some(piece.split_to(needed));
        }
        let missing = needed.saturating_sub(self.partial.len());
        let more = piece.split_to(missing.min(piece.len()));
        self.partial.reserve(missing);
        self.partial.extend_from_slice(&more);
        (self.partial.len() == needed).then(|| self.partial.split().freeze())
    }

    fn take(&mut self, part: Bytes, verified: &mut Vec<Bytes>) -> Result<(), VerifyError> {
        match &self.next {
            Some(Step::Pair(parent)) => {
                let pair = part.first_chunk().ok_or(VerifyError::TooShort)?;
                self.walk.descend(parent, pair)?;
                if let Some(pairs) = &mut self.pairs {
                    pairs.push((parent.pair_offset(), *pair));
                }
            }
            Some(Step::Group(group)) => {
                group.check(&part)?;
                let part = self.cut(group, part);
                if !part.is_empty() {
                    verified.push(part);
                }
            }
            None => return Err(VerifyError::TooLong),
        }
        self.next = self.walk.next();
        Ok(())
    }

    /// Of the bytes of a group those that are wanted.
    fn cut(&self, group: &Group, mut bytes: Bytes) -> Bytes {
        let beyond = group.bytes.end.saturating_sub(self.wanted.end);
        let before = self.wanted.start.saturating_sub(group.bytes.start);
        let within = |n: u64, len: usize| usize::try_from(n).unwrap_or(usize::MAX).min(len);
        bytes.truncate(bytes.len() - within(beyond, bytes.len()));
        bytes.advance(within(before, bytes.len()));
        bytes
    }
}
