//! Counting the files that fewer members hold than are to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::holder::{Copies, Counts, PAGE, SoFar};
use super::members::View;
use super::recount::Files;
use super::tally::Tally;
use crate::hash::BlobHash;
use crate::peer::directory::Changed;
use crate::peer_id::PeerId;
use crate::record::FileId;
use crate::revision::Revision;
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

/// What was counted, and when.
struct Counting {
    tally: Tally,
    /// Whether all own files are to be counted.
    is_all: bool,
    /// Of which members that was; None where nothing was counted yet.
    epoch: Option<u64>,
    /// Of files of owners that are gone, and what was held then.
    of_gone: (u64, u64),
    held: u64,
    /// Those who did not know files of theirs then.
    unknown: BTreeSet<PeerId>,
}

impl Counting {
    fn new(copies: &Copies) -> Self {
        Self {
            tally: Tally::new(copies.options.copies),
            is_all: true,
            epoch: None,
            of_gone: (0, 0),
            held: 0,
            unknown: BTreeSet::new(),
        }
    }
}

impl Copies {
    pub(super) async fn count_always(self: Arc<Self>) {
        let first = self.options.every * ASK_AGAIN;
        let mut asking = Asking {
            due: None,
            pause: first,
        };
        let directory = &self.fetcher.network.directory;
        directory.follow_holders();
        let news = [
            &self.recount.news,
            self.own.revision(),
            directory.revision(),
        ];
        let mut news = news.map(Revision::watch);
        let (mut counting, mut known) = (Counting::new(&self), None);
        loop {
            let began = Instant::now();
            let (view, _) = self.members.look();
            let now = (
                view.epoch,
                news.each_mut().map(|it| *it.borrow_and_update()),
            );
            if known != Some(now) {
                known = Some(now);
                if let Err(error) = self.count(&view, &mut counting).await {
                    tracing::debug!(%error, "copies cannot be counted");
                    counting.is_all = true;
                }
            }
            self.ask_for_more(&mut asking, first);
            // What changes is counted soon, and that takes a tenth of the time at most.
            let soon = (began.elapsed() * 9).max(SOON).min(self.options.every);
            sleep(soon).await;
            let [files, new, told] = &mut news;
            tokio::select! {
                () = sleep(self.options.every.saturating_sub(soon)) => {}
                _ = files.changed() => {}
                _ = new.changed() => {}
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

    async fn count(&self, view: &View, counting: &mut Counting) -> Result<(), StoreError> {
        let now = self.so_far();
        let changed = self.fetcher.network.directory.take_changed_holders();
        self.count_own(view, counting, &changed).await?;
        let own = counting.tally.counts(now.files);
        let held = self.count_held(view, counting, &changed).await?;
        counting.epoch = Some(view.epoch);
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

    /// Counts own files: those that may be on fewer or more members than before, and all of them
    /// where the members are others.
    async fn count_own(
        &self,
        view: &View,
        counting: &mut Counting,
        changed: &Changed,
    ) -> Result<(), StoreError> {
        let files = self.recount.take();
        let is_all = counting.is_all || counting.epoch != Some(view.epoch);
        let is_all = is_all || files.is_all || changed.is_cut || counting.tally.is_coarse();
        let tally = &mut counting.tally;
        if is_all || !self.count_changed(view, tally, files, changed).await? {
            *tally = Tally::new(self.options.copies);
        }
        self.count_new(view, tally).await?;
        counting.is_all = false;
        Ok(())
    }

    /// Counts those again of which something was heard; false where nobody knows which those are.
    async fn count_changed(
        &self,
        view: &View,
        tally: &mut Tally,
        files: Files,
        changed: &Changed,
    ) -> Result<bool, StoreError> {
        for (file, gone) in files.of {
            if let Some(record) = self.own.get(file).await? {
                self.look_at(view, tally, (file, record.file.hash)).await?;
            } else if let Some(hash) = gone {
                tally.forget(file, hash);
            }
        }
        for ((hash, file), is_loss) in &changed.of {
            for under in tally.under_with(*hash) {
                self.look_at(view, tally, (under, *hash)).await?;
            }
            if !is_loss || !self.own.holds(hash).await? {
                continue;
            }
            match self.own.get(*file).await? {
                Some(record) if record.file.hash == *hash => {
                    self.look_at(view, tally, (*file, *hash)).await?;
                }
                // It was told of under another id, by somebody who has the same content.
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Counts those behind the last one that was counted.
    async fn count_new(&self, view: &View, tally: &mut Tally) -> Result<(), StoreError> {
        loop {
            let page = self.own.page(tally.last, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            for record in &page {
                let file = (record.id, record.file.hash);
                self.look_at(view, tally, file).await?;
            }
            tally.last = Some(last.id);
        }
    }

    async fn look_at(
        &self,
        view: &View,
        tally: &mut Tally,
        (file, hash): (FileId, BlobHash),
    ) -> Result<(), StoreError> {
        self.looked.count();
        let copies = self.copies_of(file).await?;
        let there = match copies {
            0 | 1 => 1,
            _ => self.holders_of(&hash, view).len() + 1,
        };
        tally.note(file, hash, (copies, there));
        Ok(())
    }

    /// How many files of owners that are gone are held that no member holds that comes before this
    /// one, and of how many there are too few.
    async fn count_held(
        &self,
        view: &View,
        counting: &mut Counting,
        changed: &Changed,
    ) -> Result<(u64, u64), StoreError> {
        let held = *self.table.store.revision().watch().borrow();
        let unknown = self.unknown.owners();
        let is_same = counting.epoch == Some(view.epoch) && counting.held == held;
        let is_same = is_same && counting.unknown.is_empty() && unknown.is_empty();
        if is_same && changed.of.is_empty() && !changed.is_cut {
            return Ok(counting.of_gone);
        }
        let (mut files, mut under, mut after) = (0, 0, None);
        while view.has_lost_any() || !unknown.is_empty() {
            let (copies, next) = self.table.copies(after, PAGE).await?;
            for shared in copies.iter().filter_map(|it| it.signed.read().ok()) {
                if let Some(there) = self.answers_for(&shared, view) {
                    files += 1;
                    under += u64::from(there < usize::from(shared.copies));
                }
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        (counting.held, counting.of_gone) = (held, (files, under));
        counting.unknown = unknown;
        Ok((files, under))
    }

    /// The other members that are there and have told that they have a content.
    pub(super) fn holders_of(&self, hash: &BlobHash, view: &View) -> BTreeSet<PeerId> {
        let told = self.fetcher.network.directory.providers(hash);
        let told = told.into_iter().map(|it| it.peer);
        told.filter(|it| view.is_live(*it)).collect()
    }
}
