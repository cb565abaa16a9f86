//! Uploads that several nodes have: each visit takes the turn in the rows that all of them read,
//! and nobody who has lost it changes anything.

use std::collections::BTreeSet;
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counted_here::CountedHere;
use super::entries::{Known, UploadEntry};
use super::error::UploadError;
use super::id::UploadId;
use super::state::{Finished, NewUpload, UploadState};
use super::uploads::{EXPIRE_EVERY, MAX_FINISHED, MAX_OF_ONE, MAX_UNFINISHED, Uploads};
use super::visit::Visit;
use crate::client_key::ClientKey;
use crate::record::FileId;
use crate::unavailable::Unavailable;
use crate::upload_rows::{Added, Ledger, NewRow, Promised, UploadRow};

/// How often to look for what is to be removed at most.
const TIDY_AT_MOST: Duration = Duration::from_secs(1);

impl Visit {
    /// Whether other nodes have the upload, too.
    pub(super) fn is_shared(&self) -> bool {
        self.here.is_some()
    }

    /// Has whoever comes to another node wait until this visit is over, or what comes now counts
    /// there.
    pub(super) async fn have_others_wait(&mut self) -> Result<(), UploadError> {
        if let Some(ledger) = &self.uploads.remembered.ledger {
            let room = &self.entry.room;
            let promised = Promised {
                bytes: room.bytes(),
                is_beyond: self.state.upload.length.is_none() || room.is_beyond(),
            };
            let asked = ledger.receive(self.id.uuid(), promised).await?;
            self.asked = Some(asked.ok_or(UploadError::TakenOver)?);
        }
        Ok(())
    }

    /// Returns when somebody else wants the turn, here or at another node.
    pub(super) async fn taken_over(&mut self) {
        let asked = async {
            match &self.asked {
                Some(asked) => asked.notified().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.turn.stopped() => {}
            () = asked => {}
        }
    }

    /// Ends that, where nothing more is to be saved.
    pub(super) async fn have_nobody_wait(&self) {
        if let Some(ledger) = &self.uploads.remembered.ledger {
            ledger.let_go(self.id.uuid()).await;
        }
    }
}

impl Uploads {
    /// Adds an upload, which takes in these parts, at which this node has the turns.
    pub(super) async fn add_row(
        &self,
        ledger: &Ledger,
        (id, upload): (UploadId, NewUpload),
        client: Option<ClientKey>,
        parts: &BTreeSet<UploadId>,
    ) -> Result<UploadId, UploadError> {
        let turns = parts.iter().map(|it| ledger.turn(it.uuid()));
        let turns: Option<Vec<_>> = turns.collect();
        let turns = turns.ok_or(UploadError::TakenOver)?;
        let is_empty_part = upload.concat.is_some() && upload.length == Some(0);
        let row = NewRow {
            upload: id.uuid(),
            client: client
                .as_ref()
                .map_or_else(String::new, ClientKey::to_string),
            state: UploadState::new(upload, client).to_bytes(id),
            is_begun: is_empty_part,
            most: (MAX_UNFINISHED, MAX_OF_ONE),
            parts: &turns,
        };
        let mut added = ledger.rows.add(&row).await?;
        if matches!(added, Added::Full | Added::FullOfOne) {
            let of = if added == Added::FullOfOne {
                &*row.client
            } else {
                ""
            };
            if let Some(gone) = ledger.rows.give_way(of).await? {
                tracing::info!(id = %UploadId::of_uuid(gone), "an upload gives way to others");
                added = ledger.rows.add(&row).await?;
            }
        }
        match added {
            Added::Done => Ok(id),
            Added::Full => Err(UploadError::TooMany(MAX_UNFINISHED)),
            Added::FullOfOne => Err(UploadError::TooManyOfOne(MAX_OF_ONE)),
            Added::TakenOver => Err(UploadError::TakenOver),
        }
    }

    /// Takes the turn at an upload, here and among all nodes.
    pub(super) async fn claim(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        id: UploadId,
    ) -> Result<Visit, UploadError> {
        let entry = match self.entries.get(id) {
            Some(entry) => entry,
            None => self.enter(ledger, id).await?,
        };
        let turn = entry.turns.take().await;
        let Some((row, is_next)) = ledger.claim(id.uuid()).await? else {
            drop(self.open.take(id));
            return Err(UploadError::Unknown);
        };
        if !is_next {
            // Others may have gone on since.
            drop(self.open.take(id));
        }
        let known = known(&row);
        entry.set(known, row.joined.map(UploadId::of_uuid));
        if self.expires_in(known).is_zero() {
            return Err(UploadError::Unknown);
        }
        let mut state = UploadState::from_bytes(id, &row.state).ok_or(UploadError::Unknown)?;
        state.finished = row.file.map(|(file, hash)| Finished { file, hash });
        let here = CountedHere::begin(ledger, id, &entry.room);
        let is_over = state.finished.is_some() || row.joined.is_some();
        entry.room.note(if is_over { 0 } else { state.offset });
        Ok(Visit {
            uploads: Arc::clone(self),
            id,
            entry,
            here: Some(here),
            turn,
            state,
            asked: None,
        })
    }

    /// Begins to know an upload here.
    async fn enter(&self, ledger: &Ledger, id: UploadId) -> Result<Arc<UploadEntry>, UploadError> {
        let row = ledger.rows.look(id.uuid()).await?;
        let row = row.ok_or(UploadError::Unknown)?;
        let state = UploadState::from_bytes(id, &row.state).ok_or(UploadError::Unknown)?;
        let room = self.store.no_room_yet(state.client.clone());
        let entry = UploadEntry::new(known(&row), state.client, true, room);
        Ok(self.entries.get_or_add(id, entry))
    }

    /// The file that an upload has become.
    pub(super) async fn file_of(&self, id: UploadId) -> Result<Option<FileId>, UploadError> {
        let Some(ledger) = &self.remembered.ledger else {
            let entry = self.entries.get(id);
            return Ok(entry.and_then(|it| it.known().file));
        };
        let row = ledger.rows.look(id.uuid()).await?;
        Ok(row.and_then(|it| it.file).map(|(file, _)| file))
    }

    /// Has an upload be none any more, with its parts if it is a final one.
    pub(super) async fn remove_row(&self, ledger: &Ledger, id: UploadId) {
        match ledger.rows.remove(id.uuid()).await {
            Ok(removed) => {
                for id in removed.into_iter().map(UploadId::of_uuid) {
                    drop(self.open.take(id));
                    // Who is late with any of it is looked for later.
                    self.remembered.remove_content(id).await;
                }
            }
            Err(error) => tracing::warn!(%id, %error, "an upload is not removed"),
        }
    }

    /// Removes what expires, and what is left of any, for ever.
    pub(super) async fn keep_tidy(&self, ledger: &Ledger) {
        let every = EXPIRE_EVERY.min(self.expiry).min(ledger.rows.grace());
        loop {
            if let Err(error) = self.tidy(ledger).await {
                let error = &error as &dyn Error;
                tracing::debug!(error, "uploads that have expired are not removed yet");
            }
            tokio::time::sleep(every.max(TIDY_AT_MOST)).await;
        }
    }

    async fn tidy(&self, ledger: &Ledger) -> Result<(), Unavailable> {
        for id in self.entries.leave_idle(|id| ledger.leave(id.uuid())) {
            drop(self.open.take(id));
        }
        ledger.rows.expire(self.expiry, MAX_FINISHED).await?;
        for (upload, is_removed) in ledger.rows.litter().await? {
            let id = UploadId::of_uuid(upload);
            if let Err(error) = self.remembered.clear(id).await {
                tracing::debug!(%id, %error, "what has come of an upload is not removed yet");
            } else if is_removed {
                ledger.rows.forget(upload).await?;
            }
        }
        Ok(())
    }
}

fn known(row: &UploadRow) -> Known {
    let now = Instant::now();
    Known {
        written: now.checked_sub(row.age).unwrap_or(now),
        file: row.file.map(|(file, _)| file),
    }
}
