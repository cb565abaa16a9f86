//! One request at an upload.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Notify;

use super::concat::Concat;
use super::counted_here::CountedHere;
use super::entries::UploadEntry;
use super::error::UploadError;
use super::id::UploadId;
use super::state::{Finished, UploadState};
use super::turns::Turn;
use super::uploads::Uploads;
use crate::blob::{BlobError, Proven};
use crate::disk::{SYNC, is_shortage};
use crate::record::FileId;
use crate::store::StoreError;

/// The turn at an upload. While it lasts nobody else changes anything about it.
pub struct Visit {
    pub(super) uploads: Arc<Uploads>,
    pub(super) id: UploadId,
    pub(super) entry: Arc<UploadEntry>,
    /// Before the turn, so that nobody has that before it is gone.
    pub(super) here: Option<CountedHere>,
    pub(super) turn: Turn,
    pub(super) state: UploadState,
    /// Told when another node wants the turn; while it is there, those wait.
    pub(super) asked: Option<Arc<Notify>>,
}

/// How far an upload is.
#[derive(Debug, Clone)]
pub struct UploadProgress {
    /// How many bytes it will have; None where the client has yet to tell.
    pub length: Option<u64>,
    /// How many of them are here.
    pub offset: u64,
    /// What the client told of it, as it wrote that.
    pub metadata: Option<String>,
    /// What it is to other uploads.
    pub concat: Option<Concat>,
    /// When it is removed unless it goes on.
    pub expires: SystemTime,
    /// What it has become, once all of it was here.
    pub finished: Option<Finished>,
}

impl Uploads {
    /// Takes the turn at an upload; whoever has it is stopped first.
    pub async fn visit(self: &Arc<Self>, id: UploadId) -> Result<Visit, UploadError> {
        if let Some(ledger) = &self.remembered.ledger {
            return self.claim(ledger, id).await;
        }
        self.recall().await?;
        let entry = self.entries.get(id).ok_or(UploadError::Unknown)?;
        let turn = entry.turns.take().await;
        // It may have been removed while another one had the turn.
        let entry = self.entries.get(id).ok_or(UploadError::Unknown)?;
        if self.expires_in(entry.known()).is_zero() {
            return Err(UploadError::Unknown);
        }
        let state = self.remembered.load(id).await?;
        Ok(Visit {
            uploads: Arc::clone(self),
            id,
            entry,
            here: None,
            turn,
            state,
            asked: None,
        })
    }
}

impl Visit {
    /// How far it is. If it is whole, it is a file then.
    pub async fn progress(&mut self) -> Result<UploadProgress, UploadError> {
        self.finish_whole().await?;
        if let Some(file) = self.file().await?
            && self.uploads.store.get(file).await?.is_none()
        {
            return Err(UploadError::FileRemoved);
        }
        let (now, wait) = (
            SystemTime::now(),
            self.uploads.expires_in(self.entry.known()),
        );
        Ok(UploadProgress {
            length: self.state.upload.length,
            offset: self.offset().await?,
            metadata: self.state.upload.metadata.clone(),
            concat: self.state.upload.concat.clone(),
            expires: now.checked_add(wait).unwrap_or(now),
            finished: self.state.finished,
        })
    }

    /// The file that it has become, or is within.
    async fn file(&self) -> Result<Option<FileId>, UploadError> {
        let (own, whole) = (self.state.finished, self.entry.joined());
        let (None, Some(whole)) = (own, whole) else {
            return Ok(own.map(|it| it.file));
        };
        self.uploads.file_of(whole).await
    }

    /// Notes how many bytes it will have, which its client tells once. Ok means that a restart
    /// does not forget it.
    pub async fn set_length(&mut self, length: u64) -> Result<(), UploadError> {
        if let Some(known) = self.state.upload.length {
            let is_known = known == length;
            return is_known.then_some(()).ok_or(UploadError::Length);
        }
        if length < self.offset().await? {
            return Err(UploadError::Length);
        }
        self.uploads.check_writable()?;
        self.uploads.check_expected(length).await?;
        self.state.upload.length = Some(length);
        self.save().await
    }

    /// How many bytes are here; whatever is behind them is cut off.
    pub(super) async fn offset(&mut self) -> Result<u64, UploadError> {
        // What has come of it is elsewhere then.
        let is_over = self.state.finished.is_some() || self.entry.joined().is_some();
        if let Some(length) = self.state.upload.length.filter(|_| is_over) {
            return Ok(length);
        }
        if self.is_shared() {
            // Nothing else was written down.
            return Ok(self.state.offset);
        }
        if let Some(received) = self.uploads.open.received(self.id) {
            return Ok(received);
        }
        if self.uploads.store.refusal().is_some() {
            // Nothing can be appended anyway.
            return Ok(self.state.offset);
        }
        self.settle().await?;
        let counts = self
            .uploads
            .remembered
            .cut(self.id, self.state.offset)
            .await?;
        // What was cut off takes no room any longer.
        self.entry.room.note(counts);
        let is_less = counts < self.state.offset;
        if is_less || (self.state.offset > 0 && !self.entry.is_proven()) {
            self.prove().await?;
        }
        Ok(counts)
    }

    /// Has the longest beginning count that was noted while a request brought it, and that is
    /// still here; its bytes are durable then, as what is told of them must be.
    pub(super) async fn settle(&mut self) -> Result<(), UploadError> {
        if self.state.marks.is_empty() {
            return Ok(());
        }
        let marks = std::mem::take(&mut self.state.marks);
        // What a final upload notes is of its parts, and was durable before.
        let is_final = self.check_takes_bytes().is_err();
        if is_final || !self.entry.has_unsynced() {
            match self.uploads.remembered.longest(self.id, marks).await {
                Ok(Some(Proven { len, hash })) => {
                    self.state.offset = len;
                    self.state.proof = Some(hash);
                }
                Ok(None) => {}
                Err(error) if is_of_sync(&error) && !is_final => {
                    self.entry.note_unsynced(true);
                    self.forget_marks().await?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.forget_marks().await
    }

    /// Notes that nothing more counts than what is durable now. A system that has failed to write
    /// bytes may drop them, but has them in memory yet, and says of the next sync that all went
    /// well: so they never count, also where this cannot be written down.
    async fn forget_marks(&self) -> Result<(), UploadError> {
        self.save().await?;
        self.entry.note_unsynced(false);
        Ok(())
    }

    /// Reads, once after a start, what was here before, before anything is told of it: what is
    /// told is never taken back, so it has to be what came, and to be proven from then on.
    async fn prove(&mut self) -> Result<(), UploadError> {
        let mut partial = match self.partial().await {
            Ok(partial) => partial,
            Err(error @ UploadError::Damaged) => return Err(error),
            Err(UploadError::Store(StoreError::Blob(BlobError::Disk(error))))
                if is_shortage(&error.source) =>
            {
                return Err(BlobError::Disk(error).into());
            }
            // What cannot be read now, or for which there is no room, is tried again.
            Err(error) => {
                tracing::debug!(id = %self.id, %error, "an upload is not read yet");
                return Ok(());
            }
        };
        if self.state.proof.is_none() {
            self.sync(&mut *partial).await?;
            self.save().await?;
        }
        self.uploads.open.put(self.id, partial);
        self.entry.set_proven();
        Ok(())
    }

    /// Forgets an upload of which what was acknowledged is no longer what came. Where other nodes
    /// have it, too, only in the turn of this one: what it knows of may be elsewhere since.
    pub(super) async fn give_up(&self) -> UploadError {
        if self.is_shared()
            && let Err(error) = self.save().await
        {
            return error;
        }
        tracing::error!(id = %self.id, name = self.state.upload.about.name,
            "what was stored of an upload is damaged; the upload is given up");
        self.uploads.remove(self.id).await;
        UploadError::Damaged
    }

    /// Writes down the state, durably.
    pub(super) async fn save(&self) -> Result<(), UploadError> {
        self.uploads.remembered.save(self.id, &self.state).await
    }

    /// Fails where the upload is a final one, to which nobody brings bytes.
    pub fn check_takes_bytes(&self) -> Result<(), UploadError> {
        match &self.state.upload.concat {
            Some(Concat::Final(_)) => Err(UploadError::Final),
            _ => Ok(()),
        }
    }

    /// Forgets the upload and what has come of it. A file that it has become stays. Of a final
    /// upload that is no file yet nothing is left without one of its parts.
    pub async fn remove(self) {
        if let Some(whole) = self.entry.joined().filter(|_| self.is_shared()) {
            let id = match self.uploads.file_of(whole).await {
                Ok(None) => whole,
                _ => self.id,
            };
            return self.uploads.remove(id).await;
        }
        let whole = self.entry.joined();
        let whole = whole.and_then(|id| Some((id, self.uploads.entries.get(id)?)));
        if let Some((id, whole)) = whole {
            let _turn = whole.turns.take().await;
            if whole.known().file.is_none() {
                self.uploads.remove(id).await;
                return;
            }
        }
        self.uploads.remove(self.id).await;
    }
}

/// Whether bytes could not be made durable.
fn is_of_sync(error: &UploadError) -> bool {
    matches!(error, UploadError::Store(StoreError::Blob(BlobError::Disk(error)))
        if error.action == SYNC)
}
