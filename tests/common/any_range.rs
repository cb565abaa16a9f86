//! What must be true of every answer to a range of a content.

use std::ops::Range;

use bytes::Bytes;
use larder::hash::BlobHash;
use larder::outboard::{Tree, Verifier};

/// Of an answer to a range of a content only true bytes come out, however it is cut.
pub(crate) fn verified(content: &[u8], size: u64, range: Range<u64>, answer: &[u8], piece: usize) {
    let mut verifier = Verifier::new(BlobHash::of(content), Tree::new(size), range.clone());
    let mut proven = Vec::new();
    for piece in answer.chunks(piece.max(1)) {
        if verifier
            .push(Bytes::copy_from_slice(piece), &mut proven)
            .is_err()
        {
            break;
        }
    }
    let proven = proven.concat();
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let behind = content.get(start..).unwrap_or_default();
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    assert!(behind[..length.min(behind.len())].starts_with(&proven));
}
