//! An index in memory, for tests.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};

use super::{IndexBackend, IndexError, Totals};
use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// An index that forgets everything on drop.
#[derive(Default)]
pub struct MemoryIndex {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    last: Option<FileId>,
    files: BTreeMap<FileId, FileRecord>,
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

#[async_trait]
impl IndexBackend for MemoryIndex {
    async fn put(&self, file: NewFile) -> Result<FileRecord, IndexError> {
        let mut state = self.open_state()?;
        let id = FileId::next(state.last);
        let record = FileRecord {
            id,
            uploaded_at: Timestamp::now(),
            file,
        };
        state.last = Some(id);
        state.files.insert(id, record.clone());
        Ok(record)
    }

    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        Ok(self.open_state()?.files.remove(&id))
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

    async fn needs(&self, hash: &BlobHash) -> Result<bool, IndexError> {
        Ok(self
            .open_state()?
            .files
            .values()
            .any(|r| r.file.hash == *hash))
    }

    fn totals(&self) -> Totals {
        let state = self.state.lock();
        let mut contents = BTreeMap::new();
        let mut totals = Totals::default();
        for FileRecord { file, .. } in state.files.values() {
            totals.files += 1;
            totals.bytes += file.size;
            contents.insert(file.hash, file.size);
        }
        totals.blobs = contents.len() as u64;
        totals.blob_bytes = contents.values().sum();
        totals
    }

    fn mark(&self) -> u64 {
        0
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
