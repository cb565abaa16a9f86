//! Keeping all that is announced.

use std::sync::Arc;
use std::time::Duration;

use super::keeper::Keeper;
use super::wanted::{Naming, Wanted};
use crate::peer::directory::Held;

/// How many files of the directory are looked at together.
const PAGE: usize = 256;
/// How many may wait at once; the others are still in the directory.
const MAX_WAITING: usize = 64;
/// How long to wait for some of them to arrive.
const PAUSE: Duration = Duration::from_millis(100);

impl Keeper {
    /// Looks for what is new in the directory, for ever.
    pub(super) async fn keep_everything(self: Arc<Self>, every: Duration) {
        loop {
            let mut after = None;
            loop {
                let directory = &self.fetcher.network.directory;
                let (files, next) = directory.page(after, None, PAGE, PAGE);
                for held in files {
                    self.keep_one(held).await;
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn keep_one(&self, held: Held) {
        let file = held.file;
        let told = file.hash.map(|hash| self.fetcher.told_of(&hash));
        let best = told.and_then(|told| told.into_iter().next());
        let first = held.peers.first().map(|&peer| (peer, file));
        let Some((peer, file)) = best.or(first) else {
            return;
        };
        let wanted = Wanted {
            peer,
            file,
            naming: Naming::Content,
        };
        if let Some(hash) = self.hash_of(&wanted)
            && self.store.holds(&hash).await.unwrap_or(true)
        {
            return;
        }
        while self.queue().open() >= MAX_WAITING {
            tokio::time::sleep(PAUSE).await;
        }
        self.queue().add(wanted, false);
        self.wake();
    }
}
