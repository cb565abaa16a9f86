//! Which own files are to be counted again.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::hash::BlobHash;
use crate::record::FileId;
use crate::revision::Revision;

/// Of how many own files it is known at most that they have changed; of more, all are looked at.
const MOST: usize = 65_536;

/// Own files that are to be counted again, new ones left out.
#[derive(Default)]
pub(super) struct Recount {
    files: Mutex<Files>,
    pub(super) news: Revision,
}

#[derive(Default)]
pub(super) struct Files {
    /// Each, with whether it may be one that has been removed.
    pub(super) of: HashMap<FileId, Gone>,
    pub(super) is_all: bool,
}

/// The content of a file that was removed; None of one that is there.
pub(super) type Gone = Option<BlobHash>;

impl Recount {
    pub(super) fn add(&self, file: FileId, gone: Gone) {
        let mut files = self.files.lock();
        if files.of.len() >= MOST {
            (files.of, files.is_all) = (HashMap::new(), true);
        }
        if !files.is_all {
            files.of.insert(file, gone);
        }
        drop(files);
        self.news.advance();
    }

    /// All of this node's own files are to be counted.
    pub(super) fn add_all(&self) {
        self.files.lock().is_all = true;
        self.news.advance();
    }

    /// Those that are to be counted, from now on none.
    pub(super) fn take(&self) -> Files {
        std::mem::take(&mut *self.files.lock())
    }
}
