//! What outlives the process of uploads: what has come of each, and what it will be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::UploadError;
use super::id::UploadId;
use super::state::UploadState;
use crate::blob::{FoundPartial, Limit, Partial, PartialId, Partials, Proven};
use crate::small_state::{SmallState, StateName, StateSet};
use crate::upload_rows::Ledger;

/// The states of all uploads.
pub(super) const STATES: StateSet = StateSet {
    name: "uploading",
    kind: "larder-upload 1",
    is_of: UploadState::is_of,
    is_id: |id| id.parse::<UploadId>().is_ok(),
};

/// The uploads as they are remembered.
#[derive(Clone)]
pub(super) struct Remembered {
    states: Arc<dyn SmallState>,
    partials: Arc<dyn Partials>,
    /// Where the states are of those that other nodes have, too.
    pub(super) ledger: Option<Arc<Ledger>>,
}

/// An upload that was found.
pub(super) struct Found {
    pub(super) id: UploadId,
    /// What it is; None where that cannot be read now.
    pub(super) state: Option<UploadState>,
    /// How long ago something was last written.
    pub(super) age: Duration,
    /// How many bytes of it are there.
    pub(super) len: u64,
}

/// What the state of an upload is called.
pub(super) fn state_of(id: UploadId) -> StateName {
    StateName::OneOf(STATES, id.to_string())
}

impl Remembered {
    pub(super) fn new(
        states: Arc<dyn SmallState>,
        partials: Arc<dyn Partials>,
        ledger: Option<Arc<Ledger>>,
    ) -> Self {
        Self {
            states,
            partials,
            ledger,
        }
    }

    /// Writes down what an upload is, durably.
    pub(super) async fn save(&self, id: UploadId, state: &UploadState) -> Result<(), UploadError> {
        if let Some(ledger) = &self.ledger {
            let is_saved = ledger
                .save(id.uuid(), (&state.to_bytes(id), state.offset))
                .await?;
            return is_saved.then_some(()).ok_or(UploadError::TakenOver);
        }
        Ok(self.states.save(&state_of(id), state.to_bytes(id)).await?)
    }

    /// What an upload is; unknown if that is not known, and another error where it may be known
    /// later.
    pub(super) async fn load(&self, id: UploadId) -> Result<UploadState, UploadError> {
        let content = match &self.ledger {
            Some(ledger) => ledger.rows.look(id.uuid()).await?.map(|it| it.state),
            None => self.states.load(&state_of(id)).await?,
        };
        let state = content.and_then(|it| UploadState::from_bytes(id, &it));
        state.ok_or(UploadError::Unknown)
    }

    /// Goes on with what is proven of the content of an upload, within `limit` where its length is
    /// not known; that of others was looked at before they began.
    pub(super) async fn resume(
        &self,
        id: UploadId,
        state: &UploadState,
        limit: Limit,
    ) -> Result<Box<dyn Partial>, UploadError> {
        let length = state.upload.length;
        let limit = length.map_or(limit, |_| Limit::default());
        let (id, size) = (id.partial(), length.unwrap_or(state.offset));
        let resumed = self.partials.resume(&id, size, state.proven(), limit);
        Ok(resumed.await?)
    }

    /// Cuts off whatever of the content is behind its first `counts` bytes, and tells how many
    /// of them are there.
    pub(super) async fn cut(&self, id: UploadId, counts: u64) -> Result<u64, UploadError> {
        Ok(self.partials.cut(&id.partial(), counts).await?)
    }

    /// The longest of `beginnings`, which are in order, that the content still has; it is
    /// durable then.
    pub(super) async fn longest(
        &self,
        id: UploadId,
        beginnings: Vec<Proven>,
    ) -> Result<Option<Proven>, UploadError> {
        Ok(self.partials.longest(&id.partial(), beginnings).await?)
    }

    /// Up to `len` bytes of the content of an upload from `offset` on.
    pub(super) async fn read(
        &self,
        id: UploadId,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, UploadError> {
        Ok(self.partials.read(&id.partial(), offset, len).await?)
    }

    /// Makes the content of one upload that of another, which has none.
    pub(super) async fn rename(&self, from: UploadId, to: UploadId) -> Result<(), UploadError> {
        let (from, to) = (from.partial(), to.partial());
        Ok(self.partials.rename(&from, &to).await?)
    }

    /// Removes the content of an upload that is a file now, or within another one.
    pub(super) async fn remove_content(&self, id: UploadId) {
        // What is left goes with the upload.
        self.remove_partial(&id.partial()).await;
    }

    /// The same, where somebody has to know whether anything is left.
    pub(super) async fn clear(&self, id: UploadId) -> Result<(), UploadError> {
        Ok(self.partials.remove(&id.partial()).await?)
    }

    /// Removes all of an upload; its state first, without which the rest is removed at start.
    pub(super) async fn remove(&self, id: UploadId) {
        self.remove_state(&state_of(id)).await;
        self.remove_partial(&id.partial()).await;
    }

    async fn remove_state(&self, name: &StateName) {
        if let Err(error) = self.states.remove(name).await {
            tracing::warn!(%name, %error, "the state of an upload is not removed");
        }
    }

    async fn remove_partial(&self, id: &PartialId) {
        if let Err(error) = self.partials.remove(id).await {
            tracing::warn!(%id, %error, "what has come of an upload is not removed");
        }
    }

    /// Makes ready for uploads, removes what belongs to none, and finds all there are; what was
    /// set aside since it was damaged stays for `expiry`.
    pub(super) async fn find_all(&self, expiry: Duration) -> Result<Vec<Found>, UploadError> {
        let partials = self.partials.prepare().await?;
        let partials = partials.into_iter().map(|it| (it.id.clone(), it));
        let mut partials: BTreeMap<_, _> = partials.collect();
        let mut found = Vec::new();
        for saved in self.states.prepare(STATES, expiry).await? {
            // What cannot be read now is still there, and so is what has come of it.
            let known = saved.id.parse::<UploadId>().ok().and_then(|id| {
                let state = match &saved.content {
                    Some(content) => Some(UploadState::from_bytes(id, content)?),
                    None => None,
                };
                Some((id, state))
            });
            let Some((id, state)) = known else {
                let name = StateName::OneOf(STATES, saved.id);
                self.remove_state(&name).await;
                continue;
            };
            let partial = partials.remove(&id.partial());
            found.push(Found {
                id,
                state,
                age: partial
                    .as_ref()
                    .map_or(saved.age, |it| it.age.min(saved.age)),
                len: partial.map_or(0, |it| it.len),
            });
        }
        for (id, FoundPartial { len, .. }) in partials {
            if len > 0 {
                tracing::warn!(%id, len,
                    "what has come belongs to no upload that is known; removed");
            }
            self.remove_partial(&id).await;
        }
        Ok(found)
    }
}
