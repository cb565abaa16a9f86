//! Hash and outboard of content in one pass.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use super::tree::{GROUP, GROUP_BYTES};
use crate::hash::BlobHash;

/// Hashes content piece by piece and gives out its outboard as it grows.
#[derive(Clone, Default)]
pub struct TreeHasher {
    /// How many chunk groups are finished.
    finished: u64,
    /// The chaining values of finished subtrees, from left to right. Those that complete a
    /// larger one are merged only when more content has come, since what the last merge
    /// makes is the root, which is hashed differently from all other nodes.
    subtrees: Vec<ChainingValue>,
    /// The beginning of the next chunk group. Hashed whole, since hashing it bit by bit is
    /// several times slower. The first group is held back until it is known not to be all.
    group: Vec<u8>,
}

impl TreeHasher {
    /// A hasher of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the content; puts what becomes known of the outboard, the
    /// continuation of what came before, behind `outboard`.
    pub fn update(&mut self, mut piece: &[u8], outboard: &mut Vec<u8>) {
        if !self.group.is_empty() {
            let room = GROUP.saturating_sub(self.group.len()).min(piece.len());
            let (taken, rest) = piece.split_at(room);
            self.group.extend_from_slice(taken);
            piece = rest;
            if !self.is_complete(self.group.len(), !piece.is_empty()) {
                return;
            }
            let group = std::mem::take(&mut self.group);
            self.finish_group(&group, outboard);
            self.group = group;
            self.group.clear();
        }
        while self.is_complete(piece.len(), piece.len() > GROUP) {
            let (group, rest) = piece.split_at(GROUP);
            self.finish_group(group, outboard);
            piece = rest;
        }
        self.group.extend_from_slice(piece);
    }

    /// The hash of what has come so far, as if that were all. Costs no more than hashing 16 KiB,
    /// however much has come.
    pub fn hash_so_far(&self) -> BlobHash {
        self.clone().finish(&mut Vec::new())
    }

    /// The content is complete: the rest of its outboard and its hash.
    pub fn finish(mut self, outboard: &mut Vec<u8>) -> BlobHash {
        if self.finished == 0 {
            return BlobHash::of(&self.group);
        }
        if !self.group.is_empty() {
            let group = std::mem::take(&mut self.group);
            self.finish_group(&group, outboard);
        }
        let mut left_siblings = self.subtrees.into_iter();
        let left_half = left_siblings.next().unwrap_or_default();
        let mut right = left_siblings.next_back().unwrap_or_default();
        for left in left_siblings.rev() {
            push_pair(outboard, &left, &right);
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
        }
        push_pair(outboard, &left_half, &right);
        merge_subtrees_root(&left_half, &right, Mode::Hash).into()
    }

    /// Whether the first of `len` bytes at hand are a group that can be finished.
    fn is_complete(&self, len: usize, more_follow: bool) -> bool {
        len >= GROUP && (self.finished > 0 || more_follow)
    }

    /// Finishes a group that is not all of the content, after every subtree that was
    /// complete before it.
    fn finish_group(&mut self, group: &[u8], outboard: &mut Vec<u8>) {
        for _ in 0..self.finished.trailing_zeros() {
            let (Some(right), Some(left)) = (self.subtrees.pop(), self.subtrees.pop()) else {
                break;
            };
            push_pair(outboard, &left, &right);
            let merged = merge_subtrees_non_root(&left, &right, Mode::Hash);
            self.subtrees.push(merged);
        }
        self.subtrees
            .push(subtree_value(self.finished * GROUP_BYTES, group));
        self.finished += 1;
    }
}

/// The chaining value of a node, a chunk group or more, that begins with the byte at
/// `offset` and has these bytes, which are not all of its blob.
pub(super) fn subtree_value(offset: u64, bytes: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset).update(bytes);
    hasher.finalize_non_root()
}

fn push_pair(outboard: &mut Vec<u8>, left: &ChainingValue, right: &ChainingValue) {
    outboard.extend_from_slice(left);
    outboard.extend_from_slice(right);
}
