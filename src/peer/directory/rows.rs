//! The rows of the directory: small, and found by file, by content and by peer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;

use super::changed::Changed;
use super::told::{NetworkFile, Options};
use crate::hash::BlobHash;
use crate::name_form;
use crate::peer_id::PeerId;
use crate::record::FileId;

mod alike;
mod meant;

/// What a file takes beside its texts, in bytes: the row, the allocations, and its places in
/// trees whose nodes are half full.
const ROW_BYTES: usize = 448;
/// How much is taken at once from a peer that takes too much, in bytes.
const TAKEN_AT_ONCE: usize = 16 << 10;

/// A short hash of a content, or of there being none, that nobody can foresee.
type Content = u64;

/// How far a row is believed, the most first: whether nobody has signed it, how much its peer may
/// take, which is named before met, and when it was told.
type Standing = (bool, Reverse<usize>, u32);

/// A file and its content: two peers that tell of both alike tell of one file.
pub(super) type RowKey = (FileId, Content);

#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By file, then by the peer's number.
    by_file: BTreeMap<(FileId, Content, u32), Box<Row>>,
    /// By content, then by the peer's number.
    by_content: BTreeSet<(Content, u32, FileId)>,
    /// By content and name together: those that are one to people. Then in the order in
    /// which they stand for all of them, never by their ids, which anybody chooses.
    alike: BTreeSet<(Content, Standing, FileId, u32)>,
    keys: RandomState,
    numbers: HashMap<PeerId, u32>,
    slots: Vec<Option<Slot>>,
    pub(super) bytes: usize,
    pub(super) changes: u64,
    /// How many files there are, those that are alike counted once.
    pub(super) files: usize,
    /// Of which contents the holders have changed, where that is followed.
    pub(super) changed: Option<Changed>,
    /// Counts what was told, for the order.
    told: u32,
}

/// What one peer told of one file.
#[derive(Debug)]
pub(super) struct Row {
    hash: Option<BlobHash>,
    size: u64,
    /// When it was told, in the order of all.
    order: u32,
    /// In which reading of the peer it was told last.
    reading: u32,
    /// Whether it is a copy that the peer holds for another, and no file of its own.
    is_copy: bool,
    name_bytes: u16,
    /// None as the greatest.
    type_bytes: u16,
    /// The name, the content type, and the time of the upload.
    texts: Box<str>,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Slot {
    id: PeerId,
    pub(super) files: BTreeSet<RowKey>,
    /// How many of them are copies that it holds for others.
    pub(super) copies: usize,
    pub(super) bytes: usize,
    /// The last moment that was heard of it, by its clock.
    pub(super) heard: u64,
    pub(super) reading: u32,
    pub(super) partial: bool,
    pub(super) named: bool,
    pub(super) served: bool,
}

impl Row {
    fn new(file: &NetworkFile, order: u32, reading: u32, is_copy: bool) -> Option<Self> {
        let content_type = file.content_type.as_deref();
        let texts = [
            &file.name,
            content_type.unwrap_or_default(),
            &file.uploaded_at,
        ];
        Some(Self {
            hash: file.hash,
            size: file.size,
            order,
            reading,
            is_copy,
            name_bytes: u16::try_from(file.name.len()).ok()?,
            type_bytes: match content_type {
                Some(text) => u16::try_from(text.len()).ok().filter(|it| *it < u16::MAX)?,
                None => u16::MAX,
            },
            texts: texts.concat().into(),
        })
    }

    fn split(&self) -> (&str, Option<&str>, &str) {
        let (name, rest) = self.texts.split_at(self.name_bytes.into());
        if self.type_bytes == u16::MAX {
            return (name, None, rest);
        }
        let (content_type, at) = rest.split_at(self.type_bytes.into());
        (name, Some(content_type), at)
    }

    /// Whether its name holds this text, folded.
    pub(super) fn has_name(&self, part: Option<&str>) -> bool {
        part.is_none_or(|part| name_form::holds(self.name(), part))
    }

    pub(super) fn name(&self) -> &str {
        self.split().0
    }

    pub(super) fn file(&self, id: FileId) -> NetworkFile {
        let (name, content_type, uploaded_at) = self.split();
        NetworkFile {
            id,
            hash: self.hash,
            name: name.to_owned(),
            size: self.size,
            content_type: content_type.map(str::to_owned),
            uploaded_at: uploaded_at.to_owned(),
        }
    }

    fn bytes(&self) -> usize {
        // Allocations come in sixteens.
        ROW_BYTES + self.texts.len().next_multiple_of(16)
    }
}

impl Slot {
    fn new(id: PeerId) -> Self {
        Self {
            id,
            files: BTreeSet::new(),
            copies: 0,
            bytes: 0,
            heard: 0,
            reading: 0,
            partial: false,
            named: false,
            served: false,
        }
    }

    /// Whether what it tells is signed.
    fn is_proven(&self) -> bool {
        self.id.belongs_to_a_key()
    }

    /// How much more than others it may take.
    fn weight(&self) -> usize {
        match (self.named, self.served, self.is_proven()) {
            (true, ..) => 16,
            (false, true, _) => 4,
            (false, false, true) => 2,
            (false, false, false) => 1,
        }
    }
}

impl Rows {
    /// Whether nothing is left of what was told.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let rows = self.by_file.is_empty() && self.by_content.is_empty() && self.alike.is_empty();
        rows && self.numbers.is_empty() && self.files == 0
    }

    /// The number of a peer that is known here.
    pub(super) fn number(&self, peer: PeerId) -> Option<u32> {
        self.numbers.get(&peer).copied()
    }

    fn slot_at(&self, number: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(number).ok()?)?.as_ref()
    }

    fn slot_at_mut(&mut self, number: u32) -> Option<&mut Slot> {
        let at = usize::try_from(number).ok()?;
        self.slots.get_mut(at)?.as_mut()
    }

    pub(super) fn known_slot(&self, peer: PeerId) -> Option<&Slot> {
        self.slot_at(self.number(peer)?)
    }

    /// The place of a peer, new where it is not known here.
    pub(super) fn slot(&mut self, peer: PeerId) -> &mut Slot {
        let known = self.number(peer);
        let at = known.and_then(|number| usize::try_from(number).ok());
        let at = at.unwrap_or_else(|| {
            let free = self.slots.iter().position(Option::is_none);
            let at = free.unwrap_or(self.slots.len());
            if free.is_none() {
                self.slots.push(None);
            }
            let number = u32::try_from(at).unwrap_or(u32::MAX);
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
        let reading = self.slot(peer).reading;
        let Some(number) = self.number(peer) else {
            return false;
        };
        let key = (file.id, self.keys.hash_one(file.hash));
        let before = self.take(number, key);
        let known = before.as_ref().map(|row| row.hash);
        self.told = self.told.wrapping_add(1);
        // Who repeats what it told is as early as it was.
        let same = before.filter(|row| row.name() == file.name);
        let order = same.map_or(self.told, |row| row.order);
        let row = Row::new(file, order, reading, is_copy);
        let row = row.filter(|it| self.make_room(number, file.id, it.bytes(), options));
        let is_put = row.is_some();
        // Who repeats it held it before, too.
        if known != row.as_ref().map(|row| row.hash) {
            let now = row.as_ref().and_then(|row| row.hash);
            Changed::note(&mut self.changed, file.id, known.flatten(), true);
            Changed::note(&mut self.changed, file.id, now, false);
        }
        if let Some(row) = row {
            self.insert(number, key, row);
        }
        is_put
    }

    /// Lets older files of this peer go, or of one that takes more than its share.
    fn make_room(&mut self, number: u32, id: FileId, bytes: usize, options: &Options) -> bool {
        loop {
            let Some(own) = self.slot_at(number) else {
                return false;
            };
            let (of_peer, weight) = (own.bytes + bytes, own.weight());
            let of_all = self.bytes + bytes;
            let from = if of_peer > options.max_peer_bytes {
                number
            } else if of_all > options.max_bytes {
                let larger = self.largest();
                let larger = larger.filter(|(_, share)| *share > of_peer / weight);
                larger.map_or(number, |(number, _)| number)
            } else {
                return true;
            };
            if from == number && own.files.first().is_none_or(|oldest| oldest.0 > id) {
                return false;
            }
            self.drop_oldest(from, if from == number { bytes } else { TAKEN_AT_ONCE });
        }
    }

    /// The peer that takes most of what it may take.
    fn largest(&self) -> Option<(u32, usize)> {
        let slots = (0..).zip(&self.slots);
        let shares = slots.filter_map(|(number, slot)| {
            let slot = slot.as_ref()?;
            Some((number, slot.bytes / slot.weight()))
        });
        shares.max_by_key(|(_, share)| *share)
    }

    fn drop_oldest(&mut self, number: u32, bytes: usize) {
        let Some(slot) = self.slot_at_mut(number) else {
            return;
        };
        slot.partial = true;
        let least = slot.bytes.saturating_sub(bytes);
        while let Some(slot) = self.slot_at(number)
            && slot.bytes > least
            && let Some(oldest) = slot.files.first().copied()
        {
            self.remove(number, oldest);
        }
    }

    fn insert(&mut self, number: u32, key: RowKey, row: Row) {
        let (id, content) = key;
        self.changes += 1;
        let bytes = row.bytes();
        if !self.is_known(key, &row) {
            self.files += 1;
        }
        if row.hash.is_some() {
            self.by_content.insert((content, number, id));
            let standing = self.standing(number, &row);
            self.alike
                .insert((self.likeness(&row), standing, id, number));
        }
        if let Some(slot) = self.slot_at_mut(number) {
            slot.files.insert(key);
            slot.copies += usize::from(row.is_copy);
            slot.bytes += bytes;
        }
        self.bytes += bytes;
        self.by_file.insert((id, content, number), Box::new(row));
    }

    /// Removes what one peer told of a file, if it did.
    fn remove(&mut self, number: u32, key: RowKey) {
        if let Some(row) = self.take(number, key) {
            Changed::note(&mut self.changed, key.0, row.hash, true);
        }
    }

    /// Takes what one peer told of a file, if it did, from everywhere.
    fn take(&mut self, number: u32, key: RowKey) -> Option<Row> {
        let (id, content) = key;
        let row = *self.by_file.remove(&(id, content, number))?;
        self.changes += 1;
        let bytes = row.bytes();
        if row.hash.is_some() {
            self.by_content.remove(&(content, number, id));
            let standing = self.standing(number, &row);
            self.alike
                .remove(&(self.likeness(&row), standing, id, number));
        }
        if !self.is_known(key, &row) {
            self.files -= 1;
        }
        if let Some(slot) = self.slot_at_mut(number) {
            slot.files.remove(&key);
            slot.copies -= usize::from(row.is_copy);
            slot.bytes -= bytes;
        }
        self.bytes -= bytes;
        Some(row)
    }

    /// Whether this file is told of, or one that is like it.
    fn is_known(&self, (id, content): RowKey, row: &Row) -> bool {
        if row.hash.is_none() {
            let mut rows = self
                .by_file
                .range((id, content, 0)..=(id, content, u32::MAX));
            return rows.next().is_some();
        }
        self.alike_from(self.likeness(row)).next().is_some()
    }

    fn likeness(&self, row: &Row) -> Content {
        self.keys
            .hash_one((row.hash, name_form::composed(row.name())))
    }

    /// Whether what the peer with this number tells is signed by nobody.
    fn is_unproven(&self, number: u32) -> bool {
        self.slot_at(number).is_none_or(|slot| !slot.is_proven())
    }

    fn standing(&self, number: u32, row: &Row) -> Standing {
        let weight = self.slot_at(number).map_or(0, Slot::weight);
        (self.is_unproven(number), Reverse(weight), row.order)
    }

    /// Removes what one peer told of a file, with any content; whether it did.
    pub(super) fn withdraw(&mut self, peer: PeerId, id: FileId) -> bool {
        let keys: Vec<_> = self.keys_of(peer, id).collect();
        for (number, key) in &keys {
            self.remove(*number, *key);
        }
        !keys.is_empty()
    }

    /// Under which contents a peer tells of a file: mostly one.
    fn keys_of(&self, peer: PeerId, id: FileId) -> impl Iterator<Item = (u32, RowKey)> {
        let known = self.number(peer).zip(self.known_slot(peer));
        known.into_iter().flat_map(move |(number, slot)| {
            let keys = slot.files.range((id, 0)..=(id, Content::MAX));
            keys.map(move |key| (number, *key))
        })
    }

    /// What one peer told of a file.
    pub(super) fn told_by(&self, peer: PeerId, id: FileId) -> Option<&Row> {
        let (number, key) = self.keys_of(peer, id).next()?;
        self.row(number, key)
    }

    /// What one peer told of a file with this content.
    pub(super) fn told_with(&self, peer: PeerId, id: FileId, hash: &BlobHash) -> Option<&Row> {
        let row = self.row(self.number(peer)?, (id, self.keys.hash_one(Some(hash))))?;
        (row.hash.as_ref() == Some(hash)).then_some(row)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        let Some(number) = self.number(peer) else {
            return;
        };
        self.drop_oldest(number, usize::MAX);
        let named = self.slot_at(number).is_some_and(|slot| slot.named);
        self.numbers.remove(&peer);
        let at = usize::try_from(number).ok();
        if let Some(slot) = at.and_then(|at| self.slots.get_mut(at)) {
            *slot = None;
        }
        if named {
            self.slot(peer).named = true;
        }
    }

    /// Drops what a peer has not told of its own files in its last reading.
    pub(super) fn drop_unread(&mut self, peer: PeerId) {
        let reading = self.known_slot(peer).map(|slot| slot.reading);
        self.drop_rows(peer, |row| !row.is_copy && Some(row.reading) != reading);
    }

    /// Drops what a peer has told of copies that it holds for others.
    pub(super) fn drop_copies(&mut self, peer: PeerId) {
        self.drop_rows(peer, |row| row.is_copy);
    }

    fn drop_rows(&mut self, peer: PeerId, is_dropped: impl Fn(&Row) -> bool) {
        let Some((number, slot)) = self.number(peer).zip(self.known_slot(peer)) else {
            return;
        };
        let dropped = |key: &&RowKey| self.row(number, **key).is_some_and(&is_dropped);
        let dropped: Vec<_> = slot.files.iter().filter(dropped).copied().collect();
        for key in dropped {
            self.remove(number, key);
        }
    }

    pub(super) fn partial_peers(&self) -> usize {
        let slots = self.slots.iter().flatten();
        slots.filter(|slot| slot.partial).count()
    }

    pub(super) fn row(&self, number: u32, (id, content): RowKey) -> Option<&Row> {
        self.by_file.get(&(id, content, number)).map(|row| &**row)
    }

    /// The first id that is told of, from this one on.
    pub(super) fn first_id(&self, from: Option<FileId>) -> Option<FileId> {
        let from = from.unwrap_or(FileId::from_bytes([0; 16]));
        let mut rows = self.by_file.range((from, 0, 0)..);
        rows.next().map(|((id, ..), _)| *id)
    }

    /// The last id that is told of before this one.
    pub(super) fn last_id(&self, before: Option<FileId>) -> Option<FileId> {
        let to = before.map_or(Bound::Unbounded, |id| Bound::Excluded((id, 0, 0)));
        let mut rows = self.by_file.range((Bound::Unbounded, to));
        rows.next_back().map(|((id, ..), _)| *id)
    }

    /// What is told of an id by those who can be believed most, for each content that one of
    /// them tells of: by whom, in the order in which they are believed. Where keys have signed
    /// anything of it, nobody else is heard.
    pub(super) fn told_of(&self, id: FileId) -> BTreeMap<Option<BlobHash>, Vec<(u32, &Row)>> {
        let rows = || {
            let all = (id, 0, 0)..=(id, Content::MAX, u32::MAX);
            let rows = self.by_file.range(all);
            rows.map(|((.., number), row)| (self.is_unproven(*number), *number, &**row))
        };
        let nobody_signs = rows().all(|(is_unproven, ..)| is_unproven);
        let mut told = BTreeMap::<_, Vec<_>>::new();
        for (_, number, row) in rows().filter(|it| it.0 == nobody_signs) {
            told.entry(row.hash).or_default().push((number, row));
        }
        for rows in told.values_mut() {
            rows.sort_by_key(|(number, row)| self.standing(*number, row));
        }
        told
    }
}
