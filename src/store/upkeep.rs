//! What is to be done beside requests: what a crash has left, and what was promised for later.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, sleep};

use super::Store;
use crate::disk::Durability;

/// With relaxed durability, how long an acknowledged change may wait before its
/// sync begins.
const RELAXED_SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long to wait with the collection after a crash where something is short.
const COLLECT_AGAIN: Duration = Duration::from_secs(30);
/// How often what could not be deleted is tried once more.
const COLLECT_AGAIN_EVERY: Duration = Duration::from_secs(10);
/// How often to look for what is garbage by now in a store that others share: it becomes so in
/// time, and who has left it may be gone.
const COLLECT_SHARED_EVERY: Duration = Duration::from_secs(5);
/// How often to look at all that is stored there, for what a node has written after it was taken
/// for dead.
const SIFT_SHARED_EVERY: Duration = Duration::from_hours(24 * 7);

impl Store {
    /// Begins what is to be done while the store is open. Dropped, `tasks` end.
    pub fn keep_up(&self, tasks: &mut JoinSet<()>) {
        if self.uncollected.load(Ordering::Relaxed) {
            tasks.spawn(collect(self.clone()));
        }
        if self.was_damaged {
            tasks.spawn(tell_missing(self.clone()));
        }
        let store = self.clone();
        tasks.spawn(async move { store.keep_ballast().await });
        let store = self.clone();
        tasks.spawn(async move { store.keep_trash().await });
        if self.durability == Durability::Relaxed {
            tasks.spawn(sync_regularly(self.clone(), RELAXED_SYNC_EVERY));
        }
        if self.is_shared {
            tasks.spawn(collect_regularly(self.clone()));
        } else {
            tasks.spawn(collect_again(self.clone()));
        }
    }
}

/// Deletes what could not be deleted when it became garbage, as soon as that goes: no other change
/// may come that would. Has the index give room back where nothing changes.
async fn collect_again(store: Store) {
    loop {
        sleep(COLLECT_AGAIN_EVERY).await;
        if let Err(error) = store.index.tidy().await {
            tracing::debug!(%error, "the index gives room back later");
        }
        if store.collecting_fails.load(Ordering::Relaxed) {
            store.collect().await;
        }
    }
}

/// Deletes the blobs without a record that a crash has left.
async fn collect(store: Store) {
    loop {
        match store.collect_all().await {
            Ok(0) => return,
            Ok(collected) => {
                return tracing::info!(collected, "blobs that no file needs were deleted");
            }
            Err(error) if error.is_shortage() => {
                tracing::warn!(%error, "blobs that no file needs are deleted later");
                sleep(COLLECT_AGAIN).await;
            }
            Err(error) => {
                return tracing::error!(%error, "blobs that no file needs were not all deleted");
            }
        }
    }
}

/// Deletes what has become garbage in a store that others share.
async fn collect_regularly(store: Store) {
    let mut ticks = tokio::time::interval(COLLECT_SHARED_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sifted = Instant::now();
    loop {
        ticks.tick().await;
        // Whatever is changed, its end collects.
        let _ = store.change(async |_| Ok(())).await;
        if let Err(error) = store.blobs.compact().await {
            tracing::debug!(%error, "what is mostly dead is compacted later");
        }
        if sifted.elapsed() >= SIFT_SHARED_EVERY {
            sifted = Instant::now();
            if let Err(error) = store.collect_all().await {
                tracing::warn!(%error, "what is stored was not all looked at");
            }
        }
    }
}

/// Tells which files came back without their content when the journal was mended.
async fn tell_missing(store: Store) {
    match store.tell_missing().await {
        Ok(0) => {}
        Ok(missing) => tracing::warn!(missing, "files are listed whose content is not there"),
        Err(error) => tracing::error!(%error, "it is not known which files have no content"),
    }
}

/// Keeps the promise of relaxed durability.
async fn sync_regularly(store: Store, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = store.sync().await {
            tracing::error!(%error, "the last changes are not durable");
        }
    }
}
