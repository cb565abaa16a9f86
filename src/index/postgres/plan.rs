//! What a batch of changes comes to: decided under the lock of the heads, from what is there then.

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::rows::{self, Heads};
use crate::hash::BlobHash;
use crate::index::{Given, Put};
use crate::pack_rows::ENTRY_OVERHEAD;
use crate::place::Place;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};
use crate::turn::Turn;

/// A change that is asked for.
pub(super) enum Wish<'a> {
    /// A file of content that is at `place`.
    Put {
        file: &'a NewFile,
        place: Place,
        /// Whether the place was given out for it, so that it has a lease.
        is_own: bool,
        /// How long the pack is that was written for it and others, in bytes.
        pack_bytes: Option<u64>,
        /// At the upload or the copy that the file ends.
        turn: Option<Turn>,
        /// What it has from elsewhere.
        given: Option<Given>,
    },
    /// No file with this id.
    Remove(FileId),
    /// A content that is damaged is at `place`, where it was written anew for nobody else.
    Mend {
        hash: BlobHash,
        place: Place,
        /// How long the pack is that was written for it and others, in bytes.
        pack_bytes: Option<u64>,
    },
}

/// What is there, as far as the wishes are about it.
pub(super) struct Found {
    pub(super) heads: Heads,
    pub(super) files: HashMap<FileId, FileRecord>,
    pub(super) blobs: HashMap<BlobHash, Blob>,
    /// By object.
    pub(super) places: HashMap<Place, State>,
    /// The turns at uploads that are no file yet, and at copies.
    pub(super) turns: Vec<Turn>,
}

/// A content that files need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) place: Place,
    pub(super) size: i64,
    pub(super) users: i64,
    pub(super) is_damaged: bool,
}

/// What is in a place; nothing leads back from the last two but for garbage that somebody still
/// knew as content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Written,
    Live,
    Garbage,
    Deleted,
}

/// What becomes of a wish.
#[derive(Debug)]
pub(super) enum Outcome {
    Put(Put),
    /// What it counted on is not there any more.
    Lost,
    /// Another node has the turn at what it was to end, or has ended it.
    TakenOver,
    /// It has its id from elsewhere, and that is none that could come next.
    OutOfOrder,
    /// It is new, and longer than what is free; that is none where it never fits.
    OverQuota {
        free: Option<u64>,
    },
    Removed(Option<FileRecord>),
    /// Whether the content is where it was written anew.
    Mended(bool),
}

/// What is to be written, and what is answered once it stands.
pub(super) struct Plan {
    pub(super) heads: Heads,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) added: Vec<FileRecord>,
    /// Which uploads and copies have become which files, and the hashes of those.
    pub(super) ended: Vec<(Uuid, FileId, BlobHash)>,
    /// Each with the number of its change.
    pub(super) removed: Vec<(i64, FileId)>,
    /// The contents that have changed, as they are now; None where no file needs one any more.
    pub(super) blobs: BTreeMap<BlobHash, Option<Blob>>,
    pub(super) live: Vec<Place>,
    pub(super) garbage: Vec<Place>,
    /// What becomes of packs: such of which nothing is needed any more are garbage.
    pub(super) packs: BTreeMap<Place, PackChange>,
    /// Where nothing is any more that a file needs.
    pub(super) left: Vec<Place>,
}

/// What becomes of a pack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PackChange {
    /// How many bytes of it are needed more than before.
    pub(super) live: i64,
    /// How long it is, in bytes, where whoever has written it says so.
    pub(super) bytes: Option<i64>,
}

/// What is there while one wish after the other is fulfilled.
struct Making {
    found: Found,
    /// How many bytes of content there may be.
    quota: Option<u64>,
    /// What the file that is made now has from elsewhere.
    given: Option<Given>,
    /// Whether such a one could not be made, so that none behind it is either.
    is_out_of_order: bool,
    touched_blobs: HashSet<BlobHash>,
    touched_places: HashSet<Place>,
    packs: BTreeMap<Place, PackChange>,
    left: Vec<Place>,
    added: Vec<FileRecord>,
    ended: Vec<(Uuid, FileId, BlobHash)>,
    removed: Vec<(i64, FileId)>,
}

/// How many bytes a content of so many takes in a pack.
fn taken(size: i64) -> i64 {
    rows::bytes(ENTRY_OVERHEAD).saturating_add(size)
}

impl State {
    /// As the tables have it.
    pub(super) fn of(letter: &str) -> Self {
        match letter {
            "w" => Self::Written,
            "l" => Self::Live,
            "g" => Self::Garbage,
            _ => Self::Deleted,
        }
    }
}

impl Plan {
    /// No content is added by which there are more than `quota` bytes.
    pub(super) fn of(found: Found, wishes: &[Wish<'_>], quota: Option<u64>) -> Self {
        let mut making = Making {
            found,
            quota,
            given: None,
            is_out_of_order: false,
            touched_blobs: HashSet::new(),
            touched_places: HashSet::new(),
            packs: BTreeMap::new(),
            left: Vec::new(),
            added: Vec::new(),
            ended: Vec::new(),
            removed: Vec::new(),
        };
        let outcomes = wishes.iter().map(|wish| match wish {
            Wish::Put {
                file,
                place,
                is_own,
                pack_bytes,
                turn,
                given,
            } => {
                making.given = *given;
                making.note_pack(*place, *pack_bytes);
                making.put_in_turn(*turn, file, *place, *is_own)
            }
            Wish::Remove(id) => Outcome::Removed(making.remove(*id)),
            Wish::Mend {
                hash,
                place,
                pack_bytes,
            } => {
                making.note_pack(*place, *pack_bytes);
                Outcome::Mended(making.mend(*hash, *place))
            }
        });
        let outcomes = outcomes.collect();
        making.end(outcomes)
    }

    /// Whether there is nothing to be written.
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.blobs.is_empty()
    }
}

impl Making {
    fn put_in_turn(
        &mut self,
        turn: Option<Turn>,
        file: &NewFile,
        place: Place,
        is_own: bool,
    ) -> Outcome {
        let Some(turn) = turn else {
            return self.put(file, place, is_own);
        };
        let turns = &mut self.found.turns;
        let Some(at) = turns.iter().position(|it| *it == turn) else {
            return Outcome::TakenOver;
        };
        let outcome = self.put(file, place, is_own);
        if let Outcome::Put(Put { record, .. }) = &outcome {
            self.found.turns.swap_remove(at);
            self.ended.push((turn.of, record.id, file.hash));
        }
        outcome
    }

    fn put(&mut self, file: &NewFile, place: Place, is_own: bool) -> Outcome {
        let last = self.found.heads.last_id;
        if let Some(given) = self.given {
            self.is_out_of_order |= !given.follows(last);
            if self.is_out_of_order {
                return Outcome::OutOfOrder;
            }
        }
        let is_there = self.is_there(place, is_own);
        let before = self.found.blobs.get(&file.hash).copied();
        let mut mended = false;
        let blob = match before {
            // Others have brought it, or it was there.
            Some(blob) if !blob.is_damaged || blob.place == place || !is_own => {
                if is_own && is_there && place.at().is_none() {
                    self.set(place, State::Garbage);
                }
                blob
            }
            // Written here, in the place of what is damaged.
            Some(blob) if is_there => {
                mended = true;
                self.mended(blob, place)
            }
            // Written here; or it was there, and nobody has begun to delete it.
            None if is_there => {
                if let Some(full) = self.over_quota(file.size) {
                    return full;
                }
                let size = rows::bytes(file.size);
                self.enter(place, size);
                Blob {
                    place,
                    size,
                    users: 0,
                    is_damaged: false,
                }
            }
            _ => return Outcome::Lost,
        };
        let users = blob.users + 1;
        self.touched_blobs.insert(file.hash);
        self.found.blobs.insert(file.hash, Blob { users, ..blob });
        let record = self.add(file, blob.users == 0);
        Outcome::Put(Put { record, mended })
    }

    /// Whether a content is in a place from now on that was damaged elsewhere.
    fn mend(&mut self, hash: BlobHash, place: Place) -> bool {
        let before = self.found.blobs.get(&hash).copied();
        let damaged = before.filter(|it| it.is_damaged && it.place != place);
        let Some(blob) = damaged.filter(|_| self.is_there(place, true)) else {
            return false;
        };
        let blob = self.mended(blob, place);
        self.touched_blobs.insert(hash);
        self.found.blobs.insert(hash, blob);
        true
    }

    /// A content that is damaged where it is, as it is in the place where it was written anew.
    fn mended(&mut self, blob: Blob, place: Place) -> Blob {
        self.leave(blob);
        self.enter(place, blob.size);
        Blob {
            place,
            is_damaged: false,
            ..blob
        }
    }

    /// Whether what was written to a place, or was known there, is there still. A pack is as long
    /// as nobody has begun to delete it, whatever else in it is needed.
    fn is_there(&self, place: Place, is_own: bool) -> bool {
        match self.found.places.get(&place.object()) {
            None | Some(State::Deleted) => false,
            Some(_) if place.at().is_some() => true,
            Some(State::Written) => is_own,
            Some(State::Garbage) => !is_own,
            Some(State::Live) => false,
        }
    }

    /// A content is needed in a place.
    fn enter(&mut self, place: Place, size: i64) {
        if place.at().is_some() {
            self.pack(place).live += taken(size);
        } else {
            self.set(place, State::Live);
        }
    }

    /// A content is not needed where it is any more.
    fn leave(&mut self, blob: Blob) {
        if blob.place.at().is_some() {
            self.pack(blob.place).live -= taken(blob.size);
        } else {
            self.set(blob.place, State::Garbage);
        }
        self.left.push(blob.place);
    }

    /// A pack is so long.
    fn note_pack(&mut self, place: Place, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.pack(place).bytes = Some(rows::bytes(bytes));
        }
    }

    fn pack(&mut self, place: Place) -> &mut PackChange {
        self.packs.entry(place.object()).or_default()
    }

    /// What becomes of new content of so many bytes, where the quota has no room for it.
    fn over_quota(&self, bytes: u64) -> Option<Outcome> {
        let quota = self.quota?;
        let free = quota.saturating_sub(rows::count(self.found.heads.blob_bytes));
        (bytes > free).then(|| Outcome::OverQuota {
            free: (bytes <= quota).then_some(free),
        })
    }

    fn add(&mut self, file: &NewFile, is_new: bool) -> FileRecord {
        let heads = &mut self.found.heads;
        let now = || (FileId::next(Some(heads.last_id)), Timestamp::now());
        let (id, uploaded_at) = self.given.map_or_else(now, |it| (it.id, it.uploaded_at));
        let record = FileRecord {
            id,
            uploaded_at,
            file: file.clone(),
        };
        heads.last_id = record.id;
        heads.changes += 1;
        heads.files += 1;
        heads.bytes += rows::bytes(file.size);
        if is_new {
            heads.blobs += 1;
            heads.blob_bytes += rows::bytes(file.size);
        }
        self.added.push(record.clone());
        record
    }

    fn remove(&mut self, id: FileId) -> Option<FileRecord> {
        let removed = self.found.files.remove(&id)?;
        let heads = &mut self.found.heads;
        heads.changes += 1;
        heads.files -= 1;
        heads.bytes -= rows::bytes(removed.file.size);
        self.removed.push((heads.changes, id));
        let hash = removed.file.hash;
        if let Some(blob) = self.found.blobs.get_mut(&hash) {
            self.touched_blobs.insert(hash);
            blob.users -= 1;
            if blob.users == 0 {
                let blob = *blob;
                heads.blobs -= 1;
                heads.blob_bytes -= blob.size;
                self.found.blobs.remove(&hash);
                self.leave(blob);
            }
        }
        Some(removed)
    }

    fn set(&mut self, place: Place, state: State) {
        self.found.places.insert(place, state);
        self.touched_places.insert(place);
    }

    fn end(self, outcomes: Vec<Outcome>) -> Plan {
        let Self { found, .. } = self;
        let touched = self.touched_blobs.into_iter();
        let in_state = |state| {
            let touched = self.touched_places.iter().copied();
            let mut places: Vec<_> = touched
                .filter(|it| found.places.get(it) == Some(&state))
                .collect();
            // In one order whoever locks them.
            places.sort_unstable();
            places
        };
        Plan {
            heads: found.heads,
            outcomes,
            added: self.added,
            ended: self.ended,
            removed: self.removed,
            blobs: touched
                .map(|hash| (hash, found.blobs.get(&hash).copied()))
                .collect(),
            live: in_state(State::Live),
            garbage: in_state(State::Garbage),
            packs: self.packs,
            left: self.left,
        }
    }
}
