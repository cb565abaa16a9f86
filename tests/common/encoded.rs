//! Answers to ranges, read as another node reads them.

use std::ops::Range;

use bytes::Bytes;
use futures_util::StreamExt;
use larder::blob::{BlobError, OpenBlob};
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

/// The pieces of an answer, and the error that ended it, if one did.
pub(crate) async fn encoded(
    blob: &dyn OpenBlob,
    range: Range<u64>,
) -> (Vec<Bytes>, Option<BlobError>) {
    let (mut pieces, mut answer) = (Vec::new(), blob.encoded(range));
    while let Some(piece) = answer.next().await {
        match piece {
            Ok(piece) => pieces.push(piece),
            Err(error) => return (pieces, Some(error)),
        }
    }
    (pieces, None)
}

/// Checks the answer to a range of the blob with this content.
pub(crate) async fn assert_proves(blob: &dyn OpenBlob, bytes: &[u8], range: Range<u64>) {
    let (pieces, error) = encoded(blob, range.clone()).await;
    assert!(error.is_none(), "{error:?}");
    assert!(pieces.iter().all(|it| (1..=1 << 20).contains(&it.len())));
    let size = bytes.len() as u64;
    let length: usize = pieces.iter().map(Bytes::len).sum();
    assert_eq!(length as u64, Tree::new(size).encoded_len(&range));
    let (proven, ended) = verified(BlobHash::of(bytes), size, range.clone(), pieces);
    assert_eq!(ended, Ok(()));
    let at = |at: u64| usize::try_from(at.min(size)).unwrap();
    assert!(proven == bytes[at(range.start)..at(range.end)], "{range:?}");
}
