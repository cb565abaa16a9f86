//! One peer: what it holds as the rows of the directory say, and how much it may take.

use super::order::Order;
use super::slab::Handle;
use crate::peer_id::PeerId;

/// What of all that a peer has told found no room.
#[derive(Debug, Default)]
pub(in crate::peer::directory) struct Cut {
    /// Whether something did not.
    pub(in crate::peer::directory) is_partial: bool,
    /// Whether something did not that it has told since its reading began.
    pub(in crate::peer::directory) since_reading: bool,
}

/// One peer.
#[derive(Debug)]
pub(in crate::peer::directory) struct Slot {
    pub(super) id: PeerId,
    /// By file and content.
    pub(super) files: Order<Handle>,
    /// How many of them are copies that it holds for others.
    pub(super) copies: usize,
    pub(in crate::peer::directory) bytes: usize,
    /// The last moment that was heard of it, by its clock.
    pub(in crate::peer::directory) heard: u64,
    pub(in crate::peer::directory) reading: u8,
    pub(in crate::peer::directory) cut: Cut,
    pub(in crate::peer::directory) named: bool,
    pub(in crate::peer::directory) served: bool,
    /// Whether it is to be forgotten, and only its rows are still here.
    pub(super) is_gone: bool,
}

impl Slot {
    pub(super) fn new(id: PeerId) -> Self {
        Self {
            id,
            files: Order::default(),
            copies: 0,
            bytes: 0,
            heard: 0,
            reading: 0,
            cut: Cut::default(),
            named: false,
            served: false,
            is_gone: false,
        }
    }

    /// Whether what it tells is signed.
    pub(super) fn is_proven(&self) -> bool {
        self.id.belongs_to_a_key()
    }

    /// How much more than others it may take.
    pub(super) fn weight(&self) -> usize {
        match (self.named, self.served, self.is_proven()) {
            (true, ..) => 16,
            (false, true, _) => 4,
            (false, false, true) => 2,
            (false, false, false) => 1,
        }
    }

    /// How many files of its own it has told of.
    pub(in crate::peer::directory) fn own_files(&self) -> usize {
        self.files.len() - self.copies
    }

    /// How far it is believed: what is signed before all else, then who may take most.
    pub(super) fn rank(&self) -> u8 {
        let unproven = if self.is_proven() { 0 } else { 3 };
        match (self.named, self.served) {
            (true, _) => unproven,
            (false, true) => unproven + 1,
            (false, false) => unproven + 2,
        }
    }
}

impl Cut {
    /// Notes that something found no room.
    pub(in crate::peer::directory) fn note(&mut self) {
        (self.is_partial, self.since_reading) = (true, true);
    }
}
