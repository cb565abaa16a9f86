//! What is to be done with all rows of a peer, some at a time: of a million that takes seconds,
//! and nobody is to wait for them.

use super::chore::{Chore, Work};
use super::row::Row;
use super::slab::Handle;
use super::{RowKey, Rows, Slot};
use crate::peer_id::PeerId;
use crate::record::FileId;

/// How many rows are looked at in a turn.
const ROWS: usize = 256;

impl Rows {
    pub(in crate::peer::directory) fn forget(&mut self, peer: PeerId) {
        let Some(number) = self.numbers.remove(&peer) else {
            return;
        };
        let named = self.slot_at_mut(number).is_some_and(|slot| {
            slot.is_gone = true;
            slot.named
        });
        self.begin(Work::Forget, number);
        if named {
            self.slot(peer).named = true;
        }
    }

    /// Drops what a peer has not told of its own files in its last reading.
    pub(in crate::peer::directory) fn drop_unread(&mut self, peer: PeerId) {
        let slot = self.slot(peer);
        slot.cut.is_partial = slot.cut.since_reading;
        let reading = slot.reading;
        if let Some(number) = self.number(peer) {
            self.begin(Work::DropUnread(reading), number);
        }
    }

    /// Drops what a peer has told of copies that it holds for others.
    pub(in crate::peer::directory) fn drop_copies(&mut self, peer: PeerId) {
        if let Some(number) = self.number(peer)
            && self.slot_at(number).is_some_and(|slot| slot.copies > 0)
        {
            self.begin(Work::DropCopies, number);
        }
    }

    /// Changes what is known of a peer, by which its rows stand.
    pub(in crate::peer::directory) fn change(
        &mut self,
        peer: PeerId,
        change: impl FnOnce(&mut Slot),
    ) {
        let slot = self.slot(peer);
        let before = slot.rank();
        change(slot);
        if slot.rank() != before && !slot.files.is_empty() {
            let number = self.number(peer);
            number.inspect(|number| self.begin(Work::Rank, *number));
        }
    }

    fn begin(&mut self, work: Work, number: u16) {
        if let Some(slot) = self.slot_at(number) {
            let peer = slot.id;
            self.chores.push_back(Chore {
                work,
                peer,
                number,
                behind: None,
            });
        }
    }

    /// Does a part of what is to be done; whether there is more.
    pub(in crate::peer::directory) fn work(&mut self) -> bool {
        if let Some(mut chore) = self.chores.pop_front()
            && self.work_at(&mut chore)
        {
            // Each in its turn, so that whoever has most keeps nobody waiting.
            self.chores.push_back(chore);
        }
        !self.chores.is_empty()
    }

    /// Whether there is something to be done.
    pub(in crate::peer::directory) fn has_work(&self) -> bool {
        !self.chores.is_empty()
    }

    /// Does the next part of one; whether there is more of it.
    fn work_at(&mut self, chore: &mut Chore) -> bool {
        let (work, number) = (chore.work, chore.number);
        let slot = self.slot_at(number).filter(|slot| {
            // Another peer may have the number of one that was forgotten.
            slot.id == chore.peer && slot.is_gone == matches!(work, Work::Forget)
        });
        let Some(slot) = slot else {
            return false;
        };
        let behind = chore.behind.unwrap_or((FileId::from_bytes([0; 16]), 0));
        let begins = chore.behind.map_or(0, |_| u16::MAX);
        let rows = slot.files.from(self.place_in(&slot.files, behind, begins));
        let rows: Vec<_> = rows.take(ROWS).map(|it| self.slab.get(it)).collect();
        let is_end = rows.len() < ROWS;
        chore.behind = rows.last().map(|it| self.key(it));
        let (reading, rank) = (slot.reading, slot.rank());
        let is_due = |row: &&&Row| work.is_due(row, reading, rank);
        let due: Vec<_> = rows.iter().filter(is_due).map(|it| self.key(it)).collect();
        for key in due {
            // Handles are others after each removal.
            match self.find(number, key) {
                Some(row) if matches!(work, Work::Rank) => self.rank(row, rank),
                Some(row) => self.remove(row),
                None => {}
            }
        }
        if is_end
            && matches!(work, Work::Forget)
            && let Some(slot) = self.slots.get_mut(usize::from(number))
        {
            *slot = None;
        }
        !is_end
    }

    fn key(&self, row: &Row) -> RowKey {
        (row.id, self.keys.content_of(row))
    }

    /// Has a row stand by another rank among those that are alike.
    fn rank(&mut self, handle: Handle, rank: u8) {
        let row = self.slab.get(handle);
        let (has_hash, likeness) = (row.hash().is_some(), self.keys.likeness_of(row));
        if has_hash {
            let [_, (place, _)] = self.hashed_of(handle, likeness);
            self.alike.remove(place);
        }
        self.slab.get_mut(handle).set_rank(rank);
        if has_hash {
            let [_, (place, entry)] = self.hashed_of(handle, likeness);
            self.alike.insert(place, entry);
        }
    }
}
