//! The keeper: fetches what is wanted, some at a time, until it has it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Notify, OnceCell};
use tokio::task::JoinSet;

use super::fetching::{Fetch, KeepError};
use super::not_kept::{MAX_OF_ONE, MAX_OPEN, NotKept};
use super::queue::{Begun, KeepProgress, Queue, Stage};
use super::removed::Removed;
use super::shared::Shared;
use super::unhashed::Unhashed;
use super::wanted::{KeepId, Wanted};
use crate::blob::{FoundPartial, PartialId, Partials, Purpose};
use crate::client_key::ClientKey;
use crate::fetch::fetcher::Fetcher;
use crate::fetch::repairing::partial_of;
use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord};
use crate::revision::Revision;
use crate::small_state::{SmallState, StateError, StateName};
use crate::store::{Store, TakenRoom};

/// What users asked for is written down under this name.
pub(super) const NAME: StateName = StateName::Single {
    name: "keeping/wanted",
    kind: "larder-wanted 1",
};
/// How long after what was wanted could not be read it is tried again.
const RECALL_AGAIN: Duration = Duration::from_secs(1);
/// How soon to look again whether there is a turn for one that waits.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long nothing is looked at when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

/// Fetches what is wanted.
pub struct Keeper {
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) store: Store,
    /// How often to look for what is new, where everything is kept that is announced.
    pub(super) everything: Option<Duration>,
    /// What has come of content that takes long.
    partials: Arc<dyn Partials>,
    /// What of that takes room of the quota.
    rooms: Mutex<BTreeMap<PartialId, Arc<TakenRoom>>>,
    pub(super) queue: Mutex<Queue>,
    pub(super) revision: Arc<Revision>,
    /// Wakes the keeper when something was added.
    added: Notify,
    /// Set once it is known what was wanted before.
    recalled: OnceCell<()>,
    /// Held while what is wanted is written down.
    pub(super) state: AsyncMutex<Arc<dyn SmallState>>,
    /// What other nodes are to have as well.
    pub(super) shared: Option<Shared>,
    /// Held while it is looked whether content has a name here, and it is given that.
    pub(super) naming: AsyncMutex<()>,
    unhashed: Unhashed,
    pub(super) removed: Removed,
}

impl Keeper {
    /// A keeper that has nothing to do yet, and writes down in `state` what is wanted.
    /// `everything` is how often to look for what is new, where everything is kept that is
    /// announced.
    pub fn new(
        fetcher: Arc<Fetcher>,
        store: Store,
        state: Arc<dyn SmallState>,
        everything: Option<Duration>,
    ) -> Self {
        let queue = Queue::default();
        Self {
            fetcher,
            partials: store.partials(Purpose::Copies),
            rooms: Mutex::default(),
            shared: store.keeps().map(Shared::new),
            unhashed: Unhashed::new(Arc::clone(&state), store.keeps()),
            store,
            everything,
            revision: Arc::clone(queue.jobs.changes()),
            queue: Mutex::new(queue),
            added: Notify::new(),
            recalled: OnceCell::new(),
            removed: Removed::new(Arc::clone(&state)),
            state: AsyncMutex::new(state),
            naming: AsyncMutex::default(),
        }
    }

    /// Takes over what a client wants. Ok means that a restart does not forget it. Where there is
    /// no place, what was tried in vain so far gives way.
    pub async fn keep(&self, wanted: Wanted, client: Option<ClientKey>) -> Result<(), NotKept> {
        let id = wanted.id();
        self.recall().await?;
        if let Some(shared) = &self.shared {
            shared.ask(&wanted, client.as_ref()).await?;
            self.added.notify_one();
            return Ok(());
        }
        let was_open = {
            let mut queue = self.queue.lock();
            let share = client.is_some() && queue.open_of(client.as_ref()) >= MAX_OF_ONE;
            if share && !queue.give_way(client.as_ref(), true) {
                return Err(NotKept::TooManyOfOne);
            }
            if queue.open() >= MAX_OPEN && !queue.give_way(client.as_ref(), false) {
                return Err(NotKept::TooMany);
            }
            let was_open = queue.is_open(id);
            queue.add(wanted.clone(), None);
            queue.belongs_to(id, client);
            was_open
        };
        if let Err(error) = self.write_down().await {
            let mut queue = self.queue.lock();
            if was_open {
                // What was promised before stays so.
                queue.want_no_more(&wanted);
            } else {
                queue.remove(id);
            }
            return Err(error.into());
        }
        self.added.notify_one();
        Ok(())
    }

    /// Gives up what a user wanted, or forgets that it is there. What is kept stays.
    pub async fn forget(&self, id: KeepId) -> Result<Option<KeepProgress>, NotKept> {
        self.recall().await?;
        let gone = match &self.shared {
            Some(shared) => shared.forget(id).await?,
            None => None,
        };
        let removed = self.queue.lock().remove(id);
        if let Some(progress) = &removed {
            // Of what is under way, the fetch itself removes what has come when it stops.
            if progress.stage != Stage::Fetching {
                self.give_up(id).await;
            }
            self.write_down().await?;
        }
        Ok(match self.shared {
            Some(_) => gone,
            None => removed,
        })
    }

    /// Notes that a user is about to remove a file, so that its content is not fetched again
    /// where everything is kept. Returns what [`Keeper::end_removal`] is to be told.
    pub async fn begin_removal(&self, id: FileId) -> Option<BlobHash> {
        self.everything?;
        let record = self.store.get(id).await.ok()??;
        let hash = record.file.hash;
        let noted = async {
            self.recall().await?;
            match &self.shared {
                Some(shared) => shared.note_removed(&hash).await,
                None => Ok(self.removed.begin(hash).await?),
            }
        };
        if let Err(error) = noted.await {
            self.removed.begin_unwritten(hash);
            // A full disk, say, where removals are what helps.
            tracing::warn!(
                error = &error as &dyn Error,
                "it could not be written down that a file is removed"
            );
        }
        self.queue.lock().give_up_unasked(KeepId::Content(hash));
        Some(hash)
    }

    /// Notes that the removal is at its end.
    pub fn end_removal(&self, hash: &BlobHash) {
        self.removed.end(hash);
    }

    /// How far one is. An error means that what was wanted before is not known yet.
    pub async fn progress(&self, id: KeepId) -> Result<Option<KeepProgress>, NotKept> {
        self.recall().await?;
        match &self.shared {
            Some(shared) => shared.progress(id).await,
            None => Ok(self.queue.lock().get(id)),
        }
    }

    /// How far at most `limit` of those are that are known, the oldest first, from the first
    /// behind the one with the number `after`; each with its own number.
    pub async fn page(
        &self,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, KeepProgress)>, NotKept> {
        match &self.shared {
            Some(shared) => shared.page(after, limit).await,
            None => Ok(self.queue.lock().page(after, limit)),
        }
    }

    /// That other files are wanted, or that they are farther.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// Fetches what is wanted, for ever.
    pub async fn run(self: Arc<Self>) {
        while let Err(error) = self.recall().await {
            tracing::warn!(
                error = &error as &dyn Error,
                "the list of wanted copies cannot be read yet"
            );
            tokio::time::sleep(RECALL_AGAIN).await;
        }
        let mut running = JoinSet::new();
        if let Some(every) = self.everything {
            running.spawn(Arc::clone(&self).keep_everything(every));
        }
        running.spawn(Arc::clone(&self).keep_turns());
        let mut fetching = JoinSet::new();
        loop {
            while let Some(begun) = self.begin_next() {
                fetching.spawn(Arc::clone(&self).fetch(begun));
            }
            if self.take_up().await {
                continue;
            }
            let due = self.queue.lock().next_due();
            let due = due.map(|due| due.max(Instant::now() + LOOK_AGAIN));
            let due = due.into_iter().chain(self.looks_again()).min();
            let due = due.unwrap_or_else(|| Instant::now() + IDLE);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = self.added.notified() => {}
                Some(_) = fetching.join_next() => {}
            }
        }
    }

    fn begin_next(&self) -> Option<Begun> {
        self.queue.lock().begin_next()
    }

    async fn fetch(self: Arc<Self>, mut begun: Begun) {
        let id = begun.wanted.id();
        if begun.unasked && !self.hold_unasked(&mut begun).await {
            return;
        }
        tokio::select! {
            fetched = self.fetch_missing(&begun) => self.end(id, fetched).await,
            () = begun.given_up.notified() => self.leave_row(begun.held).await,
        }
        // Also where it was given up in the moment in which it failed.
        let is_here = self.queue.lock().get(id).is_some();
        if !is_here {
            self.give_up(id).await;
        }
    }

    /// Makes a copy; None where a file had the content already, which is whole then.
    async fn fetch_missing(&self, begun: &Begun) -> Result<Option<FileRecord>, KeepError> {
        let wanted = &begun.wanted;
        if let Some(hash) = self.hash_of(wanted).await?
            && self.store.holds_whole(&hash).await?
            && let Some(blob) = self.store.open(&hash).await?
        {
            begun.size.store(blob.size(), Ordering::Relaxed);
            return Ok(None);
        }
        let room = self.room_of(begun);
        let before = room.bytes();
        let fetch = Fetch {
            room: &room,
            fetcher: &self.fetcher,
            store: &self.store,
            partials: &*self.partials,
            unhashed: &self.unhashed,
            fetched: &begun.fetched,
            size: &begun.size,
            most: begun.unasked.then_some(wanted.file.size),
            turn: begun.held.map(|it| it.turn),
        };
        let fetched = fetch.run(wanted).await;
        // What has come stays for the next try.
        room.note(match (&fetched, begun.fetched.get()) {
            (Ok(_), _) => 0,
            (Err(_), 0) => before,
            (Err(_), here) => here,
        });
        if let Some(hash) = wanted.file.hash.filter(|_| room.bytes() == 0) {
            self.rooms.lock().remove(&partial_of(&hash));
        }
        fetched
    }

    /// The room that a copy takes: with what has come of it before, or of its own.
    fn room_of(&self, begun: &Begun) -> Arc<TakenRoom> {
        let room = || self.store.no_room_yet(begun.client.clone());
        let Some(hash) = begun.wanted.file.hash else {
            return room();
        };
        let mut rooms = self.rooms.lock();
        Arc::clone(rooms.entry(partial_of(&hash)).or_insert_with(room))
    }

    /// Removes what has come of what is not wanted any more.
    pub(super) async fn give_up(&self, id: KeepId) {
        if let KeepId::Content(hash) = id {
            self.remove_partial(&partial_of(&hash)).await;
        }
    }

    async fn remove_partial(&self, id: &PartialId) {
        self.rooms.lock().remove(id);
        // What is left is removed at the next start.
        if let Err(error) = self.partials.remove(id).await {
            tracing::warn!(%id, %error, "content of no use is not removed");
        }
    }

    async fn end(&self, id: KeepId, fetched: Result<Option<FileRecord>, KeepError>) {
        let ended = match fetched {
            Ok(made) => self.end_kept(id, made).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            if error.is_taken_over() {
                self.queue.lock().remove(id);
                return;
            }
            tracing::warn!(%id, error = &error as &dyn Error, "a file could not be fetched");
            if error.needs_new_start() {
                self.give_up(id).await;
            }
            let text = error.to_string();
            if let Some(shared) = &self.shared {
                return self.fail_row(shared, id, error.is_final(), &text).await;
            }
            if !error.is_final() {
                return self.queue.lock().retry(id, text);
            }
            self.queue.lock().end(id, Stage::Failed, Some(text));
        }
        if let Err(error) = self.write_down().await {
            tracing::warn!(%error, "it could not be written down that a file is kept");
        }
    }

    /// The hash of what is wanted: as it was told, or as it was when it was kept before.
    pub(super) async fn hash_of(&self, wanted: &Wanted) -> Result<Option<BlobHash>, StateError> {
        match wanted.file.hash {
            Some(hash) => Ok(Some(hash)),
            None => self.unhashed.get(wanted.file.id).await,
        }
    }

    async fn write_down(&self) -> Result<(), StateError> {
        if self.shared.is_some() {
            return Ok(());
        }
        let state = self.state.lock().await;
        let wanted = self.queue.lock().asked_for();
        let text = serde_json::json!(wanted).to_string();
        state.save(&NAME, text.into_bytes()).await
    }

    /// Learns once what users wanted before this start, and what has come of it.
    pub async fn recall(&self) -> Result<(), NotKept> {
        let recall = || async {
            let found = self.partials.prepare().await?;
            for FoundPartial { id, len, .. } in &found {
                let room = self.store.no_room_yet(None);
                room.note(*len);
                self.rooms.lock().insert(id.clone(), room);
            }
            if let Some(shared) = &self.shared {
                let wanted = self.recall_shared(shared).await?;
                self.remove_others(found, &wanted).await;
                return Ok(());
            }
            let text = self.state.lock().await.load(&NAME).await?;
            let text = text.unwrap_or_else(|| b"[]".to_vec());
            let wanted: Vec<Wanted> = serde_json::from_slice(&text).unwrap_or_default();
            // What is fetched because everything is, is not written down.
            if self.everything.is_none() {
                self.remove_others(found, &wanted).await;
            }
            self.unhashed.recall().await?;
            self.removed.recall().await?;
            for wanted in wanted {
                self.queue.lock().add(wanted, None);
            }
            Ok(())
        };
        self.recalled.get_or_try_init(recall).await.copied()
    }

    /// Removes what was received of anything but `wanted`.
    async fn remove_others(&self, found: Vec<FoundPartial>, wanted: &[Wanted]) {
        for FoundPartial { id, .. } in found {
            let is_of = |it: &Wanted| it.file.hash.is_some_and(|it| partial_of(&it) == id);
            if !wanted.iter().any(is_of) {
                self.remove_partial(&id).await;
            }
        }
    }

    pub(super) fn wake(&self) {
        self.added.notify_one();
    }
}
