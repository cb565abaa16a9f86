//! Which contents are being kept or collected right now, and which may be garbage, where one
//! process alone changes an index.
//!
//! An upload shares its content from before the commit until its record stands; the collector
//! takes a content for itself before it looks whether a record needs it and deletes. So neither
//! ever sees the other half-way.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use super::IndexError;
use super::intent::{Garbage, Hold};
use crate::hash::BlobHash;
use crate::place::Place;

/// One lock per content in use; a content nobody uses has none.
#[derive(Default)]
pub(super) struct InUse {
    locks: Mutex<HashMap<BlobHash, Arc<RwLock<()>>>>,
    /// What may be garbage: who has taken it looks whether it is.
    suspects: Mutex<Suspects>,
}

/// Contents that may be garbage, each once. Each change adds one at most, and has the store ask for
/// garbage, so they are few; those that could not be deleted stay, 64 bytes of memory for each.
#[derive(Default)]
struct Suspects {
    waiting: VecDeque<BlobHash>,
    known: HashSet<BlobHash>,
}

impl Suspects {
    /// Adds one whose turn is the next.
    fn add(&mut self, hash: BlobHash) {
        if self.known.insert(hash) {
            self.waiting.push_front(hash);
        }
    }

    /// Adds those that could not be collected: others have their turn before them.
    fn add_all_again(&mut self, hashes: impl IntoIterator<Item = BlobHash>) {
        for hash in hashes {
            if self.known.insert(hash) {
                self.waiting.push_back(hash);
            }
        }
    }

    fn take(&mut self) -> Option<BlobHash> {
        let hash = self.waiting.pop_front()?;
        self.known.remove(&hash);
        Some(hash)
    }
}

/// A place at one content's lock, given back on drop.
struct Seat {
    in_use: Arc<InUse>,
    hash: BlobHash,
    lock: Option<Arc<RwLock<()>>>,
}

/// While it lives, the collector leaves the content alone.
pub(super) struct Share {
    /// None once it is given back.
    guard: Option<OwnedRwLockReadGuard<()>>,
    seat: Seat,
    /// Whether the content may be left without a record when this ends.
    is_open: bool,
}

/// While it lives, nobody else keeps or collects the content.
struct Exclusion {
    /// None once it is given back.
    guard: Option<OwnedRwLockWriteGuard<()>>,
    seat: Seat,
    /// Whether the content is garbage still when this ends.
    is_open: bool,
}

impl InUse {
    /// Keeps the collector away from `hash`, after waiting for it to finish there.
    pub(super) async fn share(self: &Arc<Self>, hash: BlobHash) -> Share {
        let (seat, lock) = self.seat(hash);
        Share {
            guard: Some(lock.read_owned().await),
            seat,
            is_open: false,
        }
    }

    /// The same for who is about to write the content: unless that is [`Hold::kept`] it may be
    /// garbage afterwards.
    pub(super) async fn share_to_write(self: &Arc<Self>, hash: BlobHash) -> Share {
        let mut shared = self.share(hash).await;
        shared.is_open = true;
        shared
    }

    /// Takes `hash` for the collector, unless somebody shares it.
    fn try_take(self: &Arc<Self>, hash: BlobHash) -> Option<Exclusion> {
        let (seat, lock) = self.seat(hash);
        let guard = lock.try_write_owned().ok()?;
        Some(Exclusion {
            guard: Some(guard),
            seat,
            is_open: false,
        })
    }

    /// Notes that a content may be garbage.
    pub(super) fn suspect(&self, hash: BlobHash) {
        self.suspects.lock().add(hash);
    }

    /// Claims at most `limit` suspected contents that are not needed. What somebody shares stays
    /// suspected, and so does what is claimed until it is told to be collected.
    pub(super) fn garbage(
        self: &Arc<Self>,
        limit: usize,
        is_needed: impl Fn(&BlobHash) -> Result<bool, IndexError>,
    ) -> Result<Vec<Garbage>, IndexError> {
        let (mut taken, mut shared) = (Vec::new(), Vec::new());
        let looked = loop {
            if taken.len() >= limit {
                break Ok(());
            }
            let Some(hash) = self.suspects.lock().take() else {
                break Ok(());
            };
            let Some(mut exclusive) = self.try_take(hash) else {
                shared.push(hash);
                continue;
            };
            // Before anybody knows whether it is: a failure forgets nothing.
            exclusive.is_open = true;
            match is_needed(&hash) {
                Ok(true) => exclusive.kept(),
                Ok(false) => taken.push(Garbage::new(Place::of(&hash), exclusive)),
                Err(error) => break Err(error),
            }
        };
        self.suspects.lock().add_all_again(shared);
        looked.map(|()| taken)
    }

    fn seat(self: &Arc<Self>, hash: BlobHash) -> (Seat, Arc<RwLock<()>>) {
        let lock = Arc::clone(self.locks.lock().entry(hash).or_default());
        (
            Seat {
                in_use: Arc::clone(self),
                hash,
                lock: Some(Arc::clone(&lock)),
            },
            lock,
        )
    }
}

impl Drop for Seat {
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

impl Hold for Share {
    fn kept(&mut self) {
        self.is_open = false;
    }
}

impl Hold for Exclusion {
    fn kept(&mut self) {
        self.is_open = false;
    }
}

impl Drop for Exclusion {
    fn drop(&mut self) {
        // Before it is suspected: whoever takes it then finds it free.
        self.guard = None;
        if self.is_open {
            let mut suspects = self.seat.in_use.suspects.lock();
            suspects.add_all_again([self.seat.hash]);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Before anybody suspects it: whoever takes it then finds it free.
        self.guard = None;
        if self.is_open {
            self.seat.in_use.suspect(self.seat.hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    fn garbage(in_use: &Arc<InUse>) -> Vec<Garbage> {
        in_use.garbage(usize::MAX, |_| Ok(false)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_collector_waits_for_uploads_and_leaves_no_lock_behind() {
        let in_use = Arc::new(InUse::default());
        let hash = BlobHash::of(b"x");
        in_use.suspect(hash);
        let (one, two) = (in_use.share(hash).await, in_use.share(hash).await);
        drop(one);
        assert!(garbage(&in_use).is_empty());
        drop(two);
        let taken = garbage(&in_use);
        assert_eq!(taken.len(), 1);
        assert!(
            tokio::time::timeout(SOON, in_use.share(hash))
                .await
                .is_err()
        );
        taken.into_iter().for_each(Garbage::collected);
        assert!(garbage(&in_use).is_empty());
        assert!(in_use.locks.lock().is_empty());
    }

    #[tokio::test]
    async fn what_was_claimed_and_not_collected_waits_behind_what_was_not_tried() {
        let in_use = Arc::new(InUse::default());
        let hashes = [0u8, 1, 2, 3].map(|it| BlobHash::of(&[it]));
        let places = |taken: &[Garbage]| taken.iter().map(Garbage::place).collect::<Vec<_>>();
        in_use.suspect(hashes[0]);
        in_use.suspect(hashes[1]);
        let none_needed = |_: &BlobHash| Ok(false);
        let failed = in_use.garbage(2, none_needed).unwrap();
        assert_eq!(failed.len(), 2);
        drop(failed);
        in_use.suspect(hashes[2]);
        in_use.suspect(hashes[3]);
        let taken = in_use.garbage(2, none_needed).unwrap();
        assert_eq!(
            places(&taken),
            [hashes[3], hashes[2]].map(|it| Place::of(&it))
        );
        taken.into_iter().for_each(Garbage::collected);
        assert_eq!(garbage(&in_use).len(), 2);
        assert_eq!(in_use.suspects.lock().known.len(), 2);
    }

    #[tokio::test]
    async fn a_look_that_fails_forgets_no_suspect_and_one_that_is_needed_is_none() {
        let in_use = Arc::new(InUse::default());
        let [shared, needed, other] = [b"s", b"n", b"o"].map(|it| BlobHash::of(it));
        for hash in [other, needed, shared] {
            in_use.suspect(hash);
        }
        let holder = in_use.share(shared).await;
        let failed = in_use.garbage(3, |_| Err(IndexError::Closed));
        assert!(matches!(failed, Err(IndexError::Closed)));
        drop(holder);
        let taken = in_use.garbage(3, |hash| Ok(*hash == needed)).unwrap();
        assert_eq!(taken.len(), 2, "the shared one and the other");
        taken.into_iter().for_each(Garbage::collected);
        assert!(garbage(&in_use).is_empty());
    }

    #[tokio::test]
    async fn what_was_given_up_is_suspected_and_what_was_kept_is_not() {
        let in_use = Arc::new(InUse::default());
        let [kept, given_up, read] = [b"k", b"g", b"r"].map(|it| BlobHash::of(it));
        in_use.share_to_write(kept).await.kept();
        drop(in_use.share_to_write(given_up).await);
        drop(in_use.share(read).await);
        let taken = garbage(&in_use);
        let places: Vec<_> = taken.iter().map(Garbage::place).collect();
        assert_eq!(places, [Place::of(&given_up)]);
    }
}
