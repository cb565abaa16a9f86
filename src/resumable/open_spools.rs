//! Spools of uploads that nobody is sending to right now.
//!
//! A spool knows how the hash of its content stands. While it is kept, the next request goes
//! on at once; without it the content is read once more.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::state::UploadId;
use crate::blob::Spool;

/// How many are kept, each with two open files and at most 80 KiB of memory.
const MAX: usize = 64;

/// The spools that were used last.
#[derive(Default)]
pub(super) struct OpenSpools(Mutex<VecDeque<(UploadId, Spool)>>);

impl OpenSpools {
    /// Takes out the spool of an upload.
    pub(super) fn take(&self, id: UploadId) -> Option<Spool> {
        let mut spools = self.0.lock();
        let at = spools.iter().position(|(it, _)| *it == id)?;
        spools.remove(at).map(|(_, spool)| spool)
    }

    /// How many bytes the spool of an upload has.
    pub(super) fn received(&self, id: UploadId) -> Option<u64> {
        let spools = self.0.lock();
        let of_upload = spools.iter().find(|(it, _)| *it == id);
        of_upload.map(|(_, spool)| spool.received())
    }

    /// Keeps a spool whose content is all written.
    pub(super) fn put(&self, id: UploadId, spool: Spool) {
        let mut spools = self.0.lock();
        spools.push_back((id, spool));
        let oldest = (spools.len() > MAX).then(|| spools.pop_front());
        drop(spools);
        // Outside of the lock, since it closes files.
        drop(oldest);
    }
}
