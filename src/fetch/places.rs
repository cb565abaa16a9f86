//! Places for what downloads hold in memory while several peers bring it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many windows of one download are under way or wait for the one before them. The first one
/// of them may be under way more than once.
pub(super) const WINDOWS: u32 = 8;
/// How many all downloads together may have: 128 MiB.
const WINDOWS_OF_ALL: usize = 128;

/// The windows of all downloads: one that finds no places goes on with one peer at a time.
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(WINDOWS_OF_ALL)))
    }
}

impl Places {
    /// Those that one download takes, if they are free.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
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
        assert_eq!(taken.len(), WINDOWS_OF_ALL / WINDOWS as usize);
        taken.pop();
        assert!(places.take().is_some());
    }
}
