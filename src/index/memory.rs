//! An index in memory, for tests.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::health::Healths;
use super::in_use::InUse;
use super::{Content, Garbage, Held, IndexBackend, IndexError, Intent, Totals};
use crate::hash::BlobHash;
use crate::health::Health;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// An index that forgets everything on drop.
#[derive(Default)]
pub struct MemoryIndex {
    state: Mutex<State>,
    in_use: Arc<InUse>,
    healths: Healths,
}

#[derive(Default)]
struct State {
    closed: bool,
    changes: u64,
    last: Option<FileId>,
    files: BTreeMap<FileId, FileRecord>,
    contents: BTreeMap<BlobHash, Row>,
}

/// A content that files need.
struct Row {
    users: u32,
    /// In bytes.
    size: u64,
}

impl MemoryIndex {
    fn open_state(&self) -> Result<MutexGuard<'_, State>, IndexError> {
        let state = self.state.lock();
        if state.closed {
            Err(IndexError::Closed)
        } else {
            Ok(state)
        }
    }
}

impl State {
    fn content(&self, hash: &BlobHash, healths: &Healths) -> Option<Content> {
        let row = self.contents.get(hash)?;
        Some(Content {
            users: row.users,
            checked_at: healths.checked_at(hash),
            is_damaged: healths.is_damaged(hash),
        })
    }

    fn add(&mut self, file: NewFile) -> FileRecord {
        let id = FileId::next(self.last);
        let row = self.contents.entry(file.hash).or_insert(Row {
            users: 0,
            size: file.size,
        });
        row.users += 1;
        let record = FileRecord {
            id,
            uploaded_at: Timestamp::now(),
            file,
        };
        self.last = Some(id);
        self.changes += 1;
        self.files.insert(id, record.clone());
        record
    }

    fn remove(&mut self, id: FileId) -> Option<FileRecord> {
        let removed = self.files.remove(&id)?;
        self.changes += 1;
        let hash = removed.file.hash;
        if let Some(row) = self.contents.get_mut(&hash) {
            row.users -= 1;
            if row.users == 0 {
                self.contents.remove(&hash);
            }
        }
        Some(removed)
    }
}

#[async_trait]
impl IndexBackend for MemoryIndex {
    async fn intend(&self, hash: &BlobHash, _size: u64) -> Result<Intent, IndexError> {
        let hold = self.in_use.share_to_write(*hash).await;
        Ok(Intent::new(
            self.open_state()?.content(hash, &self.healths),
            hold,
        ))
    }

    async fn put(&self, file: NewFile, intent: Intent) -> Result<FileRecord, IndexError> {
        let record = self.open_state()?.add(file);
        if intent.mends() {
            self.healths.note(&record.file.hash, Health::Whole);
        }
        intent.kept();
        Ok(record)
    }

    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        let removed = self.open_state()?.remove(id);
        if let Some(record) = &removed {
            self.in_use.suspect(record.file.hash);
        }
        Ok(removed)
    }

    async fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        Ok(self.open_state()?.files.get(&id).cloned())
    }

    async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        Ok(self
            .open_state()?
            .files
            .values()
            .rfind(|r| r.file.name == name)
            .cloned())
    }

    async fn earlier(
        &self,
        name: &str,
        hash: &BlobHash,
        than: FileId,
        _: u32,
    ) -> Result<Option<FileId>, IndexError> {
        let state = self.open_state()?;
        let mut before = state.files.range(..than);
        let found = before.find(|(_, r)| r.file.name == name && r.file.hash == *hash);
        Ok(found.map(|(id, _)| *id))
    }

    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.open_state()?;
        Ok(state
            .files
            .range((from, Bound::Unbounded))
            .take(limit)
            .map(|(_, r)| r.clone())
            .collect())
    }

    async fn locate(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        Ok(self.open_state()?.content(hash, &self.healths))
    }

    async fn hold(&self, hash: &BlobHash) -> Result<Option<Held>, IndexError> {
        let hold = self.in_use.share(*hash).await;
        let content = self.open_state()?.content(hash, &self.healths);
        Ok(content.map(|content| Held::new(content, hold)))
    }

    async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError> {
        let state = self.open_state()?;
        let is_needed = |hash: &BlobHash| Ok(state.contents.contains_key(hash));
        self.in_use.garbage(limit, is_needed)
    }

    async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError> {
        for garbage in garbage {
            self.healths.forget(garbage.hash());
            garbage.collected();
        }
        Ok(())
    }

    async fn sift(&self, stored: &[BlobHash]) -> Result<(), IndexError> {
        let state = self.open_state()?;
        let unneeded = stored
            .iter()
            .filter(|hash| !state.contents.contains_key(*hash));
        unneeded.for_each(|hash| self.in_use.suspect(*hash));
        Ok(())
    }

    fn health(&self, hash: &BlobHash, found: Health) -> bool {
        self.healths.note(hash, found)
    }

    fn is_damaged(&self, hash: &BlobHash) -> bool {
        self.healths.is_damaged(hash)
    }

    fn totals(&self) -> Totals {
        let state = self.state.lock();
        Totals {
            files: state.files.len() as u64,
            bytes: state.files.values().map(|it| it.file.size).sum(),
            blobs: state.contents.len() as u64,
            blob_bytes: state.contents.values().map(|it| it.size).sum(),
            damaged: self.healths.damaged(),
        }
    }

    fn mark(&self) -> u64 {
        self.state.lock().changes
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
