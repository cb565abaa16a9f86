//! Whose turn it is to fetch, where several nodes do: each takes what is due, keeps its turns while
//! it lives, and leaves them where it fails or stops.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::fetching::KeepError;
use super::keeper::Keeper;
use super::not_kept::NotKept;
use super::queue::{Begun, Held, MAX_FINISHED, Stage};
use super::removed;
use super::shared::{LOOK_EVERY, Shared, text_of, unnoted};
use super::wanted::{KeepId, Wanted};
use crate::hash::BlobHash;
use crate::index::IndexError;
use crate::keep_rows::{Ended, EndedRow};
use crate::record::FileId;
use crate::small_state::StateError;

/// How often what nobody needs any more is forgotten.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// How long a stop waits for others to be told.
const LEAVING: Duration = Duration::from_secs(2);

impl Keeper {
    /// Goes on with what this node had begun before it crashed; what has come of anything else is
    /// removed, since others may have it by now.
    pub(super) async fn recall_shared(&self, shared: &Shared) -> Result<Vec<Wanted>, NotKept> {
        let node = shared.node(&**self.state.lock().await).await?;
        let rows = shared.rows.reclaim(node).await.map_err(unnoted)?;
        shared.own.lock().renewed = Instant::now();
        let mut queue = self.queue.lock();
        let mut all = Vec::new();
        for row in rows {
            all.extend(row.wanted());
            queue.take_up(row.taken_up());
        }
        Ok(all)
    }

    /// When to look again for what other nodes were asked for, if there are any.
    pub(super) fn looks_again(&self) -> Option<Instant> {
        self.shared.as_ref().map(|_| Instant::now() + LOOK_EVERY)
    }

    /// Whether it is for this node to look for all that is announced.
    pub(super) fn looks_for_all(&self) -> bool {
        self.shared.as_ref().is_none_or(Shared::leads)
    }

    /// Whether a user has removed a content, or is about to; so also where nobody can tell.
    pub(super) async fn was_removed(&self, hash: &BlobHash) -> bool {
        match &self.shared {
            Some(shared) => shared.rows.was_removed(hash).await.unwrap_or(true),
            None => self.removed.has(hash),
        }
    }

    /// Takes the turn at the next copy that is due, if there is one and it can be fetched now.
    pub(super) async fn take_up(&self) -> bool {
        let node = self
            .shared
            .as_ref()
            .and_then(|it| Some((it, it.node.get()?)));
        let Some((shared, node)) = node else {
            return false;
        };
        if !self.queue.lock().may_take_up() {
            return false;
        }
        match shared.rows.claim(*node).await {
            Ok(Some(row)) => {
                self.queue.lock().take_up(row.taken_up());
                true
            }
            Ok(None) => false,
            Err(error) => {
                tracing::debug!(%error, "nobody knows what is to be fetched");
                false
            }
        }
    }

    /// Takes the turn at one that no user has asked for, unless this node has it.
    pub(super) async fn hold_unasked(&self, begun: &mut Begun) -> bool {
        let Some(shared) = self.shared.as_ref().filter(|_| begun.held.is_none()) else {
            return true;
        };
        let (id, names) = (
            begun.wanted.id(),
            text_of(std::slice::from_ref(&begun.wanted)),
        );
        let size = begun.wanted.file.size;
        let row = match shared.node.get() {
            Some(node) => {
                let wanted = (&*id.to_string(), &*names);
                shared.rows.claim_unasked(*node, wanted, size).await
            }
            None => Ok(None),
        };
        let Ok(Some(row)) = row else {
            // Another one has it, or it is found anew.
            self.queue.lock().remove(id);
            return false;
        };
        begun.held = Some(row.held());
        self.queue.lock().hold(id, row.held());
        true
    }

    /// Keeps the turns that this node has, tells how far it is, and hears what others change, for
    /// ever.
    pub(super) async fn keep_turns(self: Arc<Self>) {
        let Some(shared) = &self.shared else {
            return;
        };
        let lease = shared.rows.lease();
        let mut tidied: Option<Instant> = None;
        loop {
            self.renew(shared, lease).await;
            self.lead(shared, lease).await;
            if let Ok(changes) = shared.rows.changes().await {
                let before = shared.own.lock().seen.replace(changes);
                if before.is_some_and(|it| it != changes) {
                    self.revision.advance();
                }
            }
            if tidied.is_none_or(|it| it.elapsed() >= TIDY_EVERY) {
                tidied = Some(Instant::now());
                if let Err(error) = shared.rows.tidy(MAX_FINISHED, removed::MAX).await {
                    tracing::debug!(%error, "copies that have ended are not forgotten yet");
                }
            }
            sleep(LOOK_EVERY.min(lease / 4)).await;
        }
    }

    async fn renew(&self, shared: &Shared, lease: Duration) {
        let held = self.queue.lock().all_held();
        let began = Instant::now();
        // Others may fetch by now whatever this node had, which was stopped meanwhile.
        let is_over = || shared.own.lock().renewed.elapsed() >= lease;
        let kept = if held.is_empty() {
            Some(Vec::new())
        } else if is_over() {
            None
        } else {
            match timeout(lease / 2, shared.rows.renew(&held)).await {
                Ok(Ok(kept)) => Some(kept),
                _ if is_over() => None,
                _ => return,
            }
        };
        let kept = kept.unwrap_or_default();
        shared.own.lock().renewed = began;
        let lost = self.queue.lock().lose(&held, &kept);
        for id in lost {
            tracing::info!(%id, "a copy is another node's to fetch, or wanted no more");
        }
    }

    async fn lead(&self, shared: &Shared, lease: Duration) {
        if self.everything.is_none() {
            return;
        }
        let (began, epoch) = (Instant::now(), shared.own.lock().epoch);
        let led = timeout(lease / 2, shared.rows.lead(epoch)).await;
        let mut own = shared.own.lock();
        match led {
            Ok(Ok(Some(epoch))) => {
                own.epoch = Some(epoch);
                own.leads_until = Some(began + lease);
            }
            Ok(Ok(None)) => own.leads_until = None,
            // Until it ends by itself.
            _ => return,
        }
        let leads = own.leads_until.is_some();
        drop(own);
        if !leads {
            self.queue.lock().give_up_waiting();
        }
    }

    /// Leaves all to others, which do not have to wait for the ends of leases then.
    pub async fn leave(&self) {
        let Some(shared) = &self.shared else {
            return;
        };
        let Some(node) = shared.node.get() else {
            return;
        };
        let epoch = shared.own.lock().epoch;
        let leaving = async {
            shared.rows.leave_all(*node).await?;
            match epoch {
                Some(epoch) => shared.rows.follow(epoch).await,
                None => Ok(()),
            }
        };
        // It ends by itself where that fails.
        if let Ok(Err(error)) = timeout(LEAVING, leaving).await {
            let error = &error as &dyn Error;
            tracing::debug!(error, "what was to be fetched here is left to nobody yet");
        }
    }

    /// Ends one as kept, which it tells, unless it is wanted by other names meanwhile.
    pub(super) async fn end_row(
        &self,
        shared: &Shared,
        id: KeepId,
        copy: Option<FileId>,
    ) -> Result<bool, KeepError> {
        match self.write_end(shared, id, true, copy, None).await? {
            Ended::Done => {
                let mut queue = self.queue.lock();
                queue.end(id, Stage::Kept(copy), None);
                queue.remove(id);
                Ok(true)
            }
            Ended::Changed(row) => {
                self.queue.lock().rename(id, row.wanted(), row.held());
                Ok(false)
            }
            Ended::Lost => Err(IndexError::TakenOver.into()),
        }
    }

    async fn write_end(
        &self,
        shared: &Shared,
        id: KeepId,
        is_kept: bool,
        copy: Option<FileId>,
        error: Option<&str>,
    ) -> Result<Ended, StateError> {
        let Some(mut at_end) = self.queue.lock().at_end(id) else {
            return Ok(Ended::Lost);
        };
        at_end.row.error = error.map(str::to_owned);
        let row = EndedRow {
            version: at_end.held.version,
            held: at_end.row,
            names: &text_of(&at_end.names),
            is_kept,
            copy,
        };
        Ok(shared.rows.end(&row).await?)
    }

    /// Notes that a try has failed: for good, for now, or so that others may try it as well.
    pub(super) async fn fail_row(&self, shared: &Shared, id: KeepId, is_final: bool, text: &str) {
        let at_end = self.queue.lock().at_end(id);
        let Some(at_end) = at_end else {
            return;
        };
        let turn = at_end.held.turn;
        if is_final {
            let text = Some(text.to_owned());
            self.queue.lock().end(id, Stage::Failed, text);
        } else {
            self.queue.lock().retry(id, text.to_owned());
        }
        let told = if is_final || at_end.is_unasked {
            match self.write_end(shared, id, false, None, Some(text)).await {
                // A user has asked for it meanwhile.
                Ok(Ended::Changed(_)) => shared.rows.leave(turn).await.map_err(StateError::from),
                ended => ended.map(drop),
            }
        } else {
            let Some((pause, next)) = self.queue.lock().pauses(id) else {
                return;
            };
            let let_go = shared.rows.let_go(turn, text, pause, next).await;
            let_go.map_err(StateError::from)
        };
        self.queue.lock().remove(id);
        if let Err(error) = told {
            let error = &error as &dyn Error;
            tracing::debug!(error, "a try that failed is told to nobody yet");
        }
    }

    /// Leaves one that was given up here to others, unless it is wanted no more.
    pub(super) async fn leave_row(&self, held: Option<Held>) {
        let (Some(shared), Some(held)) = (&self.shared, held) else {
            return;
        };
        if let Err(error) = shared.rows.leave(held.turn).await {
            tracing::debug!(%error, "a copy that was given up is left to nobody yet");
        }
    }
}
