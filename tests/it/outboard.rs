//! Outboards and answers: the same bytes as the `bao-tree` crate makes, and nothing false
//! gets through.

use std::io::ErrorKind;
use std::ops::Range;

use bao_tree::io::outboard::{EmptyOutboard, PostOrderMemOutboard};
use bao_tree::io::sync::{decode_ranges, encode_ranges_validated};
use bao_tree::io::{round_up_to_chunks, round_up_to_chunks_groups};
use bao_tree::{BaoTree, BlockSize, ByteRanges, ChunkRanges};
use bytes::Bytes;
use larder::hash::BlobHash;
use larder::outboard::{EncodeError, Encoder, Tree, Verifier, VerifyError};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::common::blob::Blob;

const GROUPS_OF_16_CHUNKS: BlockSize = BlockSize::from_chunk_log(4);
const GROUP: usize = 16 * 1024;
const MAX_SIZE: usize = 40 * GROUP;

impl Blob {
    /// The bytes of a range that an answer proves, and how reading it ended.
    fn verify(
        &self,
        tree: Tree,
        range: &Range<u64>,
        answer: &[u8],
        piece: usize,
    ) -> (Vec<u8>, Result<(), VerifyError>) {
        let mut verifier = Verifier::new(self.hash, tree, range.clone());
        let mut proven = Vec::new();
        let mut pieces = answer.chunks(piece).map(Bytes::copy_from_slice);
        let pushed = pieces.try_for_each(|piece| verifier.push(piece, &mut proven));
        let ended = pushed.and_then(|()| verifier.finish());
        (proven.concat(), ended)
    }

    fn bytes(&self, range: &Range<u64>) -> &[u8] {
        let at = |offset: u64| usize::try_from(offset).unwrap().min(self.content.len());
        &self.content[at(range.start)..at(range.end)]
    }
}

/// Content in which every chunk differs from all others.
fn content(size: usize) -> Vec<u8> {
    let mut content = vec![0; size];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    content
}

/// The range of chunks that an answer to a range of bytes covers.
fn chunks(range: &Range<u64>) -> ChunkRanges {
    let chunks = round_up_to_chunks(&ByteRanges::from(range.clone()));
    round_up_to_chunks_groups(chunks, GROUPS_OF_16_CHUNKS)
}

fn bao(blob: &Blob) -> PostOrderMemOutboard {
    PostOrderMemOutboard::create(&blob.content, GROUPS_OF_16_CHUNKS)
}

/// Sizes near the edges of groups and of trees, and any others.
fn sizes() -> impl Strategy<Value = usize> {
    let near = (0..=40_usize, -2..=2_isize)
        .prop_map(|(groups, more)| (groups * GROUP).saturating_add_signed(more));
    prop_oneof![near, 0..MAX_SIZE]
}

/// A blob of such a size, hashed in arbitrary pieces.
fn blobs() -> impl Strategy<Value = Blob> {
    let pieces = prop::collection::vec(1..5 * GROUP, 1..5);
    (sizes(), pieces).prop_map(|(size, pieces)| Blob::new(content(size), &pieces))
}

/// A blob and a range within it.
fn ranges() -> impl Strategy<Value = (Blob, Range<u64>)> {
    (blobs(), any::<[Index; 2]>()).prop_map(|(blob, ends)| {
        let mut ends = ends.map(|end| end.index(blob.content.len() + 1) as u64);
        ends.sort_unstable();
        (blob, ends[0]..ends[1])
    })
}

#[test]
fn the_hash_of_a_tree_is_the_hash_of_the_bytes() {
    for size in (0..=40 * GROUP).step_by(GROUP / 2) {
        let blob = Blob::new(content(size), &[usize::MAX]);
        assert_eq!(blob.hash, BlobHash::of(&blob.content), "{size} bytes");
    }
}

#[test]
fn the_last_bytes_prove_the_size() {
    for size in [0, 1, GROUP, GROUP + 1, 3 * GROUP, 9 * GROUP - 1] {
        let blob = Blob::new(content(size), &[GROUP]);
        let last = |size: usize| size.saturating_sub(1) as u64..size as u64;
        for claimed in 0..12 * GROUP {
            // Nearly every size would do no more than the edges do, but take longer.
            let edge = claimed % GROUP < 2 || claimed % GROUP == GROUP - 1;
            if claimed == size || !edge {
                continue;
            }
            let answer = blob.answer(&last(size), usize::MAX);
            let lie = Tree::new(claimed as u64);
            let (_, ended) = blob.verify(lie, &last(claimed), &answer, GROUP);
            assert!(ended.is_err(), "{size} bytes claimed to be {claimed}");
        }
    }
}

#[test]
fn a_damaged_outboard_is_not_sent_and_a_repaired_one_is_gone_on_with() {
    let mut blob = Blob::new(content(5 * GROUP), &[GROUP]);
    let range = 0..GROUP as u64;
    let expected = blob.answer(&range, usize::MAX);
    for pair in [0, 2, 3] {
        let damaged = pair * 64 + 63;
        blob.outboard[damaged] ^= 1;
        let mut encoder = Encoder::new(blob.hash, blob.tree(), &range);
        let mut answer = Vec::new();
        let sent = encoder.read_on(&blob, &mut answer, usize::MAX);
        assert!(
            matches!(&sent, Err(EncodeError::Outboard(e)) if e.kind() == ErrorKind::InvalidData),
            "{sent:?}"
        );
        assert!(expected.starts_with(&answer));
        blob.outboard[damaged] ^= 1;
        encoder.read_on(&blob, &mut answer, usize::MAX).unwrap();
        assert!(answer == expected);
    }
}

#[test]
fn a_damaged_blob_is_not_sent() {
    for size in [1, GROUP, GROUP + 1, 5 * GROUP] {
        let mut blob = Blob::new(content(size), &[GROUP]);
        let range = 0..size as u64;
        let expected = blob.answer(&range, usize::MAX);
        blob.content[size - 1] ^= 1;
        let mut encoder = Encoder::new(blob.hash, blob.tree(), &range);
        let mut answer = Vec::new();
        let sent = encoder.read_on(&blob, &mut answer, usize::MAX);
        assert!(
            matches!(&sent, Err(EncodeError::Blob(e)) if e.kind() == ErrorKind::InvalidData),
            "{sent:?}"
        );
        let last_group = (size - 1) % GROUP + 1;
        assert_eq!(answer.len(), expected.len() - last_group);
        assert!(expected.starts_with(&answer));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_outboard_is_that_of_bao_tree(blob in blobs()) {
        let expected = bao(&blob);
        prop_assert_eq!(blob.hash, BlobHash::from(expected.root));
        prop_assert_eq!(blob.outboard.len() as u64, blob.tree().outboard_len());
        prop_assert!(blob.outboard == expected.data);
    }

    #[test]
    fn the_answer_is_that_of_bao_tree((blob, range) in ranges(), target in 1..3 * GROUP) {
        let answer = blob.answer(&range, target);
        prop_assert_eq!(answer.len() as u64, blob.tree().encoded_len(&range));
        // Of an empty range bao-tree answers nothing.
        if !range.is_empty() {
            let mut expected = Vec::new();
            encode_ranges_validated(&blob.content[..], bao(&blob), &chunks(&range), &mut expected)
                .unwrap();
            prop_assert!(answer == expected);
        }
    }

    #[test]
    fn bao_tree_reads_the_answer((blob, range) in ranges()) {
        let answer = blob.answer(&range, usize::MAX);
        let tree = BaoTree::new(blob.content.len() as u64, GROUPS_OF_16_CHUNKS);
        let root = blake3::Hash::from_bytes(*blob.hash.as_bytes());
        let outboard = EmptyOutboard { tree, root };
        let mut read = vec![0; blob.content.len()];
        decode_ranges(&answer[..], &chunks(&range), &mut read, outboard).unwrap();
        let read = Blob { content: read, outboard: Vec::new(), hash: blob.hash };
        prop_assert!(read.bytes(&range) == blob.bytes(&range));
    }

    #[test]
    fn an_answer_gives_the_bytes_of_its_range((blob, range) in ranges(), piece in 1..3 * GROUP) {
        let answer = blob.answer(&range, usize::MAX);
        let (verified, ended) = blob.verify(blob.tree(), &range, &answer, piece);
        prop_assert_eq!(ended, Ok(()));
        prop_assert!(verified == blob.bytes(&range));
    }

    #[test]
    fn a_changed_byte_never_gets_through(
        (blob, range) in ranges(), at: Index, change in 1..=u8::MAX, piece in 1..3 * GROUP,
    ) {
        let mut answer = blob.answer(&range, usize::MAX);
        prop_assume!(!answer.is_empty());
        let at = at.index(answer.len());
        answer[at] ^= change;
        let (verified, ended) = blob.verify(blob.tree(), &range, &answer, piece);
        prop_assert!(matches!(ended, Err(VerifyError::Mismatch(_))), "{:?}", ended);
        prop_assert!(blob.bytes(&range).starts_with(&verified));
    }

    #[test]
    fn an_answer_must_be_whole((blob, range) in ranges(), at: Index, piece in 1..3 * GROUP) {
        let mut answer = blob.answer(&range, usize::MAX);
        prop_assume!(!answer.is_empty());
        let cut = &answer[..at.index(answer.len())];
        let (verified, ended) = blob.verify(blob.tree(), &range, cut, piece);
        prop_assert_eq!(ended, Err(VerifyError::TooShort));
        prop_assert!(blob.bytes(&range).starts_with(&verified));
        answer.push(0);
        let (_, ended) = blob.verify(blob.tree(), &range, &answer, piece);
        prop_assert_eq!(ended, Err(VerifyError::TooLong));
    }

    #[test]
    fn whatever_comes_only_true_bytes_get_through(
        (blob, range) in ranges(), size: u64, answer: Vec<u8>, true_start: bool,
    ) {
        let mut sent = answer;
        if true_start {
            sent = blob.answer(&range, usize::MAX);
        }
        let (verified, _) = blob.verify(Tree::new(size), &range, &sent, GROUP);
        prop_assert!(blob.bytes(&range).starts_with(&verified));
    }
}
