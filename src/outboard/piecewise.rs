//! The answer to a range, made from the pieces of a blob as they come and what each must be: where
//! no outboard can be read at any moment.

use std::ops::Range;
use std::sync::Arc;

use super::hasher::subtree_value;
use super::pieces::PieceValues;
use super::prove::PIECE_BYTES;
use super::tree::{GROUP_BYTES, Node, PAIR_BYTES, Tree};
use super::walk::{Group, Mismatch, Step, Walk};

/// Gives out the answer to a range, a piece of the blob after the other, after checking each.
#[derive(Debug)]
pub struct PieceEncoder {
    tree: Tree,
    values: Arc<PieceValues>,
    /// The chunk groups of the answer.
    groups: Range<u64>,
    walk: Walk,
    /// The piece that the answer continues with.
    next: Option<Group>,
}

impl PieceEncoder {
    /// The answer to `range` of the blob with these values.
    pub fn new(values: Arc<PieceValues>, range: &Range<u64>) -> Self {
        let tree = Tree::new(values.size());
        Self {
            tree,
            groups: tree.groups(range),
            walk: Walk::new(values.hash(), tree, range),
            values,
            next: None,
        }
    }

    /// The pieces that the answer needs, as one range of bytes of the blob.
    pub fn needs(&self) -> Range<u64> {
        let [start, end] = [self.groups.start, self.groups.end].map(|it| it * GROUP_BYTES);
        start / PIECE_BYTES * PIECE_BYTES..end.next_multiple_of(PIECE_BYTES).min(self.tree.size())
    }

    /// Puts what follows behind `answer`, up to the next piece, and tells which bytes that has:
    /// they are to be put next. None at the end.
    pub fn next_piece(&mut self, answer: &mut Vec<u8>) -> Result<Option<Range<u64>>, Mismatch> {
        while let Some(step) = self.walk.next_of(PIECE_BYTES / GROUP_BYTES) {
            match step {
                Step::Group(group) => {
                    let bytes = group.bytes.clone();
                    self.next = Some(group);
                    return Ok(Some(bytes));
                }
                Step::Pair(parent) => {
                    let mut pair = [0; PAIR_BYTES];
                    let (left, right) = parent.children();
                    for (half, node) in pair.chunks_exact_mut(PAIR_BYTES / 2).zip([left, right]) {
                        let bytes = self.tree.bytes(node);
                        let value = self.values.of_node(&bytes);
                        let offset = bytes.start;
                        half.copy_from_slice(&value.ok_or(Mismatch { offset })?);
                    }
                    self.walk.descend(&parent, &pair)?;
                    answer.extend_from_slice(&pair);
                }
            }
        }
        Ok(None)
    }

    /// Puts what the answer holds of the piece with these bytes behind it, if they are right; after
    /// an error the piece can be put once more.
    pub fn put(&mut self, piece: &[u8], answer: &mut Vec<u8>) -> Result<(), Mismatch> {
        let Some(group) = &self.next else {
            return Ok(());
        };
        group.check(piece)?;
        let whole = self.tree.over(&group.bytes);
        self.put_node(whole, group.bytes.start, piece, answer);
        self.next = None;
        Ok(())
    }

    /// Puts a node of the piece that begins at `start`.
    fn put_node(&self, node: Node, start: u64, piece: &[u8], answer: &mut Vec<u8>) {
        let of = |node| {
            let bytes = self.tree.bytes(node);
            let [from, to] = [bytes.start, bytes.end]
                .map(|at| usize::try_from(at - start).unwrap_or(usize::MAX));
            (bytes.start, piece.get(from..to).unwrap_or_default())
        };
        let Some((left, right)) = node.children() else {
            answer.extend_from_slice(of(node).1);
            return;
        };
        for child in [left, right] {
            let (offset, bytes) = of(child);
            answer.extend_from_slice(&subtree_value(offset, bytes));
        }
        for child in [left, right] {
            if child.touches(&self.groups) {
                self.put_node(child, start, piece, answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::hash::BlobHash;
    use crate::outboard::{Encoder, PieceHasher, Source, TreeHasher};

    struct Whole {
        content: Vec<u8>,
        outboard: Vec<u8>,
    }

    impl Source for Whole {
        fn read_blob(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&self.content[at..at + buffer.len()]);
            Ok(())
        }

        fn read_outboard(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            let at = usize::try_from(offset).unwrap();
            buffer.copy_from_slice(&self.outboard[at..at + buffer.len()]);
            Ok(())
        }
    }

    fn content(len: usize) -> Vec<u8> {
        let random = |at: usize| at.wrapping_mul(0x9e37_79b9).to_le_bytes()[2];
        (0..len).map(random).collect()
    }

    fn values_of(content: &[u8], step: usize) -> PieceValues {
        let mut hasher = PieceHasher::default();
        for bytes in content.chunks(step) {
            hasher.update(bytes);
        }
        hasher.finish()
    }

    #[allow(clippy::cast_possible_truncation)]
    const PIECE: usize = PIECE_BYTES as usize;
    const LENGTHS: [usize; 11] = [
        0,
        1,
        20_000,
        PIECE - 1,
        PIECE,
        PIECE + 1,
        2 * PIECE,
        3 * PIECE + 40_000,
        4 * PIECE + 1,
        7 * PIECE,
        9 * PIECE + 300,
    ];

    #[test]
    fn values_are_those_of_the_content_in_whatever_pieces_it_comes() {
        for len in LENGTHS {
            let content = content(len);
            let hash = BlobHash::of(&content);
            for step in [777, 65_536, PIECE, 3 * PIECE + 5] {
                let values = values_of(&content, step);
                assert_eq!((values.hash(), values.size()), (hash, len as u64));
                let written = values.bytes();
                assert_eq!(written.len() as u64, PieceValues::written_len(len as u64));
                for (at, piece) in content.chunks(PIECE).enumerate() {
                    let offset = (at * PIECE) as u64;
                    assert_eq!(values.check(offset, piece), Ok(()), "{len} at {offset}");
                    let mut other = piece.to_vec();
                    *other.last_mut().unwrap() ^= 1;
                    assert!(values.check(offset, &other).is_err());
                    assert!(values.check(offset, &piece[1..]).is_err());
                }
            }
        }
    }

    #[test]
    fn what_was_written_down_counts_only_where_it_makes_up_the_hash() {
        let content = content(5 * PIECE + 7);
        let (hash, size) = (BlobHash::of(&content), content.len() as u64);
        let written = values_of(&content, PIECE).bytes();
        assert!(PieceValues::read(hash, size, &written).is_some());
        assert!(PieceValues::read(hash, size + PIECE_BYTES, &written).is_none());
        assert!(PieceValues::read(hash, size, &written[1..]).is_none());
        assert!(PieceValues::read(hash, size, &written[..written.len() - 32]).is_none());
        assert!(PieceValues::read(hash, size, &[]).is_none());
        for at in 0..written.len() {
            let mut other = written.clone();
            other[at] ^= 0x10;
            assert!(PieceValues::read(hash, size, &other).is_none(), "{at}");
        }
    }

    #[test]
    fn the_answer_is_that_which_an_outboard_gives() {
        for len in LENGTHS {
            let content = content(len);
            let (mut hasher, mut outboard) = (TreeHasher::new(), Vec::new());
            hasher.update(&content, &mut outboard);
            let hash = hasher.finish(&mut outboard);
            let values = Arc::new(values_of(&content, 100_000));
            let whole = Whole { content, outboard };
            let size = len as u64;
            let ends = [0, 1, 16_384, 16_385, PIECE_BYTES, 3 * PIECE_BYTES - 7, size];
            for start in ends.map(|it| it.min(size)) {
                for end in ends.into_iter().chain([u64::MAX]).filter(|it| *it >= start) {
                    let range = start..end;
                    let mut expected = Vec::new();
                    let mut encoder = Encoder::new(hash, Tree::new(size), &range);
                    encoder.read_on(&whole, &mut expected, usize::MAX).unwrap();
                    let answer = answer(&values, &whole.content, &range);
                    assert!(answer == expected, "{len}: {range:?}");
                }
            }
        }
    }

    fn answer(values: &Arc<PieceValues>, content: &[u8], range: &Range<u64>) -> Vec<u8> {
        let mut encoder = PieceEncoder::new(Arc::clone(values), range);
        let mut needed = encoder.needs();
        let mut answer = Vec::new();
        while let Some(bytes) = encoder.next_piece(&mut answer).unwrap() {
            assert_eq!(bytes.start, needed.start);
            needed.start = bytes.end;
            let [from, to] = [bytes.start, bytes.end].map(|it| usize::try_from(it).unwrap());
            let mut piece = content[from..to].to_vec();
            if let Some(byte) = piece.first_mut() {
                *byte ^= 1;
                assert!(encoder.put(&piece, &mut answer).is_err());
            }
            encoder.put(&content[from..to], &mut answer).unwrap();
        }
        assert!(needed.is_empty());
        answer
    }
}
