//! An index in memory, for tests.
//!
//! It gives out each place once, as one does that many nodes share: what comes again where it was
//! damaged is written beside that, which becomes garbage. So nobody waits for who deletes, and
//! nothing that is built upon an index may count on places that are named for their contents.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::page::page_of;
use super::{
    Alike, Content, Garbage, Given, Held, Hold, IndexBackend, IndexError, Intent, Put, Totals,
};
use crate::hash::BlobHash;
use crate::health::Health;
use crate::place::Place;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// An index that forgets everything on drop.
#[derive(Default)]
pub struct MemoryIndex(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    closed: bool,
    changes: u64,
    last: Option<FileId>,
    files: BTreeMap<FileId, FileRecord>,
    contents: BTreeMap<BlobHash, Row>,
    /// Where something is or may be: garbage where nobody has a use for it.
    places: BTreeMap<Place, Uses>,
    /// How many places were given out.
    given_out: u128,
}

/// A content that files need.
struct Row {
    content: Content,
    /// In bytes.
    size: u64,
}

/// What a place is used for.
#[derive(Default)]
struct Uses {
    /// Whether the content of files is there.
    is_needed: bool,
    /// How many intend to make a file of what is there, or hold it.
    holders: usize,
    /// Whether somebody deletes what is there.
    is_claimed: bool,
}

/// One of the holders of a place, until this is dropped.
struct Holder {
    state: Arc<Mutex<State>>,
    place: Place,
}

/// The claim of a place, until this is dropped.
struct Claim {
    state: Arc<Mutex<State>>,
    place: Place,
}

impl Hold for Holder {}

impl Drop for Holder {
    fn drop(&mut self) {
        self.state.lock().uses(self.place).holders -= 1;
    }
}

impl Hold for Claim {}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(uses) = self.state.lock().places.get_mut(&self.place) {
            uses.is_claimed = false;
        }
    }
}

impl MemoryIndex {
    fn open_state(&self) -> Result<MutexGuard<'_, State>, IndexError> {
        let state = self.0.lock();
        if state.closed {
            Err(IndexError::Closed)
        } else {
            Ok(state)
        }
    }

    /// The intention to make a file of a content, which is to be written to a new place unless it
    /// is there.
    fn intend_new(
        &self,
        hash: &BlobHash,
        new_place: impl FnOnce(&mut State) -> Place,
    ) -> Result<Intent, IndexError> {
        let mut state = self.open_state()?;
        let content = state.content(hash);
        let there = content.filter(Content::is_usable).map(|it| it.place);
        let place = there.unwrap_or_else(|| new_place(&mut state));
        let holder = self.holder(&mut state, place);
        Ok(Intent::new(place, content, holder))
    }

    fn holder(&self, state: &mut State, place: Place) -> Holder {
        state.uses(place).holders += 1;
        let state = Arc::clone(&self.0);
        Holder { state, place }
    }
}

impl State {
    fn uses(&mut self, place: Place) -> &mut Uses {
        self.places.entry(place).or_default()
    }

    fn content(&self, hash: &BlobHash) -> Option<Content> {
        self.contents.get(hash).map(|row| row.content)
    }

    fn new_place(&mut self) -> Place {
        self.given_out += 1;
        Place::numbered(self.given_out)
    }

    /// Adds a file whose content is at `place`, or is there already and whole.
    fn add(&mut self, file: NewFile, place: Place, given: Option<Given>) -> Put {
        let row = self.contents.entry(file.hash).or_insert_with(|| Row {
            content: Content {
                place,
                users: 0,
                checked_at: None,
                is_damaged: false,
                is_unreadable: false,
            },
            size: file.size,
        });
        let content = &mut row.content;
        content.users += 1;
        let mended = !content.is_usable() && content.place != place;
        let before = content.place;
        if mended {
            content.place = place;
            (content.is_damaged, content.is_unreadable) = (false, false);
        }
        let now = content.place;
        self.uses(before).is_needed = false;
        self.uses(now).is_needed = true;
        let now = || (FileId::next(self.last), Timestamp::now());
        let (id, uploaded_at) = given.map_or_else(now, |it| (it.id, it.uploaded_at));
        let record = FileRecord {
            id,
            uploaded_at,
            file,
        };
        self.last = Some(id);
        self.changes += 1;
        self.files.insert(id, record.clone());
        Put { record, mended }
    }

    fn remove(&mut self, id: FileId) -> Option<FileRecord> {
        let removed = self.files.remove(&id)?;
        self.changes += 1;
        let row = self.contents.get_mut(&removed.file.hash)?;
        row.content.users -= 1;
        if row.content.users == 0 {
            let place = row.content.place;
            self.contents.remove(&removed.file.hash);
            self.uses(place).is_needed = false;
        }
        Some(removed)
    }
}

#[async_trait]
impl IndexBackend for MemoryIndex {
    async fn intend(&self, hash: &BlobHash, _size: u64) -> Result<Intent, IndexError> {
        self.intend_new(hash, State::new_place)
    }

    async fn intend_at(
        &self,
        hash: &BlobHash,
        _size: u64,
        at: Place,
    ) -> Result<Intent, IndexError> {
        self.intend_new(hash, |_| at)
    }

    async fn put(&self, file: NewFile, intent: Intent) -> Result<Put, IndexError> {
        let put = self.open_state()?.add(file, intent.place(), None);
        intent.kept();
        Ok(put)
    }

    async fn restore(&self, files: Vec<(FileRecord, Intent)>) -> Result<(), IndexError> {
        // Dropped once the state is free, which each of them takes then.
        let (given, mut intents) = (Given::of(&files), Vec::new());
        let mut state = self.open_state()?;
        for (given, (record, intent)) in given.into_iter().zip(files) {
            let follows = given.follows(state.last.unwrap_or(FileId::from_bytes([0; 16])));
            if follows {
                state.add(record.file, intent.place(), Some(given));
            }
            intents.push(intent);
            if !follows {
                drop(state);
                return Err(IndexError::OutOfOrder);
            }
        }
        drop(state);
        intents.into_iter().for_each(Intent::kept);
        Ok(())
    }

    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        Ok(self.open_state()?.remove(id))
    }

    async fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        Ok(self.open_state()?.files.get(&id).cloned())
    }

    async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        Ok(self
            .open_state()?
            .files
            .values()
            .rfind(|r| r.file.is_named(name))
            .cloned())
    }

    async fn earlier(&self, all: &[Alike<'_>]) -> Result<Vec<Option<FileId>>, IndexError> {
        let state = self.open_state()?;
        let found = all.iter().map(|alike| {
            let Alike {
                name,
                hash,
                than,
                known,
            } = alike;
            state.content(hash).filter(|it| it.users > *known)?;
            let mut before = state.files.range(..than);
            let found = before.find(|(_, r)| r.file.is_named(name) && r.file.hash == *hash);
            found.map(|(id, _)| *id)
        });
        Ok(found.collect())
    }

    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.open_state()?;
        let files = state.files.range((from, Bound::Unbounded));
        page_of(files.map(|(_, r)| Ok(r.clone())), limit)
    }

    async fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.open_state()?;
        let files = state.files.range((Bound::Unbounded, to)).rev();
        page_of(files.map(|(_, r)| Ok(r.clone())), limit)
    }

    async fn locate(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        Ok(self.open_state()?.content(hash))
    }

    async fn hold(&self, hash: &BlobHash) -> Result<Option<Held>, IndexError> {
        let mut state = self.open_state()?;
        let Some(content) = state.content(hash) else {
            return Ok(None);
        };
        let holder = self.holder(&mut state, content.place);
        Ok(Some(Held::new(content, holder)))
    }

    async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError> {
        let mut state = self.open_state()?;
        let unused = state.places.iter_mut().filter(|(_, uses)| {
            let is_used = uses.is_needed || uses.holders > 0;
            !is_used && !uses.is_claimed
        });
        let claimed = unused.take(limit).map(|(place, uses)| {
            uses.is_claimed = true;
            let (state, place) = (Arc::clone(&self.0), *place);
            Garbage::new(place, Claim { state, place })
        });
        Ok(claimed.collect())
    }

    async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError> {
        for garbage in garbage {
            self.0.lock().places.remove(&garbage.place());
            garbage.collected();
        }
        Ok(())
    }

    async fn sift(&self, stored: &[Place]) -> Result<(), IndexError> {
        let mut state = self.open_state()?;
        for place in stored {
            state.uses(*place);
        }
        Ok(())
    }

    fn health(&self, place: Place, found: Health) -> Option<BlobHash> {
        let mut state = self.0.lock();
        let mut contents = state.contents.iter_mut();
        let (hash, row) = contents.find(|(_, row)| row.content.place == place)?;
        let content = &mut row.content;
        let before = (content.is_damaged, content.is_unreadable);
        content.is_damaged = found == Health::Damaged;
        content.is_unreadable = found == Health::Unreadable;
        content.checked_at = content.is_usable().then(Timestamp::now);
        let is_news = before != (content.is_damaged, content.is_unreadable);
        is_news.then_some(*hash)
    }

    fn totals(&self) -> Totals {
        let state = self.0.lock();
        let contents = || state.contents.values().map(|it| it.content);
        Totals {
            files: state.files.len() as u64,
            bytes: state.files.values().map(|it| it.file.size).sum(),
            blobs: state.contents.len() as u64,
            blob_bytes: state.contents.values().map(|it| it.size).sum(),
            damaged: contents().filter(|it| it.is_damaged).count() as u64,
            unreadable: contents().filter(|it| it.is_unreadable).count() as u64,
        }
    }

    async fn mark(&self) -> Result<u64, IndexError> {
        Ok(self.open_state()?.changes)
    }

    async fn sync(&self, _mark: u64) -> Result<(), IndexError> {
        self.open_state().map(drop)
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    async fn close(&self) -> Result<(), IndexError> {
        self.open_state()?.closed = true;
        Ok(())
    }
}
