//! Contents that are made again from a number, so that each answer is compared as it comes.

use larder::hash::BlobHash;

use crate::common::random::Random;

/// How many contents all clients share, so that some are kept once for many files.
const SHARED: u64 = 12;

/// Content of so many bytes, which a number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    seed: u64,
    pub(crate) size: u64,
    pub(crate) hash: BlobHash,
}

impl Content {
    /// Short ones, which share packs, and long ones; some have been there before.
    pub(crate) fn any(random: &mut Random) -> Self {
        let seed = match random.below(8) {
            0 => random.below(SHARED),
            _ => random.next(),
        };
        let mut of_seed = Random(seed);
        let size = match of_seed.below(100) {
            0..2 => 0,
            2..60 => 1 + of_seed.below(8_192),
            60..80 => 8_192 + of_seed.below(57_345),
            80..98 => 65_537 + of_seed.below(400_000),
            _ => 1_000_000 + of_seed.below(500_000),
        };
        Self::new(seed, size)
    }

    fn new(seed: u64, size: u64) -> Self {
        let hash = BlobHash::of(&made(seed, 0, size));
        Self { seed, size, hash }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        made(self.seed, 0, self.size)
    }

    /// Whether `piece` is what the content has from `at` on.
    pub(crate) fn has(&self, at: u64, piece: &[u8]) -> bool {
        let end = at + piece.len() as u64;
        end <= self.size && made(self.seed, at, end) == piece
    }
}

/// The bytes `from` to `to` of what a number tells.
fn made(seed: u64, from: u64, to: u64) -> Vec<u8> {
    let first = from / 8;
    let words = (first..to.div_ceil(8)).map(|word| word_of(seed, word));
    let bytes: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    let [skipped, length] = [from - first * 8, to - from].map(|it| usize::try_from(it).unwrap());
    bytes[skipped..skipped + length].to_vec()
}

fn word_of(seed: u64, word: u64) -> u64 {
    let mixed =
        (seed ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb)
}
