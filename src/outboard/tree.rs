//! The shape of a blob's tree: which bytes a node covers and where its pair lies.

use std::ops::Range;

/// The length of a chunk group, in bytes. Only the last one of a blob may be shorter.
pub const GROUP_BYTES: u64 = GROUP as u64;
pub(super) const GROUP: usize = 16 * 1024;
/// The length of a pair, the chaining values of a node's two children, in bytes.
pub const PAIR_BYTES: usize = 64;

/// The tree over a blob of a given size, which decides its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    size: u64,
}

/// A node of a tree: the chunk groups that it covers, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    start: u64,
    end: u64,
}

impl Tree {
    /// The tree over a blob of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { size }
    }

    /// The size of the blob, in bytes.
    pub fn size(self) -> u64 {
        self.size
    }

    /// The length of the outboard, in bytes.
    pub fn outboard_len(self) -> u64 {
        self.root().pairs() * PAIR_BYTES as u64
    }

    /// The length of the answer to `range`, in bytes.
    ///
    /// A range is in bytes of the blob, which may end before it does. The answer covers
    /// whole chunk groups, at least one: also of an empty range, and of an empty blob.
    pub fn encoded_len(self, range: &Range<u64>) -> u64 {
        let groups = self.groups(range);
        let (start, end) = (groups.start, groups.end);
        let bytes = self.bytes(Node { start, end });
        self.root().pairs_for(&groups) * PAIR_BYTES as u64 + (bytes.end - bytes.start)
    }

    /// The node that covers the whole blob.
    pub(super) fn root(self) -> Node {
        Node {
            start: 0,
            end: self.size.div_ceil(GROUP_BYTES).max(1),
        }
    }

    /// The chunk groups that hold `range`, at least one.
    pub(super) fn groups(self, range: &Range<u64>) -> Range<u64> {
        let last = self.root().end - 1;
        let start = (range.start / GROUP_BYTES).min(last);
        let end = range.end.min(self.size).div_ceil(GROUP_BYTES);
        start..end.max(start + 1)
    }

    /// The node over these bytes, which are those of a node.
    pub(super) fn over(self, bytes: &Range<u64>) -> Node {
        let Range { start, end } = self.groups(bytes);
        Node { start, end }
    }

    /// The bytes that a node covers.
    pub(super) fn bytes(self, node: Node) -> Range<u64> {
        let at = |group: u64| group.saturating_mul(GROUP_BYTES).min(self.size);
        at(node.start)..at(node.end)
    }
}

impl Node {
    /// The two nodes below, the left one as large as a power of two allows; None for a
    /// chunk group.
    pub(super) fn children(self) -> Option<(Self, Self)> {
        let height = (self.end - self.start - 1).checked_ilog2()?;
        let middle = self.start + (1 << height);
        let (start, end) = (self.start, self.end);
        Some((Self { start, end: middle }, Self { start: middle, end }))
    }

    /// How many chunk groups the node covers.
    pub(super) fn groups(self) -> u64 {
        self.end - self.start
    }

    /// How many pairs are in the outboard for this node and all below it.
    fn pairs(self) -> u64 {
        self.groups() - 1
    }

    /// Where the pair of this node, which is no chunk group, lies in the outboard, in bytes.
    ///
    /// Before its subtree come the pairs of the subtrees to the left of it: n groups make
    /// n pairs, less one for each subtree, and there is one for each bit of n.
    pub(super) fn pair_offset(self) -> u64 {
        let left = self.start - u64::from(self.start.count_ones());
        (left + self.pairs().saturating_sub(1)) * PAIR_BYTES as u64
    }

    /// Whether the node covers any of these chunk groups.
    pub(super) fn touches(self, groups: &Range<u64>) -> bool {
        self.start < groups.end && groups.start < self.end
    }

    /// How many pairs an answer with these chunk groups holds of this node and below.
    fn pairs_for(self, groups: &Range<u64>) -> u64 {
        if !self.touches(groups) {
            return 0;
        }
        if groups.start <= self.start && self.end <= groups.end {
            return self.pairs();
        }
        self.children().map_or(0, |(left, right)| {
            1 + left.pairs_for(groups) + right.pairs_for(groups)
        })
    }
}
