//! Answers to ranges, read as another node reads them.

use std::ops::Range;

use bytes::Bytes;
use larder::hash::BlobHash;
use larder::outboard::{Tree, Verifier, VerifyError};

/// The bytes of `range` that pieces of an answer prove, of a blob of `size` bytes, and how
/// reading it ended.
pub(crate) fn verified(
    hash: BlobHash,
    size: u64,
    range: Range<u64>,
    pieces: impl IntoIterator<Item = Bytes>,
) -> (Vec<u8>, Result<(), VerifyError>) {
    let mut verifier = Verifier::new(hash, Tree::new(size), range);
    let mut proven = Vec::new();
    let mut pieces = pieces.into_iter();
    let pushed = pieces.try_for_each(|piece| verifier.push(piece, &mut proven));
    let ended = pushed.and_then(|()| verifier.finish());
    (proven.concat(), ended)
}
