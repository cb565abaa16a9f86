//! What has come of copies in part: it takes its room of the offer, and goes where nobody comes
//! back to it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hash::BlobHash;
use crate::store::TakenRoom;

/// For how long it is waited for: longer than before what has failed is tried again.
const PATIENCE: Duration = Duration::from_mins(30);

/// What has come in part of contents.
#[derive(Default)]
pub(super) struct Half {
    /// Those that are fetched now.
    fetched: Mutex<HashSet<BlobHash>>,
    /// Told when one is no longer.
    ended: Notify,
    /// The others.
    waiting: Mutex<HashMap<BlobHash, Waiting>>,
}

/// The turn at fetching a content, of which several files may be.
pub(super) struct Alone<'a> {
    half: &'a Half,
    hash: BlobHash,
}

impl Half {
    /// Waits for the turn at a content.
    pub(super) async fn alone_at(&self, hash: BlobHash) -> Alone<'_> {
        loop {
            // Made first, so that it hears of all that ends behind the look.
            let ended = self.ended.notified();
            if self.fetched.lock().insert(hash) {
                return Alone { half: self, hash };
            }
            ended.await;
        }
    }

    /// The room of a content that waits, which waits no longer.
    pub(super) fn take(&self, hash: &BlobHash) -> Option<Arc<TakenRoom>> {
        let waiting = self.waiting.lock().remove(hash);
        waiting.map(|it| it.room)
    }

    /// Has a content wait.
    pub(super) fn put(&self, hash: BlobHash, room: Arc<TakenRoom>) {
        let since = Instant::now();
        self.waiting.lock().insert(hash, Waiting { room, since });
    }

    /// Those that nobody has come back to, which wait no longer.
    pub(super) fn take_late(&self) -> Vec<BlobHash> {
        let late = |it: &Waiting| it.since.elapsed() > PATIENCE;
        let mut waiting = self.waiting.lock();
        let late = waiting.extract_if(|_, it| late(it));
        late.map(|(hash, _)| hash).collect()
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.half.fetched.lock().remove(&self.hash);
        self.half.ended.notify_waiters();
    }
}

struct Waiting {
    room: Arc<TakenRoom>,
    since: Instant,
}
