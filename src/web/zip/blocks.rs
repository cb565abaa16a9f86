//! Bytes as DEFLATE holds them that are not compressed: blocks with their lengths (RFC 1951,
//! section 3.2.4).

/// The longest block, in bytes.
const LONGEST: u16 = u16::MAX;
/// How long what stands before each block is, in bytes.
const HEAD: usize = 5;

/// How long a content of `size` bytes is in blocks, in bytes.
pub(super) fn length(size: u64) -> u64 {
    size + HEAD as u64 * size.div_ceil(LONGEST.into()).max(1)
}

/// A content on its way into blocks.
pub(super) struct Blocks {
    /// How many bytes of the content are yet to come.
    left: u64,
    /// How many of them belong to the block that is begun.
    left_in_block: u16,
}

impl Blocks {
    /// A content of `size` bytes, and what stands before its first byte: an empty one is an
    /// empty block.
    pub(super) fn begin(size: u64) -> (Self, Vec<u8>) {
        let mut blocks = Self {
            left: size,
            left_in_block: 0,
        };
        let head = blocks.next_head();
        (blocks, head.to_vec())
    }

    /// The next piece of the content, with the heads of the blocks that begin in it.
    pub(super) fn framed(&mut self, piece: &[u8]) -> Vec<u8> {
        let heads = piece.len() / usize::from(LONGEST) + 1;
        let mut framed = Vec::with_capacity(piece.len() + heads * HEAD);
        let mut rest = piece;
        while !rest.is_empty() {
            if self.left_in_block == 0 {
                framed.extend(self.next_head());
            }
            let fits = rest.len().min(self.left_in_block.into());
            let (now, later) = rest.split_at(fits);
            framed.extend_from_slice(now);
            self.left -= fits as u64;
            self.left_in_block -= u16::try_from(fits).unwrap_or(self.left_in_block);
            rest = later;
        }
        framed
    }

    /// Begins a block: whether it is the last one, and its length twice, the second time with all
    /// bits turned.
    fn next_head(&mut self) -> [u8; HEAD] {
        let length = u16::try_from(self.left).unwrap_or(LONGEST);
        self.left_in_block = length;
        let [low, high] = length.to_le_bytes();
        let is_last = self.left <= LONGEST.into();
        [is_last.into(), low, high, !low, !high]
    }
}
