//! One request at an upload.

use std::sync::Arc;
use std::time::SystemTime;

use super::entries::Entry;
use super::error::UploadError;
use super::state::{Finished, State, UploadId};
use super::turns::Turn;
use super::uploads::Uploads;

/// The turn at an upload. While it lasts nobody else changes anything about it.
pub struct Visit {
    pub(super) uploads: Arc<Uploads>,
    pub(super) id: UploadId,
    pub(super) entry: Arc<Entry>,
    pub(super) turn: Turn,
    pub(super) state: State,
}

/// How far an upload is.
#[derive(Debug, Clone)]
pub struct Progress {
    /// How many bytes it will have.
    pub length: u64,
    /// How many of them are here.
    pub offset: u64,
    /// What the client told of it, as it wrote that.
    pub metadata: Option<String>,
    /// When it is removed unless it goes on.
    pub expires: SystemTime,
    /// What it has become, once all of it was here.
    pub finished: Option<Finished>,
}

impl Uploads {
    /// Takes the turn at an upload; whoever has it is stopped first.
    pub async fn visit(self: &Arc<Self>, id: UploadId) -> Result<Visit, UploadError> {
        self.recall().await?;
        let entry = self.entries.get(id).ok_or(UploadError::Unknown)?;
        let turn = entry.turns.take().await;
        // It may have been removed while another one had the turn.
        let entry = self.entries.get(id).ok_or(UploadError::Unknown)?;
        if self.expires(entry.known()) <= SystemTime::now() {
            return Err(UploadError::Unknown);
        }
        let state = self.files.load(id).await?;
        Ok(Visit {
            uploads: Arc::clone(self),
            id,
            entry,
            turn,
            state,
        })
    }
}

impl Visit {
    /// How far it is. If it is whole, it is a file then.
    pub async fn progress(&mut self) -> Result<Progress, UploadError> {
        self.finish_whole().await?;
        Ok(Progress {
            length: self.state.upload.length,
            offset: self.offset().await?,
            metadata: self.state.upload.metadata.clone(),
            expires: self.uploads.expires(self.entry.known()),
            finished: self.state.finished,
        })
    }

    /// How many bytes are here; whatever is behind them is cut off.
    pub(super) async fn offset(&self) -> Result<u64, UploadError> {
        if self.state.finished.is_some() {
            return Ok(self.state.upload.length);
        }
        if let Some(received) = self.uploads.spools.received(self.id) {
            return Ok(received);
        }
        let (state, boot) = (self.state.clone(), self.uploads.boot.clone());
        let files = &self.uploads.files;
        files
            .cut(self.id, move |len| state.trusted(len, &boot))
            .await
    }

    /// Writes down the state, durably.
    pub(super) async fn save(&self) -> Result<(), UploadError> {
        self.uploads.files.save(self.id, &self.state).await
    }

    /// Forgets the upload and what has come of it. A file that it has become stays.
    pub async fn remove(self) {
        self.uploads.remove(self.id).await;
    }
}
