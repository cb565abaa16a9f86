//! Hash and outboard of content in one pass.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use super::tree::{GROUP, GROUP_BYTES};
use crate::hash::BlobHash;

/// Hashes content piece by piece and gives out its outboard as it grows.
#[derive(Default)]
pub struct TreeHasher {
    /// How many chunk groups are finished.
    finished: u64,
    /// The chaining values of the finished subtrees that still lack a right sibling,
    /// from left to right: one for each bit of `finished`.
    subtrees: Vec<ChainingValue>,
    /// The chunk group behind them, of which nobody knows yet that it is not the last.
    /// Hashed whole, since hashing it bit by bit is several times slower.
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
            if piece.is_empty() {
                return;
            }
            let group = std::mem::take(&mut self.group);
            self.finish_group(&group, outboard);
            self.group = group;
            self.group.clear();
        }
        while piece.len() > GROUP {
            let (group, rest) = piece.split_at(GROUP);
            self.finish_group(group, outboard);
            piece = rest;
        }
        self.group.extend_from_slice(piece);
    }

    /// The content is complete: the rest of its outboard and its hash.
    pub fn finish(self, outboard: &mut Vec<u8>) -> BlobHash {
        let mut left_siblings = self.subtrees.into_iter();
        let Some(left_half) = left_siblings.next() else {
            return BlobHash::of(&self.group);
        };
        let mut right = group_value(self.finished * GROUP_BYTES, &self.group);
        for left in left_siblings.rev() {
            push_pair(outboard, &left, &right);
            right = merge_subtrees_non_root(&left, &right, Mode::Hash);
        }
        push_pair(outboard, &left_half, &right);
        merge_subtrees_root(&left_half, &right, Mode::Hash).into()
    }

    /// Finishes a full group that is not the last, and every subtree that it completes.
    fn finish_group(&mut self, group: &[u8], outboard: &mut Vec<u8>) {
        let mut node = group_value(self.finished * GROUP_BYTES, group);
        self.finished += 1;
        for _ in 0..self.finished.trailing_zeros() {
            let Some(left) = self.subtrees.pop() else {
                break;
            };
            push_pair(outboard, &left, &node);
            node = merge_subtrees_non_root(&left, &node, Mode::Hash);
        }
        self.subtrees.push(node);
    }
}

/// The chaining value of a chunk group, not empty, that begins at `offset`, a multiple of
/// the groups' length, and is not all of its blob.
pub(super) fn group_value(offset: u64, group: &[u8]) -> ChainingValue {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(offset).update(group);
    hasher.finalize_non_root()
}

fn push_pair(outboard: &mut Vec<u8>, left: &ChainingValue, right: &ChainingValue) {
    outboard.extend_from_slice(left);
    outboard.extend_from_slice(right);
}
