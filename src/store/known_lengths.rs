//! Which lengths the content has that is kept: content of any other length is sure to be new.
//!
//! A filter of fixed size, which only errs by taking a length for a known one. Nothing is taken
//! out of it, so that a removal costs nothing. It is only filled where it is asked, which is
//! where a quota leaves no room.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::OnceCell;

/// How many lengths are told apart: 128 KiB of memory.
const BITS: u64 = 1 << 20;

/// The lengths of what a store keeps.
pub(super) struct KnownLengths {
    bits: Box<[AtomicU64]>,
    /// Set once all is noted that was kept before.
    pub(super) filled: OnceCell<()>,
}

impl KnownLengths {
    pub(super) fn new() -> Self {
        Self {
            bits: (0..BITS / 64).map(|_| AtomicU64::new(0)).collect(),
            filled: OnceCell::new(),
        }
    }

    /// Notes the length of content, in bytes, before a file has it.
    pub(super) fn note(&self, bytes: u64) {
        let (word, bit) = self.place(bytes);
        if let Some(word) = word {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether content of this length may have been noted; false once all is noted where there
    /// is none.
    pub(super) fn has(&self, bytes: u64) -> bool {
        let (word, bit) = self.place(bytes);
        word.is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }

    fn place(&self, bytes: u64) -> (Option<&AtomicU64>, u64) {
        // Lengths that differ by a round number are not to share a place.
        let place = (bytes ^ bytes.rotate_right(20).wrapping_mul(0x9e37_79b9)) % BITS;
        let word = usize::try_from(place / 64).ok();
        (word.and_then(|it| self.bits.get(it)), 1 << (place % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_known_once_it_was_noted_and_few_others_are() {
        let lengths = KnownLengths::new();
        let noted = |n: u64| n * 1_000_000;
        assert!(!(0..1000).any(|n| lengths.has(noted(n))));
        for n in 0..1000 {
            lengths.note(noted(n));
        }
        assert!((0..1000).all(|n| lengths.has(noted(n))));
        let others = (0..100_000).filter(|n| lengths.has(n * 777 + 5)).count();
        assert!(others < 1000, "{others} of 100000");
    }
}
