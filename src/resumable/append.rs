//! Bytes that are put behind those that are here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::error::UploadError;
use super::visit::{UploadProgress, Visit};
use crate::blob::{BlobError, Partial, Proven};
use crate::store::{StoreError, TakenRoom};

/// How many bytes come at most before it is noted once more which beginning is here.
const MARK_EVERY: u64 = 16 << 20;
/// How many bytes are worth a note once [`MARK_AFTER`] has passed since the last one, so that
/// slow clients lose no more than fast ones.
const MARK_AT_LEAST: u64 = 1 << 20;
/// After how long [`MARK_AT_LEAST`] bytes are noted.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// A request that brings bytes. To drop it is to be killed: what was noted of what it wrote
/// counts, and nothing of it where it was to be checked.
pub struct Appending {
    /// Before the visit, behind which it counts nothing here that other nodes count, too.
    ahead: Ahead,
    visit: Visit,
    partial: Box<dyn Partial>,
    /// Where it began.
    began: u64,
    /// How many bytes are noted, and when it was last looked how many there are; None where
    /// they are to be checked.
    marked: Option<(u64, Instant)>,
}

/// Room for all of an upload while a request brings bytes, so that two that are under way do not
/// stop each other halfway; only what has come keeps it when the request is at its end.
struct Ahead {
    room: Arc<TakenRoom>,
    came: u64,
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.room.note(self.came);
    }
}

/// Why a request is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Another one wants the turn.
    TakenOver,
    /// The node is about to stop.
    NodeStops,
}

impl Visit {
    /// Begins to append at `offset`, which must be the end of what is here. Bytes that are to
    /// be `checked` count only once [`Appending::keep`] is called.
    pub async fn append(mut self, offset: u64, checked: bool) -> Result<Appending, UploadError> {
        self.uploads.check_writable()?;
        let here = self.offset().await?;
        if here != offset || self.state.finished.is_some() {
            return Err(UploadError::Offset(here));
        }
        let (length, room) = (self.state.upload.length, Arc::clone(&self.entry.room));
        if let Some(length) = length {
            self.uploads.store.let_come(&room, here, length).await?;
        }
        let ahead = Ahead { room, came: here };
        let partial = self.partial().await?;
        self.have_others_wait().await?;
        Ok(Appending {
            visit: self,
            partial,
            began: here,
            ahead,
            marked: (!checked).then(|| (here, Instant::now())),
        })
    }

    /// All that is here, which is read unless it was kept open, and compared with what was
    /// acknowledged. An upload of which that is damaged is given up.
    pub(super) async fn partial(&mut self) -> Result<Box<dyn Partial>, UploadError> {
        let Self { uploads, id, .. } = self;
        if let Some(partial) = uploads.open.take(*id) {
            return Ok(partial);
        }
        let limit = uploads.store.limit();
        match uploads.remembered.resume(*id, &self.state, limit).await {
            Err(UploadError::Store(StoreError::Blob(BlobError::Damaged { .. }))) => {
                Err(self.give_up().await)
            }
            partial => partial,
        }
    }
}

impl Appending {
    /// Takes the next piece; waits while the disk is behind.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), UploadError> {
        self.visit.entry.begin();
        let (store, length) = (&self.visit.uploads.store, self.visit.state.upload.length);
        let came = self.partial.received() + piece.len() as u64;
        store.let_more_come(&self.ahead.room, came, length).await?;
        self.ahead.came = came;
        self.partial.write(piece).await?;
        let is_due = self.next_mark().is_some_and(|it| it <= Instant::now());
        if is_due || self.unmarked() >= MARK_EVERY {
            self.mark().await?;
        }
        Ok(())
    }

    /// How many bytes are here and not noted, of those that are to be.
    fn unmarked(&self) -> u64 {
        let (received, marked) = (self.partial.received(), self.marked);
        marked.map_or(0, |(before, _)| received.saturating_sub(before))
    }

    /// When [`Appending::mark`] is to be called though nothing more comes; None where it need not
    /// be.
    pub fn next_mark(&self) -> Option<Instant> {
        let (_, when) = self.marked?;
        (self.unmarked() >= MARK_AT_LEAST).then(|| when + MARK_AFTER)
    }

    /// Notes what has been written, unless that is to be checked. Whether it is durable does not
    /// matter, since its hash tells later whether it is still there.
    pub async fn mark(&mut self) -> Result<(), UploadError> {
        if self.marked.is_none() {
            return Ok(());
        }
        let written = self.partial.written().await?;
        self.marked = Some((written.len, Instant::now()));
        if self.visit.is_shared() {
            if written.len == self.visit.state.offset {
                return Ok(());
            }
            // Whoever goes on elsewhere has that, too.
            self.visit.state.offset = written.len;
            self.visit.state.proof = Some(written.hash);
        } else {
            self.visit.state.mark(written);
        }
        match self.visit.save().await {
            Ok(()) => self.partial.noted().await,
            Err(UploadError::TakenOver) => return Err(UploadError::TakenOver),
            // What comes of the upload is told when it is synced.
            Err(error) => {
                tracing::debug!(id = %self.visit.id, %error, "how far an upload is was not noted");
            }
        }
        Ok(())
    }

    /// Returns when no more bytes shall come, and why.
    pub async fn stopped(&mut self) -> Stopped {
        let visit = &mut self.visit;
        let mut stopping = visit.uploads.stopping.subscribe();
        tokio::select! {
            () = visit.taken_over() => Stopped::TakenOver,
            _ = stopping.wait_for(|stopping| *stopping) => Stopped::NodeStops,
        }
    }

    /// Makes what has come durable, and a file of it if it is whole.
    pub async fn keep(self) -> Result<UploadProgress, UploadError> {
        let Self {
            mut visit,
            mut partial,
            ahead,
            ..
        } = self;
        visit.sync(&mut *partial).await?;
        visit.entry.note(None);
        let is_whole = Some(visit.state.offset) == visit.state.upload.length;
        let ends = is_whole && visit.state.upload.concat.is_none();
        if let Some(ledger) = &visit.uploads.remembered.ledger {
            if !ends {
                // Otherwise others wait for the file.
                ledger.settle(visit.id.uuid());
            }
            visit.save().await?;
            partial.noted().await;
        }
        // Before it may be a file, which takes no room any longer.
        drop(ahead);
        if ends {
            visit.finish(partial).await?;
        } else {
            if !visit.is_shared() {
                visit.save().await?;
            }
            visit.uploads.open.put(visit.id, partial);
        }
        visit.progress().await
    }

    /// Throws away what has come in this request.
    pub async fn discard(self) -> Result<(), UploadError> {
        let Self {
            visit,
            partial,
            began,
            mut ahead,
            ..
        } = self;
        partial.give_up().await;
        visit.cut_to(began).await?;
        visit.have_nobody_wait().await;
        ahead.came = began;
        Ok(())
    }

    /// Leaves what cannot be written; what was noted of it counts.
    pub async fn leave(self) {
        self.visit.have_nobody_wait().await;
    }
}

impl Visit {
    /// Makes all that is here durable.
    pub(super) async fn sync(&mut self, partial: &mut dyn Partial) -> Result<(), UploadError> {
        match partial.sync().await {
            Ok(Proven { len, hash }) => {
                self.state.offset = len;
                self.state.proof = Some(hash);
                self.state.marks.clear();
                Ok(())
            }
            Err(error) => {
                // Whatever was not durable before is uncertain now.
                self.entry.doubt();
                self.entry.note_unsynced(true);
                self.cut_to(self.state.offset).await?;
                Err(error.into())
            }
        }
    }

    async fn cut_to(&self, offset: u64) -> Result<(), UploadError> {
        self.uploads.remembered.cut(self.id, offset).await.map(drop)
    }
}
