//! What is open of uploads that nobody is sending to right now.
//!
//! Open partial content knows how its hash stands. While it is kept, the next request goes
//! on at once; without it the content is read once more.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::id::UploadId;
use crate::blob::Partial;
use crate::open_files;

/// What was used last, each with two open files and at most 80 KiB of memory; so many as have a
/// share of the open files.
#[derive(Default)]
pub(super) struct OpenPartials(Mutex<VecDeque<(UploadId, Box<dyn Partial>)>>);

impl OpenPartials {
    /// Takes out what is open of an upload.
    pub(super) fn take(&self, id: UploadId) -> Option<Box<dyn Partial>> {
        let mut partials = self.0.lock();
        let at = partials.iter().position(|(it, _)| *it == id)?;
        partials.remove(at).map(|(_, partial)| partial)
    }

    /// How many bytes are here of an upload of which something is open.
    pub(super) fn received(&self, id: UploadId) -> Option<u64> {
        let partials = self.0.lock();
        let of_upload = partials.iter().find(|(it, _)| *it == id);
        of_upload.map(|(_, partial)| partial.received())
    }

    /// Keeps what is all written.
    pub(super) fn put(&self, id: UploadId, partial: Box<dyn Partial>) {
        let mut partials = self.0.lock();
        partials.push_back((id, partial));
        let most = open_files::shares().waiting_uploads;
        let oldest = (partials.len() > most).then(|| partials.pop_front());
        drop(partials);
        // Outside of the lock, since it closes files.
        drop(oldest);
    }
}
