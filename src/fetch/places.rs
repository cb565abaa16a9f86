//! What all downloads together may take: memory while several peers bring them, and questions to
//! peers while those that were asked before are silent.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::open_files;

/// How many windows of one download or copy are under way or wait for the one before them. The
/// first one of them may be under way more than once.
pub(super) const WINDOWS: u32 = 8;
/// How much of each window of a copy is in memory before it is written, in bytes.
pub(super) const FILLING: u64 = 256 << 10;
/// How long a window of a download is, in these.
const OF_A_WINDOW: u32 = 4;
/// How many of these all downloads and copies together may have: 128 MiB.
const OF_ALL: usize = 512;

/// The windows of all downloads, and what copies hold of theirs: one that finds no places goes on
/// with one peer at a time.
pub(super) struct Places(Arc<Semaphore>);

/// How many peers all downloads together ask at once beyond the few that each may, where enough
/// files may be open: each is a connection.
const HEDGES: usize = 256;

/// The questions of all downloads to peers that would not be asked if others were not silent.
pub(super) struct Hedges(Arc<Semaphore>);

impl Default for Hedges {
    fn default() -> Self {
        let hedges = open_files::shares().of_peers(HEDGES);
        Self(Arc::new(Semaphore::new(hedges)))
    }
}

impl Hedges {
    /// So many, or those that are free; None where there are none.
    pub(super) fn take(&self, many: usize) -> Option<OwnedSemaphorePermit> {
        let many = u32::try_from(many.min(self.0.available_permits())).ok()?;
        let taken = (many > 0).then(|| Arc::clone(&self.0).try_acquire_many_owned(many));
        taken?.ok()
    }
}

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OF_ALL)))
    }
}

impl Places {
    /// Those that one download takes, if they are free.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        let windows = WINDOWS * OF_A_WINDOW;
        Arc::clone(&self.0).try_acquire_many_owned(windows).ok()
    }

    /// Those that one copy takes, if they are free.
    pub(super) fn take_to_fill(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_many_owned(WINDOWS).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn downloads_beyond_those_that_memory_is_set_aside_for_take_no_places() {
        let places = Places::default();
        let mut taken: Vec<_> = std::iter::from_fn(|| places.take()).take(1000).collect();
        assert_eq!(taken.len(), 16);
        assert!(places.take_to_fill().is_none());
        taken.pop();
        // Copies hold a quarter of it.
        let copies: Vec<_> = std::iter::from_fn(|| places.take_to_fill())
            .take(1000)
            .collect();
        assert_eq!(copies.len(), 4);
        assert!(places.take().is_none());
        drop(copies);
        assert!(places.take().is_some());
    }
}
