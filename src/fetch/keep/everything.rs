//! Keeping all that is announced.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keeper::Keeper;
use super::share::{Crowd, Share};
use super::wanted::{Naming, Wanted};
use crate::peer::directory::{Held, NetworkFile};
use crate::peer::prefix::Prefix;
use crate::peer_id::PeerId;
use crate::store::StoreError;

/// How many files of the directory are looked at together.
const PAGE: usize = 256;
/// So few that there is room for others.
const FEW: usize = 8;
/// How long to wait for some of them to arrive.
const PAUSE: Duration = Duration::from_millis(100);

/// What a look at one file came to.
enum Looked {
    /// It is kept, will be, or shall not be.
    Done,
    /// Its peer has no more places now.
    Later,
    /// It has more bytes than there is room for.
    TooLarge,
}

impl Keeper {
    /// Looks for what is new in the directory, for ever.
    pub(super) async fn keep_everything(self: Arc<Self>, every: Duration) {
        let mut is_told = false;
        loop {
            if !self.looks_for_all() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let (mut after, mut skipped, mut too_large) = (None, false, 0_usize);
            let room = self.store.room().await;
            loop {
                let directory = &self.fetcher.network.directory;
                let (files, next) = directory.page(after, None, PAGE, PAGE);
                for held in files {
                    match self.keep_one(held, room).await {
                        Looked::Done => {}
                        Looked::Later => skipped = true,
                        Looked::TooLarge => too_large += 1,
                    }
                }
                after = next;
                if after.is_none() || !self.looks_for_all() {
                    break;
                }
            }
            if too_large > 0 && !is_told {
                tracing::warn!(
                    files = too_large,
                    room,
                    "makes no copy of files for which the quota \
                    or the disk leaves no room, until there is more"
                );
            }
            is_told = too_large > 0;
            let looked = Instant::now();
            tokio::time::sleep(PAUSE.min(every)).await;
            // Sooner where there is more to fetch of a peer than may wait at once.
            while looked.elapsed() < every && !(skipped && self.queue.lock().open() < FEW) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Has one fetched that is missing, where so many bytes of room are left.
    async fn keep_one(&self, held: Held, room: u64) -> Looked {
        let Some(&teller) = held.peers.first() else {
            return Looked::Done;
        };
        let mut wanted = Wanted {
            peer: teller,
            file: held.file,
            naming: Naming::Content,
        };
        match self.hash_of(&wanted).await {
            Ok(Some(hash)) => {
                if self.store.holds(&hash).await.unwrap_or(true) {
                    self.removed.is_here(&hash);
                    return Looked::Done;
                }
                if self.was_removed(&hash).await {
                    return Looked::Done;
                }
            }
            Ok(None) => {}
            Err(_) => return Looked::Done,
        }
        match self.as_it_counts(&wanted).await {
            Ok(Some((peer, file))) => (wanted.peer, wanted.file) = (peer, file),
            // What the list does not show is not kept; and what cannot be looked up is found anew.
            Ok(None) | Err(_) => return Looked::Done,
        }
        let Some(share) = self.share_of(wanted.peer) else {
            return Looked::Done;
        };
        if wanted.file.size > room {
            return Looked::TooLarge;
        }
        let mut queue = self.queue.lock();
        if !queue.is_within_share(share, wanted.file.size, room) {
            return Looked::Done;
        }
        // What has no place now is found anew in the next look at the directory.
        if queue.is_resting(wanted.peer) {
            return Looked::Done;
        }
        let added = queue.add_unasked(wanted, share);
        drop(queue);
        self.wake();
        if added { Looked::Done } else { Looked::Later }
    }

    /// What is wanted, as those tell of it that are believed most; None where it does not count,
    /// since others say what its id means.
    async fn as_it_counts(
        &self,
        Wanted { peer, file, .. }: &Wanted,
    ) -> Result<Option<(PeerId, NetworkFile)>, StoreError> {
        if !self.fetcher.counts(file, &self.store).await? {
            return Ok(None);
        }
        let best = match file.hash {
            Some(hash) => self.fetcher.best_told_of(&hash, &self.store).await?,
            None => None,
        };
        Ok(best.or_else(|| Some((*peer, file.clone()))))
    }

    /// What stands for a peer where places are shared out; None of one that is not known.
    fn share_of(&self, peer: PeerId) -> Option<Share> {
        let known = self.fetcher.network.registry.get(peer)?;
        let place = Prefix::of(known.address());
        let crowd = if known.named || self.fetcher.experience.of(peer).served {
            Crowd::Known(peer)
        } else {
            Crowd::Strangers(place.narrow)
        };
        Some(Share {
            crowd,
            place: (!known.named).then_some(place.exact),
        })
    }
}
