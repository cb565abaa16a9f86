//! The way through a tree that an answer takes, with what each node must hash to.

use std::ops::Range;

use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::hasher::subtree_value;
use super::tree::{Node, PAIR_BYTES, Tree};
use crate::hash::BlobHash;

/// Bytes that are not those of the blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what came for the bytes from {offset} on does not belong to the hash")]
pub struct Mismatch {
    /// Where the node that differs begins, in bytes of the blob.
    pub offset: u64,
}

/// A walk in pre-order over the nodes that cover some chunk groups.
#[derive(Debug)]
pub(super) struct Walk {
    tree: Tree,
    groups: Range<u64>,
    /// The nodes still to visit, the next one last: at most one for each level.
    ahead: Vec<(Node, Expected)>,
}

/// What an answer continues with.
#[derive(Debug)]
pub(super) enum Step {
    Pair(Parent),
    Group(Group),
}

/// A node with two below it, in place of which the answer holds its pair.
#[derive(Debug)]
pub(super) struct Parent {
    node: Node,
    children: (Node, Node),
    expected: Expected,
}

/// A leaf, in place of which the answer holds its bytes: a chunk group, or all those of a
/// node that are checked together.
#[derive(Debug)]
pub(super) struct Group {
    /// Which bytes of the blob.
    pub(super) bytes: Range<u64>,
    expected: Expected,
}

/// What a node hashes to. The root is hashed differently from all other nodes.
#[derive(Debug)]
enum Expected {
    Root(BlobHash),
    Inner(ChainingValue),
}

impl Walk {
    /// The walk for the answer to `range` of the blob with this hash and tree.
    pub(super) fn new(hash: BlobHash, tree: Tree, range: &Range<u64>) -> Self {
        Self {
            tree,
            groups: tree.groups(range),
            ahead: vec![(tree.root(), Expected::Root(hash))],
        }
    }

    /// Goes to the next node; None at the end.
    pub(super) fn next(&mut self) -> Option<Step> {
        self.next_of(1)
    }

    /// The same, taking a node that covers at most so many chunk groups for a leaf: its
    /// bytes are checked together.
    pub(super) fn next_of(&mut self, groups: u64) -> Option<Step> {
        let (node, expected) = self.ahead.pop()?;
        let bytes = self.tree.bytes(node);
        Some(match node.children().filter(|_| node.groups() > groups) {
            Some(children) => Step::Pair(Parent {
                node,
                children,
                expected,
            }),
            None => Step::Group(Group { bytes, expected }),
        })
    }

    /// Goes back to before a parent, which comes again.
    pub(super) fn put_back(&mut self, parent: Parent) {
        self.ahead.push((parent.node, parent.expected));
    }

    /// Goes below a parent if this is its pair.
    pub(super) fn descend(
        &mut self,
        parent: &Parent,
        pair: &[u8; PAIR_BYTES],
    ) -> Result<(), Mismatch> {
        let (left_value, right_value) = halves(pair);
        let is_right = match &parent.expected {
            Expected::Root(hash) => {
                *hash == merge_subtrees_root(&left_value, &right_value, Mode::Hash).into()
            }
            Expected::Inner(value) => {
                *value == merge_subtrees_non_root(&left_value, &right_value, Mode::Hash)
            }
        };
        if !is_right {
            let offset = self.tree.bytes(parent.node).start;
            return Err(Mismatch { offset });
        }
        let (left, right) = parent.children;
        for (node, value) in [(right, right_value), (left, left_value)] {
            if node.touches(&self.groups) {
                self.ahead.push((node, Expected::Inner(value)));
            }
        }
        Ok(())
    }
}

impl Parent {
    /// Where the pair lies in the outboard, in bytes.
    pub(super) fn pair_offset(&self) -> u64 {
        self.node.pair_offset()
    }

    /// The two nodes below.
    pub(super) fn children(&self) -> (Node, Node) {
        self.children
    }
}

impl Group {
    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.bytes.end - self.bytes.start).unwrap_or(usize::MAX)
    }

    /// Whether these are the bytes of the leaf.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), Mismatch> {
        let offset = self.bytes.start;
        let is_right = match &self.expected {
            Expected::Root(hash) => *hash == BlobHash::of(bytes),
            Expected::Inner(value) => *value == subtree_value(offset, bytes),
        };
        is_right.then_some(()).ok_or(Mismatch { offset })
    }
}

fn halves(pair: &[u8; PAIR_BYTES]) -> (ChainingValue, ChainingValue) {
    let (left, right) = pair.split_at(PAIR_BYTES / 2);
    let value = |half: &[u8]| half.try_into().unwrap_or_default();
    (value(left), value(right))
}
