//! Keeping all that is announced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keeper::Keeper;
use super::wanted::{Naming, Wanted};
use crate::peer::directory::Held;

/// How many files of the directory are looked at together.
const PAGE: usize = 256;
/// How many may wait at once; the others are still in the directory.
const MAX_WAITING: usize = 64;
/// So few that there is room for others.
const FEW: usize = 8;
/// How long to wait for some of them to arrive.
const PAUSE: Duration = Duration::from_millis(100);

impl Keeper {
    /// Looks for what is new in the directory, for ever.
    pub(super) async fn keep_everything(self: Arc<Self>, every: Duration) {
        loop {
            let (mut after, mut skipped) = (None, false);
            loop {
                let directory = &self.fetcher.network.directory;
                let (files, next) = directory.page(after, None, PAGE, PAGE);
                for held in files {
                    skipped |= !self.keep_one(held).await;
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
            let looked = Instant::now();
            tokio::time::sleep(PAUSE.min(every)).await;
            // Sooner where there is more to fetch of a peer than may wait at once.
            while looked.elapsed() < every && !(skipped && self.queue().open() < FEW) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Has one fetched that is missing; false if its peer has no more places now.
    async fn keep_one(&self, held: Held) -> bool {
        let file = held.file;
        let told = file.hash.map(|hash| self.fetcher.told_of(&hash));
        let best = told.and_then(|told| told.into_iter().next());
        let first = held.peers.first().map(|&peer| (peer, file));
        let Some((peer, file)) = best.or(first) else {
            return true;
        };
        let wanted = Wanted {
            peer,
            file,
            naming: Naming::Content,
        };
        if let Some(hash) = self.hash_of(&wanted)
            && self.store.holds(&hash).await.unwrap_or(true)
        {
            return true;
        }
        // What has no place now is found anew in the next look at the directory.
        if !self.queue().has_place_for(wanted.peer) {
            return self.queue().is_resting(wanted.peer);
        }
        while self.queue().open() >= MAX_WAITING {
            tokio::time::sleep(PAUSE).await;
        }
        self.queue().add(wanted, false);
        self.wake();
        true
    }
}
