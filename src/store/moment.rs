//! All files of one moment, told while others come and go.
//!
//! They are read page by page, which takes a while, and a file that was told may be removed
//! before the end. So whoever reads them listens from the beginning to what changes. Once the
//! last page is read, what was heard up to a point decides: files that were removed before it are
//! told to be gone, and those that have come before it are told besides. That point is the moment.
//! A change is told to listeners before it is answered, so whoever makes one after the other finds
//! none of them in a moment without those before it.
//!
//! The contents of files that are removed meanwhile are held until whoever reads the list is
//! through with it (`holding.rs`), so that all contents of the moment can be had.
//!
//! What other nodes change in an index that they share is not heard in this order. There the index
//! is asked, once the last page is read, what was removed since the first one and what has come
//! behind the last, up to one moment. Of files that other nodes remove nothing is held: who finds a
//! content gone begins with another moment.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::feed::{Change, Changes, News};
use super::holding::Holds;
use super::{Store, StoreError};
use crate::hash::BlobHash;
use crate::place::Place;
use crate::record::{FileId, FileRecord};

/// How many files are read at once.
const PAGE: usize = 1024;
/// The most changes that are remembered while the list is read: more than that many removals, and
/// whoever reads it has to begin anew.
const MOST_HEARD: usize = 1 << 20;
/// How many files may come while the last page is read.
const MOST_ADDED: usize = 1 << 14;

/// What is told of a moment.
#[derive(Debug)]
pub enum Told {
    /// A file that is there, unless it is told to be gone.
    File(Arc<FileRecord>),
    /// A file that was told and is not there.
    Gone(FileId),
}

/// The list of all files of one moment, while it is read.
pub struct Moment {
    store: Store,
    /// The last file that was told.
    last: Option<FileId>,
    state: State,
    /// Since when what was removed is asked for, of an index that other nodes change, too; unknown
    /// before the first page.
    since: Option<u64>,
    heard: Arc<Mutex<Heard>>,
    holds: Arc<Holds>,
    /// Has the listener end, and tell once it has heard all.
    stop: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

/// How far the list is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Files are read.
    Reading,
    /// They are, while it is heard which ones come.
    ReadingLast,
    /// All is told.
    Ended,
}

/// What was heard.
#[derive(Default)]
struct Heard {
    removed: HashSet<FileId>,
    /// What has come; None before that counts.
    added: Option<BTreeMap<FileId, Arc<FileRecord>>>,
    /// Whether it is not known what all has changed.
    missed: bool,
}

impl Store {
    /// Begins to tell all files of a moment, which is when the last of them is read.
    pub fn moment(&self) -> Moment {
        let heard = Arc::<Mutex<Heard>>::default();
        let holds = self.holding.begin();
        let (stop, stopped) = oneshot::channel();
        // The first listener is another one: who follows all changes since the start.
        tokio::spawn(hear(self.listen(), Arc::clone(&heard), stopped));
        Moment {
            store: self.clone(),
            last: None,
            state: State::Reading,
            since: None,
            heard,
            holds,
            stop: Some(stop),
        }
    }
}

impl Store {
    /// Before a file is removed: holds its content for the moments that it is of.
    pub(super) async fn hold_for_moments(&self, id: FileId) -> Result<(), StoreError> {
        let all = self.holding.of(id);
        if all.is_empty() {
            return Ok(());
        }
        let Some(record) = self.index.get(id).await? else {
            return Ok(());
        };
        let hash = record.file.hash;
        let Some(held) = self.index.hold(&hash).await? else {
            return Ok(());
        };
        let held = Arc::new(held);
        for holds in all {
            holds.add(hash, &held);
        }
        Ok(())
    }

    /// Where a content is that no file needs and that is held for a moment.
    pub(super) fn held_place(&self, hash: &BlobHash) -> Option<Place> {
        self.holding.place(hash)
    }

    /// Deletes what was held for moments that are over.
    pub(super) fn collect_held(&self) {
        let store = self.clone();
        // Without a runtime there is no store that anything could be deleted from.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // What goes wrong is told by the collecting itself.
                let _ = store.change(|_| async { Ok(()) }).await;
            });
        }
    }
}

impl Moment {
    /// Some more of it; nothing at the end, when the moment is over. `None` where it is not known
    /// what has changed meanwhile, so that there is no moment to tell.
    pub async fn next(&mut self) -> Result<Option<Vec<Told>>, StoreError> {
        loop {
            if self.state == State::Ended {
                return Ok(Some(Vec::new()));
            }
            if self.store.is_shared && self.since.is_none() {
                self.since = Some(self.store.index.mark().await?);
            }
            let page = self.store.page(self.last, PAGE).await?;
            if let Some(last) = page.last() {
                self.last = Some(last.id);
                let told = page.into_iter().map(|it| Told::File(Arc::new(it)));
                return Ok(Some(told.collect()));
            }
            if let Some(since) = self.since {
                return self.end_shared(since).await;
            }
            if self.state == State::Reading {
                // From here on what comes is heard, and what has come before is on a page.
                self.heard.lock().added = Some(BTreeMap::new());
                self.state = State::ReadingLast;
                continue;
            }
            self.state = State::Ended;
            match self.end().await {
                Some(told) if told.is_empty() => {}
                told => return Ok(told),
            }
        }
    }

    /// What is to be told besides, by what all nodes have changed until now.
    async fn end_shared(&mut self, since: u64) -> Result<Option<Vec<Told>>, StoreError> {
        let index = &self.store.index;
        let Some(changed) = index.changed_since(since, self.last).await? else {
            return Ok(None);
        };
        let listed = self.last;
        self.last = changed.added.last().map(|it| it.id).max(listed);
        let added = changed.added.into_iter();
        let mut told: Vec<_> = added.map(|it| Told::File(Arc::new(it))).collect();
        if changed.is_all {
            self.state = State::Ended;
            self.holds.end_at(self.last);
            let gone = changed.removed.into_iter();
            let gone = gone.filter(|it| Some(*it) <= listed);
            told.extend(gone.map(Told::Gone));
        }
        Ok(Some(told))
    }

    /// What is to be told besides, by what was heard until now.
    async fn end(&mut self) -> Option<Vec<Told>> {
        let (answer, answered) = oneshot::channel();
        self.stop.take()?.send(answer).ok()?;
        answered.await.ok()?;
        let Heard {
            removed,
            added,
            missed,
        } = std::mem::take(&mut *self.heard.lock());
        if missed || self.holds.is_spoiled() {
            return None;
        }
        let last = self.last;
        let added = added.unwrap_or_default().into_values();
        let added = added.filter(|it| Some(it.id) > last && !removed.contains(&it.id));
        let added = added.collect::<Vec<_>>();
        self.last = added.last().map(|it| it.id).max(last);
        self.holds.end_at(self.last);
        let told = added.into_iter().map(Told::File).collect::<Vec<_>>();
        let gone = removed.iter().filter(|it| Some(**it) <= last);
        let gone = gone.map(|it| Told::Gone(*it));
        Some(told.into_iter().chain(gone).collect())
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.holds = Arc::default();
        self.store.collect_held();
    }
}

/// Hears what changes until it is stopped, and then all that was told before.
async fn hear(
    mut changes: Changes,
    heard: Arc<Mutex<Heard>>,
    mut stopped: oneshot::Receiver<oneshot::Sender<()>>,
) {
    loop {
        let news = tokio::select! {
            news = changes.next() => news,
            asked = &mut stopped => {
                while let Some(news) = changes.next_told() {
                    heard.lock().note(news);
                }
                // Whoever wanted to know may be gone.
                let _ = asked.map(|answer| answer.send(()));
                return;
            }
        };
        // There is none where the store is gone.
        let Some(news) = news else { return };
        heard.lock().note(news);
    }
}

impl Heard {
    fn note(&mut self, news: News) {
        match news {
            News::Change(Change::Removed(record)) => {
                self.removed.insert(record.id);
                self.missed |= self.removed.len() > MOST_HEARD;
            }
            News::Change(Change::Added(record)) => {
                if let Some(added) = &mut self.added {
                    added.insert(record.id, record);
                    self.missed |= added.len() > MOST_ADDED;
                }
            }
            News::Change(_) => {}
            News::Missed(_) => self.missed = true,
        }
        if self.missed {
            // Nothing of it counts any more.
            self.removed.clear();
            self.added = None;
        }
    }
}
