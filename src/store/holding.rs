//! Contents that are held while a moment is told: of files of that moment that are removed before
//! whoever reads it has got them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::hash::BlobHash;
use crate::index::Held;
use crate::place::Place;
use crate::record::FileId;

/// The most contents that are held for one moment. Each change looks at all of them. Whoever finds
/// one gone begins with another moment, for which far less is to be got.
const MOST: usize = 4096;

/// The moments that are told.
#[derive(Default)]
pub(super) struct Holding(Mutex<Vec<Weak<Holds>>>);

/// What is held for one moment, as long as this lives.
#[derive(Default)]
pub(super) struct Holds(Mutex<HeldContents>);

/// What is held.
#[derive(Default)]
struct HeldContents {
    contents: HashMap<BlobHash, Arc<Held>>,
    /// The last file of the moment, once that is known; others are not of it.
    last: Option<FileId>,
    /// Whether a file has come back that may have been passed by.
    is_spoiled: bool,
}

impl Holds {
    /// Whether a file has come back since it was begun, which nobody knows to be listed or not.
    pub(super) fn is_spoiled(&self) -> bool {
        self.0.lock().is_spoiled
    }

    /// Holds this content, too.
    pub(super) fn add(&self, hash: BlobHash, held: &Arc<Held>) {
        let mut all = self.0.lock();
        all.contents.entry(hash).or_insert_with(|| Arc::clone(held));
    }

    /// No file behind this one is of the moment.
    pub(super) fn end_at(&self, last: Option<FileId>) {
        self.0.lock().last = Some(last.unwrap_or(FileId::from_bytes([0; 16])));
    }
}

impl Holding {
    /// Holds contents from now on, until what is given back is dropped.
    pub(super) fn begin(&self) -> Arc<Holds> {
        let holds = Arc::<Holds>::default();
        let mut all = self.0.lock();
        all.retain(|it| it.strong_count() > 0);
        all.push(Arc::downgrade(&holds));
        holds
    }

    /// A file comes back among those that the moments may have passed.
    pub(super) fn spoil(&self) {
        for holds in self.0.lock().iter().filter_map(Weak::upgrade) {
            holds.0.lock().is_spoiled = true;
        }
    }

    /// Those for which the content of this file is to be held.
    pub(super) fn of(&self, id: FileId) -> Vec<Arc<Holds>> {
        let mut all: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        all.retain(|it| {
            let held = it.0.lock();
            held.contents.len() < MOST && held.last.is_none_or(|last| id <= last)
        });
        all
    }

    /// Where a content is that is held.
    pub(super) fn place(&self, hash: &BlobHash) -> Option<Place> {
        let all: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        let place = |it: &Arc<Holds>| Some(it.0.lock().contents.get(hash)?.content.place);
        all.iter().find_map(place)
    }
}
