//! Counting the files that fewer members hold than are to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::holder::{Copies, Counts, PAGE, SoFar};
use super::members::View;
use crate::hash::BlobHash;
use crate::peer_id::PeerId;
use crate::store::StoreError;

/// How many periods pass before others are asked again to look at all files, at first.
const ASK_AGAIN: u32 = 4;
/// How long after one count the next one begins at the soonest.
const SOON: Duration = Duration::from_secs(1);
/// The longest pause between two such questions.
const LAST_PAUSE: Duration = Duration::from_hours(1);

/// When others are asked next to look at all files again.
struct Asking {
    due: Option<Instant>,
    pause: Duration,
}

impl Copies {
    pub(super) async fn count_always(self: Arc<Self>) {
        let first = self.options.every * ASK_AGAIN;
        let mut asking = Asking {
            due: None,
            pause: first,
        };
        let (mut own, mut told) = (
            self.own.revision().watch(),
            self.fetcher.network.directory.revision().watch(),
        );
        let every = self.options.every;
        let mut known = None;
        loop {
            let began = Instant::now();
            let (view, _) = self.members.look();
            let wishes = self.wishes.changed.load(Ordering::Relaxed);
            let files = (*own.borrow_and_update(), *told.borrow_and_update());
            let now = Some((view.epoch, wishes, files));
            if known != now {
                known = now;
                if let Err(error) = self.count(&view).await {
                    tracing::debug!(%error, "copies cannot be counted");
                }
            }
            self.ask_for_more(&mut asking, first);
            // What changes is counted soon, and that takes a tenth of the time at most.
            let soon = (began.elapsed() * 9).max(SOON).min(every);
            sleep(soon).await;
            tokio::select! {
                () = sleep(every.saturating_sub(soon)) => {}
                _ = own.changed() => {}
                _ = told.changed() => {}
            }
        }
    }

    /// Where copies are missing for long, the others look at all files again: what they have found
    /// may have changed since, such as who has room.
    fn ask_for_more(&self, asking: &mut Asking, first: Duration) {
        if self.counts.lock().under_replicated == 0 {
            (asking.due, asking.pause) = (None, first);
            return;
        }
        let now = Instant::now();
        let due = *asking.due.get_or_insert(now + asking.pause);
        if due <= now {
            self.asks.fetch_add(1, Ordering::Relaxed);
            asking.pause = (asking.pause * 2).min(LAST_PAUSE);
            asking.due = Some(now + asking.pause);
        }
    }

    async fn count(&self, view: &View) -> Result<(), StoreError> {
        let now = self.so_far();
        let (own, held) = (self.count_own(view).await?, self.count_held(view).await?);
        // Whoever looks sees both as they were, or as they are.
        let mut counts = self.counts.lock();
        *self.counted.lock() = now;
        counts.files = own.0 + held.0;
        counts.under_replicated = own.1 + held.1;
        Ok(())
    }

    /// How many files there are to be counted.
    fn so_far(&self) -> SoFar {
        SoFar {
            files: self.own.totals().files,
            wishes: self.wishes.made.load(Ordering::Relaxed),
        }
    }

    /// How it stands with the copies of all files. What has come since they were counted nobody
    /// else has yet.
    pub fn counts(&self) -> Counts {
        let (counts, counted, now) = (*self.counts.lock(), *self.counted.lock(), self.so_far());
        let new = match self.options.copies {
            0 | 1 => now.wishes.saturating_sub(counted.wishes),
            _ => now.files.saturating_sub(counted.files),
        };
        Counts {
            files: counts.files + new,
            under_replicated: counts.under_replicated + new,
            ..counts
        }
    }

    /// How many own files are to have copies, and of how many there are too few.
    async fn count_own(&self, view: &View) -> Result<(u64, u64), StoreError> {
        let (mut files, mut under, mut after) = (0, 0, None);
        loop {
            let page = self.own.page(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok((files, under));
            };
            after = Some(last.id);
            for record in &page {
                let copies = self.copies_of(record.id).await?;
                if copies > 1 {
                    files += 1;
                    let others = self.holders_of(&record.file.hash, view).len();
                    under += u64::from(others + 1 < usize::from(copies));
                }
            }
        }
    }

    /// The same of what is held of owners that are gone, where no member that comes before this one
    /// holds it.
    async fn count_held(&self, view: &View) -> Result<(u64, u64), StoreError> {
        let (mut files, mut under, mut held, mut after) = (0, 0, 0, None);
        loop {
            let (copies, next) = self.table.copies(after, PAGE).await?;
            held += copies.len() as u64;
            for shared in copies.iter().filter_map(|it| it.signed.read().ok()) {
                let owner = shared.key.owner;
                if view.is_live(owner) {
                    continue;
                }
                let others = self.holders_of(&shared.hash, view);
                let ranked = self.ranked(&shared.hash, owner, view);
                let mut holders = ranked.iter().map(|(it, _)| it.id);
                let first = holders.find(|it| *it == self.me() || others.contains(it));
                if first.is_none_or(|it| it == self.me()) {
                    files += 1;
                    under += u64::from(others.len() + 1 < usize::from(shared.copies));
                }
            }
            after = next;
            if after.is_none() {
                self.held_files.store(held, Ordering::Relaxed);
                return Ok((files, under));
            }
        }
    }

    /// The other members that are there and have told that they have a content.
    pub(super) fn holders_of(&self, hash: &BlobHash, view: &View) -> BTreeSet<PeerId> {
        let told = self.fetcher.network.directory.providers(hash);
        let told = told.into_iter().map(|it| it.peer);
        told.filter(|it| view.is_live(*it)).collect()
    }
}
