//! Room in memory for the pieces of transfers and of lists, which all of them share.
//!
//! A transfer reads or writes ahead by a piece or two, and a list is written a piece ahead. Where
//! there are few, long pieces are fastest; thousands that stand still must not fill the memory. So
//! each piece takes its room from one budget, and gets less the less is left. Nobody waits for
//! room: whoever stands still would then stop the others.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// The room of all pieces together, in bytes; beyond it each gets [`SHORTEST`].
const BUDGET: u64 = 256 << 20;
/// The longest piece of content that is worth it, in bytes.
pub(crate) const LONGEST: u64 = 512 << 10;
/// The shortest piece, in bytes.
const SHORTEST: u64 = 4 << 10;
/// No piece takes more than this part of what is left.
const PART: u64 = 16;

static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Room for a piece; given back on drop.
pub(crate) struct Room(u64);

/// Bytes with the room that they take.
struct Piece {
    bytes: Vec<u8>,
    _room: Room,
}

impl Room {
    /// Room for a piece of at most `wanted` bytes.
    pub(crate) fn take(wanted: u64) -> Self {
        let bytes = length(wanted, TAKEN.load(Ordering::Relaxed));
        TAKEN.fetch_add(bytes, Ordering::Relaxed);
        Self(bytes)
    }

    /// How long the piece may be, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The piece in this room, which is given back when the last of it is gone. It counts as what
    /// it is, also where it came to be shorter or longer than its room.
    pub(crate) fn hold(mut self, bytes: Vec<u8>) -> Bytes {
        let length = bytes.len() as u64;
        TAKEN.fetch_add(length, Ordering::Relaxed);
        TAKEN.fetch_sub(std::mem::replace(&mut self.0, length), Ordering::Relaxed);
        Bytes::from_owner(Piece { bytes, _room: self })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn length(wanted: u64, taken: u64) -> u64 {
    let left = BUDGET.saturating_sub(taken);
    wanted.min((left / PART).max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_get_shorter_where_little_is_left() {
        assert_eq!(length(100, 0), 100);
        assert_eq!(length(LONGEST, 0), LONGEST);
        assert_eq!(length(LONGEST, BUDGET - PART * LONGEST), LONGEST);
        assert_eq!(length(u64::MAX, 0), BUDGET / PART);
        assert_eq!(length(u64::MAX, BUDGET - (1 << 20)), (1 << 20) / PART);
        assert_eq!(length(u64::MAX, BUDGET), SHORTEST);
        assert_eq!(length(u64::MAX, 2 * BUDGET), SHORTEST);
        assert_eq!(length(100, 2 * BUDGET), 100);
    }

    #[test]
    fn any_number_of_pieces_takes_little_more_than_the_budget() {
        let (mut taken, many) = (0, 16_384);
        for _ in 0..many {
            taken += length(u64::MAX, taken);
        }
        assert!(taken <= BUDGET + many * SHORTEST, "{taken}");
    }
}
