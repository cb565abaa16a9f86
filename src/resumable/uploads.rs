//! All uploads: they begin, are visited, and expire.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, RwLock, watch};

use super::entries::{Entries, Full, Known, UploadEntry};
use super::error::UploadError;
use super::id::UploadId;
use super::open_partials::OpenPartials;
use super::remembered::Remembered;
use super::state::{NewUpload, UploadState};
use super::wishes::Wishes;
use crate::blob::{BlobError, Purpose};
use crate::client_key::ClientKey;
use crate::small_state::SmallState;
use crate::store::Store;

/// The most that may be unfinished; of each a state file and some 300 bytes of memory are
/// held, beside its content.
pub(super) const MAX_UNFINISHED: usize = 1000;
/// The most of them of one client.
pub(super) const MAX_OF_ONE: usize = MAX_UNFINISHED / 4;
/// The most that are remembered after their end, for clients that ask once more.
pub(super) const MAX_FINISHED: usize = 10_000;
/// How often to look for expired ones.
pub(super) const EXPIRE_EVERY: Duration = Duration::from_mins(1);

/// The uploads of a node.
pub struct Uploads {
    pub(super) store: Store,
    /// How long an upload may wait for its client, and a finished one is remembered.
    pub(super) expiry: Duration,
    pub(super) remembered: Remembered,
    pub(super) entries: Entries,
    pub(super) open: OpenPartials,
    /// Shared by whoever makes a file and has yet to say whose it is; taken by those who
    /// look for a file that they made before a crash.
    pub(super) claims: RwLock<()>,
    /// Whether no more bytes are taken, since the node stops.
    pub(super) stopping: watch::Sender<bool>,
    /// Set once it is known what was there before this start: those whose end a crash cut off.
    recalled: OnceCell<Vec<UploadId>>,
    /// None where files are on this node alone.
    pub(super) wishes: Option<Arc<dyn Wishes>>,
}

impl Uploads {
    /// The uploads into `store`, whose states are in `states`. One may wait for its client for
    /// `expiry`, and a finished one is remembered for as long. Nothing is touched before it is
    /// needed.
    pub fn new(store: Store, states: Arc<dyn SmallState>, expiry: Duration) -> Self {
        let (partials, ledger) = (store.partials(Purpose::Uploads), store.ledger());
        let remembered = Remembered::new(states, partials, ledger);
        Self {
            store,
            expiry,
            remembered,
            entries: Entries::default(),
            open: OpenPartials::default(),
            claims: RwLock::default(),
            stopping: watch::Sender::default(),
            recalled: OnceCell::new(),
            wishes: None,
        }
    }

    /// The same, where `wishes` has files be on as many members as their uploaders say.
    #[must_use]
    pub fn heeded_by(mut self, wishes: Option<Arc<dyn Wishes>>) -> Self {
        self.wishes = wishes;
        self
    }

    /// Begins an upload of a client. Ok means that a restart does not forget it. Where there is no
    /// place, one gives way of which nothing has come, or that a client with many lets wait.
    pub async fn create(
        &self,
        mut upload: NewUpload,
        client: Option<ClientKey>,
    ) -> Result<UploadId, UploadError> {
        self.check_writable()?;
        self.check_expected(upload.length.unwrap_or(0)).await?;
        self.recall().await?;
        let id = UploadId::new();
        if upload.about.name.is_empty() {
            upload.about.name = id.to_string();
        }
        if let Some(ledger) = &self.remembered.ledger {
            return self
                .add_row(ledger, (id, upload), client, &BTreeSet::new())
                .await;
        }
        let places = (MAX_UNFINISHED, MAX_OF_ONE);
        let room = self.store.no_room_yet(client.clone());
        let is_empty_part = upload.concat.is_some() && upload.length == Some(0);
        let state = UploadState::new(upload, client.clone());
        let gone = self.entries.add_unfinished(id, client, places, room);
        let gone = gone.map_err(|full| match full {
            Full::All => UploadError::TooMany(MAX_UNFINISHED),
            Full::Share => UploadError::TooManyOfOne(MAX_OF_ONE),
        })?;
        if let Some(gone) = gone {
            tracing::info!(id = %gone, "an upload gives way to others");
            self.remove(gone).await;
        }
        if let Some(entry) = self.entries.get(id).filter(|_| is_empty_part) {
            // It is whole, so it gives way to nobody.
            entry.begin();
        }
        let saved = self.remembered.save(id, &state).await;
        if saved.is_err() {
            self.entries.remove(id);
            self.remembered.remove(id).await;
        }
        saved.map(|()| id)
    }

    /// Whether content of `length` bytes may come: all that limits the size of an upload is
    /// looked at here, before anything of it is received. Where only its hash would tell whether
    /// it needs room, that is seen at its end.
    pub(super) async fn check_expected(&self, length: u64) -> Result<(), UploadError> {
        self.store.check_length(length)?;
        self.store.check_quota_of_length(length).await?;
        Ok(self.store.check_room(length).await?)
    }

    pub(super) fn check_writable(&self) -> Result<(), UploadError> {
        match self.store.refusal() {
            Some(reason) => Err(BlobError::Refused(reason).into()),
            None => Ok(()),
        }
    }

    /// How long it is until an upload is removed that does not go on.
    pub(super) fn expires_in(&self, known: Known) -> Duration {
        self.expiry.saturating_sub(known.written.elapsed())
    }

    /// Stops all requests that bring bytes; whoever sends them can go on later.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Forgets an upload, with what has come of it, and with its parts if it is a final one: those
    /// first, since without it they would stand for themselves, and what has come of them is in it.
    pub(super) async fn remove(&self, id: UploadId) {
        if let Some(ledger) = &self.remembered.ledger {
            return self.remove_row(ledger, id).await;
        }
        let parts = self.entries.parts_of(id);
        for id in parts.into_iter().chain([id]) {
            self.entries.remove(id);
            drop(self.open.take(id));
            self.remembered.remove(id).await;
        }
    }

    /// Ends what a crash has interrupted, then removes what expires, for ever.
    pub async fn run(self: Arc<Self>) {
        if let Some(ledger) = self.remembered.ledger.clone() {
            tokio::join!(self.keep_tidy(&ledger), ledger.make_way());
            return;
        }
        match self.recall().await {
            // Whoever needs them next looks again.
            Err(UploadError::Store(error)) if error.is_shortage() => {
                let error = &error as &dyn Error;
                tracing::warn!(error, "the unfinished uploads cannot be listed yet");
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::error!(error, "the unfinished uploads cannot be listed");
            }
            Ok(interrupted) => {
                for id in interrupted {
                    if let Err(error) = self.end(*id).await {
                        let error = &error as &dyn Error;
                        tracing::warn!(%id, error, "an upload cannot be finished yet");
                    }
                }
            }
        }
        let every = EXPIRE_EVERY.min(self.expiry);
        loop {
            self.remove_expired().await;
            tokio::time::sleep(every).await;
        }
    }

    async fn end(self: &Arc<Self>, id: UploadId) -> Result<(), UploadError> {
        self.visit(id).await?.progress().await.map(drop)
    }

    async fn remove_expired(&self) {
        let Some(since) = Instant::now().checked_sub(self.expiry) else {
            return;
        };
        for id in self.entries.written_before(since) {
            let Some(entry) = self.entries.get(id) else {
                continue;
            };
            // Of one that is under way the time is noted when it ends.
            let turn = entry.turns.take_if_free();
            if turn.is_some() && entry.known().written < since {
                tracing::info!(%id, "an upload has expired");
                self.remove(id).await;
            }
        }
    }

    /// Forgets those that ended longest ago, where too many are remembered.
    pub(super) async fn forget_oldest(&self) {
        if self.remembered.ledger.is_some() {
            // Others have brought them, too.
            return;
        }
        while let Some(id) = self.entries.first_ended_beyond(MAX_FINISHED) {
            self.remove(id).await;
        }
    }

    /// Learns once what was there before this start.
    pub async fn recall(&self) -> Result<&[UploadId], UploadError> {
        let recall = || async {
            if self.remembered.ledger.is_some() {
                // Who visits one learns what it is.
                return Ok(Vec::new());
            }
            let (mut interrupted, mut finals) = (Vec::new(), Vec::new());
            let all = self.remembered.find_all(self.expiry).await?;
            for found in all {
                let state = found.state.as_ref();
                let file = state.and_then(|it| it.finished).map(|it| it.file);
                let parts = state.and_then(|it| it.upload.parts());
                let ends = parts.is_some() || state.is_some_and(|it| it.ending.is_some());
                if file.is_none() && ends {
                    interrupted.push(found.id);
                }
                finals.extend(parts.map(|parts| (found.id, parts, file.is_some())));
                if file.is_some() && found.len > 0 {
                    // It could not be removed when the file stood.
                    self.remembered.remove_content(found.id).await;
                }
                let now = Instant::now();
                let written = now.checked_sub(found.age).unwrap_or(now);
                let known = Known { written, file };
                // What cannot be read now is nobody's that is known.
                let client = match state {
                    Some(state) => state.client.clone(),
                    None => Some(ClientKey::Forgotten),
                };
                let room = self.store.no_room_yet(client.clone());
                // Of one that has ended nothing is left, or it is the same as the file.
                room.note(if file.is_none() { found.len } else { 0 });
                let is_whole = state.is_some_and(|it| it.upload.length == Some(found.len));
                let begun = found.len > 0 || is_whole;
                self.entries
                    .add(found.id, UploadEntry::new(known, client, begun, room));
            }
            for (id, parts, is_file) in finals {
                if is_file {
                    self.forget_contents(&parts).await;
                }
                self.entries.join(id, parts);
            }
            Ok(interrupted)
        };
        let recalled = self.recalled.get_or_try_init(recall).await;
        recalled.map(Vec::as_slice)
    }
}
