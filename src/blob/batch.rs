//! Pieces of content that are written together.

use bytes::Bytes;

use crate::room::{LONGEST, Room};

/// A batch is full when it has taken its room, or has this many pieces: each, however short,
/// may hold on to a whole receive buffer.
const MOST_PIECES: usize = 64;

/// Pieces that are written together. Its room is given back on drop.
#[derive(Default)]
pub(super) struct Batch {
    pieces: Vec<Bytes>,
    /// Taken with the first piece that is pushed.
    room: Option<Room>,
}

impl Batch {
    /// One of pieces that take no room of their own.
    pub(super) fn of(pieces: Vec<Bytes>) -> Self {
        Self { pieces, room: None }
    }

    /// Takes one more.
    pub(super) fn push(&mut self, piece: Bytes) {
        self.room.get_or_insert_with(|| Room::take(LONGEST));
        self.pieces.push(piece);
    }

    /// Whether it is to be written before it takes more.
    pub(super) fn is_full(&self) -> bool {
        let bytes: usize = self.pieces.iter().map(Bytes::len).sum();
        let room = self.room.as_ref().map_or(0, Room::bytes);
        bytes >= room || self.pieces.len() >= MOST_PIECES
    }

    /// What it has taken, in order.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }
}
