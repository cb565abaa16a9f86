//! Which contents are being kept or collected right now.
//!
//! An upload shares its content from before the commit until its record stands;
//! the collector takes a content for itself before it looks whether a record needs
//! it and deletes. So neither ever sees the other half-way.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::hash::BlobHash;

/// One lock per content in use; a content nobody uses has none.
#[derive(Default)]
pub(super) struct InUse {
    locks: Mutex<HashMap<BlobHash, Arc<RwLock<()>>>>,
}

/// A place at one content's lock, given back on drop.
struct Place {
    in_use: Arc<InUse>,
    hash: BlobHash,
    lock: Option<Arc<RwLock<()>>>,
}

/// While it lives, the collector leaves the content alone.
pub(super) struct Shared {
    _guard: OwnedRwLockReadGuard<()>,
    _place: Place,
}

/// While it lives, nobody else keeps or collects the content.
pub(super) struct Exclusive {
    _guard: OwnedRwLockWriteGuard<()>,
    _place: Place,
}

impl InUse {
    /// Keeps the collector away from `hash`, after waiting for it to finish there.
    pub(super) async fn share(self: &Arc<Self>, hash: BlobHash) -> Shared {
        let (place, lock) = self.place(hash);
        Shared {
            _guard: lock.read_owned().await,
            _place: place,
        }
    }

    /// Takes `hash` for the collector, after waiting for all who share it.
    pub(super) async fn take(self: &Arc<Self>, hash: BlobHash) -> Exclusive {
        let (place, lock) = self.place(hash);
        Exclusive {
            _guard: lock.write_owned().await,
            _place: place,
        }
    }

    fn place(self: &Arc<Self>, hash: BlobHash) -> (Place, Arc<RwLock<()>>) {
        let lock = Arc::clone(self.locks.lock().entry(hash).or_default());
        (
            Place {
                in_use: Arc::clone(self),
                hash,
                lock: Some(Arc::clone(&lock)),
            },
            lock,
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut locks = self.in_use.locks.lock();
        self.lock = None;
        if locks
            .get(&self.hash)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_collector_waits_for_uploads_and_leaves_no_lock_behind() {
        let in_use = Arc::new(InUse::default());
        let hash = BlobHash::of(b"x");
        let (one, two) = (in_use.share(hash).await, in_use.share(hash).await);
        let soon = Duration::from_secs(1);
        drop(one);
        assert!(tokio::time::timeout(soon, in_use.take(hash)).await.is_err());
        drop(two);
        let taken = in_use.take(hash).await;
        assert!(
            tokio::time::timeout(soon, in_use.share(hash))
                .await
                .is_err()
        );
        drop(taken);
        assert!(in_use.locks.lock().is_empty());
    }
}
