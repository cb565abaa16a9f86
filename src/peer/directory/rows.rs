//! The rows of the directory: small, and found by file, by content and by peer.

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::changed::Changed;
use super::told::{NetworkFile, Options};
use crate::hash::BlobHash;
use crate::name_form;
use crate::peer_id::PeerId;
use crate::record::FileId;

mod alike;
mod chore;
mod chores;
mod meant;
mod order;
mod row;
mod slab;
mod slot;
mod types;

use chore::Chore;
use order::{Order, Place};
pub(super) use row::Row;
use slab::{Handle, Slab};
pub(super) use slot::Slot;
use types::Types;

/// What a file takes at most beside the texts that do not lie in its row, in bytes: the row, and
/// its places in the orders.
const ROW_BYTES: usize =
    size_of::<Row>() + 2 * Order::<Handle>::MOST_BYTES + 2 * Order::<Hashed>::MOST_BYTES;
/// How much is taken at once from a peer that takes too much, in bytes.
const TAKEN_AT_ONCE: usize = 16 << 10;

/// A short hash of a content, or of there being none, that nobody can foresee.
type Content = u64;

/// How far a row is believed, the most first: its rank, and when it was told.
type Standing = (u8, u32);

/// A file and its content: two peers that tell of both alike tell of one file.
pub(super) type RowKey = (FileId, Content);

/// A row in an order by a hash, of which the first half is here: the rest is looked at only where
/// that is the same.
#[derive(Debug, Clone, Copy)]
struct Hashed {
    first: u32,
    row: Handle,
}

impl Hashed {
    fn new(hash: u64, row: Handle) -> Self {
        let first = u32::try_from(hash >> 32).unwrap_or(u32::MAX);
        Self { first, row }
    }
}

#[derive(Debug, Default)]
pub(super) struct Rows {
    slab: Slab,
    types: Types,
    /// By file and content, then by the peer's number.
    by_file: Order<Handle>,
    /// Those with a hash by content, then by the peer's number.
    by_content: Order<Hashed>,
    /// The same by content and name together: those that are one to people. Then in the order in
    /// which they stand for all of them, never by their ids, which anybody chooses.
    alike: Order<Hashed>,
    keys: Keys,
    numbers: HashMap<PeerId, u16>,
    slots: Vec<Option<Slot>>,
    /// What is to be done with all rows of a peer, some at a time.
    chores: VecDeque<Chore>,
    pub(super) bytes: usize,
    pub(super) changes: u64,
    /// How many files there are, those that are alike counted once.
    pub(super) files: usize,
    /// Of which contents the holders have changed, where that is followed.
    pub(super) changed: Option<Changed>,
    /// Counts what was told, for the order.
    told: u32,
}

/// Hashes that nobody can foresee.
#[derive(Debug, Default)]
struct Keys(RandomState);

impl Keys {
    fn content(&self, hash: Option<BlobHash>) -> Content {
        self.0.hash_one(hash)
    }

    fn likeness(&self, hash: Option<BlobHash>, name: &str) -> u64 {
        self.0.hash_one((hash, name_form::composed(name)))
    }

    fn content_of(&self, row: &Row) -> Content {
        self.content(row.hash())
    }

    fn likeness_of(&self, row: &Row) -> u64 {
        self.likeness(row.hash(), row.name())
    }
}

impl Rows {
    /// Whether nothing is left of what was told.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let rows = self.by_file.is_empty() && self.by_content.is_empty() && self.alike.is_empty();
        let rows = rows && self.slab.len() == 0 && self.types.is_empty();
        rows && self.numbers.is_empty() && self.files == 0 && self.chores.is_empty()
    }

    /// The number of a peer that is known here.
    pub(super) fn number(&self, peer: PeerId) -> Option<u16> {
        self.numbers.get(&peer).copied()
    }

    fn slot_at(&self, number: u16) -> Option<&Slot> {
        self.slots.get(usize::from(number))?.as_ref()
    }

    fn slot_at_mut(&mut self, number: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(number))?.as_mut()
    }

    pub(super) fn known_slot(&self, peer: PeerId) -> Option<&Slot> {
        self.slot_at(self.number(peer)?)
    }

    /// The place of a peer, new where it is not known here.
    pub(super) fn slot(&mut self, peer: PeerId) -> &mut Slot {
        let known = self.number(peer);
        let at = known.map(usize::from);
        let at = at.unwrap_or_else(|| {
            let free = self.slots.iter().position(Option::is_none);
            let at = free.unwrap_or(self.slots.len());
            if free.is_none() {
                self.slots.push(None);
            }
            let number = u16::try_from(at).unwrap_or(u16::MAX);
            self.numbers.insert(peer, number);
            at
        });
        #[allow(clippy::indexing_slicing)] // It was there, or was made just now.
        self.slots[at].get_or_insert_with(|| Slot::new(peer))
    }

    /// Adds or replaces what a peer tells of a file, or of a copy that it holds for another;
    /// whether there was room.
    pub(super) fn put(
        &mut self,
        peer: PeerId,
        file: &NetworkFile,
        is_copy: bool,
        options: &Options,
    ) -> bool {
        let slot = self.slot(peer);
        let (reading, rank) = (slot.reading, slot.rank());
        let Some(number) = self.number(peer) else {
            return false;
        };
        let before = self.find(number, (file.id, self.keys.content(file.hash)));
        if let Some(row) = before
            && self.slab.get(row).says(file, is_copy, &self.types)
        {
            // Who repeats what it told is as early as it was.
            self.slab.get_mut(row).reading = reading;
            self.changes += 1;
            return true;
        }
        // At its end all are told at one time: nobody who comes then stands before others.
        self.told = self.told.saturating_add(1);
        let before = before.and_then(|row| self.take(row));
        let known = before.as_ref().map(Row::hash);
        let same = before.filter(|row| row.name() == file.name);
        let order = same.map_or(self.told, |row| row.order);
        let row = Row::new(file, &mut self.types, number);
        let row = row.map(|it| it.told(order, reading, rank, is_copy));
        let row = row.and_then(|it| self.fit(it, options));
        let is_put = row.is_some();
        // Who repeats it held it before, too.
        if known != row.as_ref().map(Row::hash) {
            let now = row.as_ref().and_then(Row::hash);
            Changed::note(&mut self.changed, file.id, known.flatten(), true);
            Changed::note(&mut self.changed, file.id, now, false);
        }
        if let Some(row) = row {
            self.insert(row);
        }
        is_put
    }

    /// The same row, if there is room for it.
    fn fit(&mut self, row: Row, options: &Options) -> Option<Row> {
        if self.make_room(row.number, row.id, bytes(&row), options) {
            return Some(row);
        }
        row.known_type().inspect(|it| self.types.release(*it));
        None
    }

    /// Lets older files of this peer go, or of one that takes more than its share.
    fn make_room(&mut self, number: u16, id: FileId, bytes: usize, options: &Options) -> bool {
        loop {
            let Some(own) = self.slot_at(number) else {
                return false;
            };
            let (of_peer, weight) = (own.bytes + bytes, own.weight());
            let of_all = self.bytes + bytes;
            let from = if of_peer > options.max_peer_bytes {
                number
            } else if of_all > options.max_bytes || !self.slab.has_room() {
                let larger = self.largest();
                let larger = larger.filter(|(_, share)| *share > of_peer / weight);
                larger.map_or(number, |(number, _)| number)
            } else {
                return true;
            };
            let oldest = own.files.first().map(|it| self.slab.get(it).id);
            if from == number && oldest.is_none_or(|oldest| oldest > id) {
                return false;
            }
            self.drop_oldest(from, if from == number { bytes } else { TAKEN_AT_ONCE });
        }
    }

    /// The peer that takes most of what it may take; first of all one that is to be forgotten.
    fn largest(&self) -> Option<(u16, usize)> {
        let slots = (0..).zip(&self.slots);
        let shares = slots.filter_map(|(number, slot)| {
            let slot = slot.as_ref()?;
            let share = slot.bytes / slot.weight();
            let is_left = slot.is_gone && slot.bytes > 0;
            Some((number, if is_left { usize::MAX } else { share }))
        });
        shares.max_by_key(|(_, share)| *share)
    }

    fn drop_oldest(&mut self, number: u16, bytes: usize) {
        let Some(slot) = self.slot_at_mut(number) else {
            return;
        };
        slot.cut.note();
        let least = slot.bytes.saturating_sub(bytes);
        while let Some(slot) = self.slot_at(number)
            && slot.bytes > least
            && let Some(oldest) = slot.files.first()
        {
            self.remove(oldest);
        }
    }

    fn insert(&mut self, row: Row) {
        let (number, hash, is_copy) = (row.number, row.hash(), row.is_copy());
        let bytes = bytes(&row);
        self.changes += 1;
        let likeness = self.keys.likeness_of(&row);
        if !self.is_known(&row, likeness) {
            self.files += 1;
        }
        let handle = self.slab.push(row);
        let [by_file, of_peer] = self.places_of(handle);
        self.by_file.insert(by_file, handle);
        if hash.is_some() {
            let [by_content, alike] = self.hashed_of(handle, likeness);
            self.by_content.insert(by_content.0, by_content.1);
            self.alike.insert(alike.0, alike.1);
        }
        if let Some(slot) = self.slot_at_mut(number) {
            slot.files.insert(of_peer, handle);
            slot.copies += usize::from(is_copy);
            slot.bytes += bytes;
        }
        self.bytes += bytes;
    }

    /// Removes what one peer told of a file.
    fn remove(&mut self, handle: Handle) {
        if let Some(row) = self.take(handle) {
            Changed::note(&mut self.changed, row.id, row.hash(), true);
        }
    }

    /// Takes what one peer told of a file from everywhere.
    fn take(&mut self, handle: Handle) -> Option<Row> {
        let [by_file, of_peer] = self.places_of(handle);
        let row = self.slab.get(handle);
        let (number, is_copy, bytes) = (row.number, row.is_copy(), bytes(row));
        let likeness = self.keys.likeness_of(row);
        if row.hash().is_some() {
            let [(by_content, _), (alike, _)] = self.hashed_of(handle, likeness);
            self.by_content.remove(by_content);
            self.alike.remove(alike);
        }
        self.by_file.remove(by_file);
        if let Some(slot) = self.slot_at_mut(number) {
            slot.files.remove(of_peer);
            slot.copies -= usize::from(is_copy);
            slot.bytes -= bytes;
        }
        self.bytes -= bytes;
        self.changes += 1;
        self.rename_last(handle);
        let row = self.slab.take(handle)?;
        if !self.is_known(&row, likeness) {
            self.files -= 1;
        }
        row.known_type().inspect(|it| self.types.release(*it));
        Some(row)
    }

    /// Gives the last row this handle, wherever it has a place.
    fn rename_last(&mut self, handle: Handle) {
        let last = self.slab.last();
        if last == handle {
            return;
        }
        let [by_file, of_peer] = self.places_of(last);
        let row = self.slab.get(last);
        let number = row.number;
        if row.hash().is_some() {
            let [by_content, alike] = self.hashed_of(last, self.keys.likeness_of(row));
            let renamed = |it: Hashed| Hashed { row: handle, ..it };
            self.by_content.replace(by_content.0, renamed(by_content.1));
            self.alike.replace(alike.0, renamed(alike.1));
        }
        self.by_file.replace(by_file, handle);
        if let Some(slot) = self.slot_at_mut(number) {
            slot.files.replace(of_peer, handle);
        }
    }

    /// Where this row has its places by file: among all, and among those of its peer.
    fn places_of(&self, handle: Handle) -> [Place; 2] {
        let row = self.slab.get(handle);
        let key = (row.id, self.keys.content_of(row));
        let of_peer = self.slot_at(row.number);
        let of_peer = of_peer.map(|slot| self.place_in(&slot.files, key, 0));
        let by_file = self.place_in(&self.by_file, key, row.number);
        [by_file, of_peer.unwrap_or(by_file)]
    }

    /// Where the first row is that is not before this file, content and number of a peer.
    fn place_in(&self, order: &Order<Handle>, (id, content): RowKey, number: u16) -> Place {
        order.place(|it| {
            let row = self.slab.get(it);
            let by_content = || self.keys.content_of(row).cmp(&content);
            let ordering = row.id.cmp(&id).then_with(by_content);
            ordering.then_with(|| row.number.cmp(&number)) == Ordering::Less
        })
    }

    /// Where this row, which has a hash and is like others so, has its places by content and among
    /// those that are alike, and what is there.
    fn hashed_of(&self, handle: Handle, likeness: u64) -> [(Place, Hashed); 2] {
        let row = self.slab.get(handle);
        let content = self.keys.content_of(row);
        let by_content = self.place_by_content(content, row.number, row.id);
        let alike = self.place_alike(likeness, standing(row), row.id, row.number);
        [
            (by_content, Hashed::new(content, handle)),
            (alike, Hashed::new(likeness, handle)),
        ]
    }

    fn place_by_content(&self, content: Content, number: u16, id: FileId) -> Place {
        let first = Hashed::new(content, 0).first;
        self.by_content.place(|it| {
            let ordering = it.first.cmp(&first).then_with(|| {
                let row = self.slab.get(it.row);
                let by_content = self.keys.content_of(row).cmp(&content);
                by_content.then_with(|| (row.number, row.id).cmp(&(number, id)))
            });
            ordering == Ordering::Less
        })
    }

    /// Whether this file is told of, or one that is like it.
    fn is_known(&self, row: &Row, likeness: u64) -> bool {
        if row.hash().is_none() {
            let content = self.keys.content(None);
            let place = self.place_in(&self.by_file, (row.id, content), 0);
            let next = self.by_file.get(place).map(|it| self.slab.get(it));
            return next.is_some_and(|it| it.id == row.id && it.hash().is_none());
        }
        self.alike_from(likeness).next().is_some()
    }

    /// Whether what the peer with this number tells is signed by nobody.
    fn is_unproven(&self, number: u16) -> bool {
        self.slot_at(number).is_none_or(|slot| !slot.is_proven())
    }

    /// Removes what one peer told of a file, with any content; whether it did.
    pub(super) fn withdraw(&mut self, peer: PeerId, id: FileId) -> bool {
        let mut is_told = false;
        loop {
            // Handles are others after each removal.
            let row = self.rows_of(peer, id).next();
            match row {
                Some(row) => self.remove(row),
                None => return is_told,
            }
            is_told = true;
        }
    }

    /// What a peer tells of a file: mostly with one content.
    fn rows_of(&self, peer: PeerId, id: FileId) -> impl Iterator<Item = Handle> {
        let slot = self.known_slot(peer).into_iter();
        slot.flat_map(move |slot| {
            let place = self.place_in(&slot.files, (id, 0), 0);
            let rows = slot.files.from(place);
            rows.take_while(move |it| self.slab.get(*it).id == id)
        })
    }

    /// What the peer with this number told of a file with this content.
    fn find(&self, number: u16, key: RowKey) -> Option<Handle> {
        let files = &self.slot_at(number)?.files;
        let row = files.get(self.place_in(files, key, 0))?;
        let found = self.slab.get(row);
        (found.id == key.0 && self.keys.content_of(found) == key.1).then_some(row)
    }

    /// What one peer told of a file.
    pub(super) fn told_by(&self, peer: PeerId, id: FileId) -> Option<NetworkFile> {
        let row = self.rows_of(peer, id).next()?;
        Some(self.file(self.slab.get(row)))
    }

    /// What one peer told of a file with this content.
    pub(super) fn told_with(
        &self,
        peer: PeerId,
        id: FileId,
        hash: &BlobHash,
    ) -> Option<NetworkFile> {
        let key = (id, self.keys.content(Some(*hash)));
        let row = self.slab.get(self.find(self.number(peer)?, key)?);
        (row.hash().as_ref() == Some(hash)).then(|| self.file(row))
    }

    /// The newest of the files with exactly this name that a peer told of.
    pub(super) fn newest_named(&self, peer: PeerId, name: &str) -> Option<NetworkFile> {
        let rows = self.known_slot(peer)?.files.back();
        let mut rows = rows.map(|it| self.slab.get(it));
        let row = rows.find(|row| name_form::is_same(row.name(), name))?;
        Some(self.file(row))
    }

    fn file(&self, row: &Row) -> NetworkFile {
        row.file(&self.types)
    }

    pub(super) fn partial_peers(&self) -> usize {
        let slots = self.slots.iter().flatten();
        slots
            .filter(|slot| slot.cut.is_partial && !slot.is_gone)
            .count()
    }
}

fn standing(row: &Row) -> Standing {
    (row.rank(), row.order)
}

/// What a row takes at most, in bytes.
fn bytes(row: &Row) -> usize {
    ROW_BYTES + row.text_bytes()
}
