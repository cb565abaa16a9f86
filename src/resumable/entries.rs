//! Which uploads there are, in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::state::UploadId;
use super::turns::Turns;
use crate::record::FileId;

/// All uploads.
#[derive(Default)]
pub(super) struct Entries(Mutex<HashMap<UploadId, Arc<Entry>>>);

/// An upload.
pub(super) struct Entry {
    pub(super) turns: Turns,
    known: Mutex<Known>,
}

/// What is known of an upload without reading its state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// When it last went on, or ended.
    pub(super) written: SystemTime,
    /// The file that it has become.
    pub(super) file: Option<FileId>,
}

impl Entry {
    pub(super) fn new(known: Known) -> Self {
        Self {
            turns: Turns::default(),
            known: Mutex::new(known),
        }
    }

    pub(super) fn known(&self) -> Known {
        *self.lock()
    }

    /// It goes on, or has become `file`.
    pub(super) fn note(&self, file: Option<FileId>) {
        *self.lock() = Known {
            written: SystemTime::now(),
            file,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    pub(super) fn get(&self, id: UploadId) -> Option<Arc<Entry>> {
        self.lock().get(&id).map(Arc::clone)
    }

    pub(super) fn add(&self, id: UploadId, known: Known) {
        self.lock().insert(id, Arc::new(Entry::new(known)));
    }

    /// Adds one unless `max` are unfinished already.
    pub(super) fn add_unfinished(&self, id: UploadId, max: usize) -> bool {
        let mut entries = self.lock();
        let unfinished = entries.values().filter(|it| it.known().file.is_none());
        if unfinished.count() >= max {
            return false;
        }
        let known = Known {
            written: SystemTime::now(),
            file: None,
        };
        entries.insert(id, Arc::new(Entry::new(known)));
        true
    }

    pub(super) fn remove(&self, id: UploadId) {
        self.lock().remove(&id);
    }

    /// Those that were last written before `time`.
    pub(super) fn written_before(&self, time: SystemTime) -> Vec<UploadId> {
        let entries = self.lock();
        let old = entries.iter().filter(|(_, it)| it.known().written < time);
        old.map(|(id, _)| *id).collect()
    }

    /// The one that ended first, if more than `max` have.
    pub(super) fn first_ended_beyond(&self, max: usize) -> Option<UploadId> {
        let entries = self.lock();
        let ended = || entries.iter().filter(|(_, it)| it.known().file.is_some());
        if ended().count() <= max {
            return None;
        }
        ended()
            .min_by_key(|(_, it)| it.known().written)
            .map(|(id, _)| *id)
    }

    /// Whether an upload has become this file.
    pub(super) fn has_become(&self, file: FileId) -> bool {
        self.lock().values().any(|it| it.known().file == Some(file))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Entry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
