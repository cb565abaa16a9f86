//! How many files the network holds: as many as this node lists.
//!
//! What is one to people counts once, which only a look at everything tells. So few files are
//! counted whenever somebody asks and anything has changed; many beside that, now and then, and
//! between two looks what came or went since is added or taken off as if nobody else held it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::view::{Selection, View};
use crate::peer::network::Network;
use crate::peer_id::PeerId;
use crate::record::{Order, PAGE_BYTES};
use crate::revision::Revision;
use crate::store::{Store, StoreError};

/// How many files at most are counted while somebody waits for the number.
const AT_ONCE: u64 = 1000;
/// How many files are listed at a time to be counted.
const PAGE: usize = 1000;
/// How many files are looked at for them at most.
const LOOK: usize = 20_000;
/// How many times as long as a count took the next one waits.
const REST: u32 = 50;

/// What is counted: all that a node knows of.
pub(super) struct Everything {
    pub(super) myself: PeerId,
    pub(super) store: Store,
    pub(super) network: Arc<Network>,
}

/// What was counted last.
#[derive(Debug, Default)]
pub(super) struct Count {
    last: Mutex<Option<Counted>>,
    under_way: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Counted {
    files: u64,
    /// What was known when the count began.
    known: Known,
    took: Duration,
    ended: Instant,
}

/// What there is to be counted.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// How often the files of the store and those of others have changed.
    revisions: [u64; 2],
    /// How many there are at most.
    most: u64,
}

impl Everything {
    fn view(&self) -> View<'_> {
        View {
            myself: self.myself,
            store: &self.store,
            directory: &self.network.directory,
        }
    }

    fn known(&self) -> Known {
        // Before the number, so that no change behind them is missed.
        let revisions = [self.store.revision(), self.network.directory.revision()];
        let count = |it: &Revision| *it.watch().borrow();
        Known {
            revisions: revisions.map(count),
            most: self.view().most(),
        }
    }
}

impl Counted {
    /// About how many there are now.
    fn since(&self, now: Known) -> u64 {
        let files = self.files.saturating_add(now.most);
        files.saturating_sub(self.known.most).min(now.most)
    }
}

impl Count {
    /// How many files there are, as [`View::page`] lists them: exact up to a thousand, and beyond
    /// that as of the last count, with what came and went since.
    pub(super) async fn now(self: &Arc<Self>, all: Everything) -> u64 {
        let now = all.known();
        let last = *self.last.lock();
        if let Some(last) = last.filter(|it| it.known.revisions == now.revisions) {
            return last.files;
        }
        let about = last.map_or(now.most, |it| it.since(now));
        if now.most <= AT_ONCE {
            // What cannot be listed is told by whoever wants the list.
            return self.count(&all, now).await.unwrap_or(about);
        }
        let is_due = last.is_none_or(|it| it.ended.elapsed() >= it.took.saturating_mul(REST));
        if is_due && !self.under_way.swap(true, Ordering::Relaxed) {
            let this = Arc::clone(self);
            tokio::spawn(async move {
                let _ = this.count(&all, now).await;
                this.under_way.store(false, Ordering::Relaxed);
            });
        }
        about
    }

    async fn count(&self, all: &Everything, known: Known) -> Result<u64, StoreError> {
        let began = Instant::now();
        let files = all.view().count().await?;
        *self.last.lock() = Some(Counted {
            files,
            known,
            took: began.elapsed(),
            ended: Instant::now(),
        });
        Ok(files)
    }
}

impl View<'_> {
    /// How many files there are. Takes as long as listing them all.
    async fn count(&self) -> Result<u64, StoreError> {
        let (mut files, mut after) = (0, None);
        loop {
            let page = self.page(Selection {
                order: Order::OldestFirst,
                after,
                before: None,
                name: None,
                limit: PAGE,
                bytes: PAGE_BYTES,
                look: LOOK,
                searcher: None,
            });
            let page = page.await?;
            files += page.files.len() as u64;
            after = page.next;
            if after.is_none() {
                return Ok(files);
            }
        }
    }
}
