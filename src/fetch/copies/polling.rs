//! Asking the other members, once in a period, how they stand and what they hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::holder::Copies;
use super::progress::Polled;
use crate::hash::BlobHash;
use crate::peer::client::ClientError;
use crate::peer::copies::{CopyKey, Entry, Standing, Withdrawal, ask_standing};
use crate::peer::registry::Peer;
use crate::peer_id::PeerId;
use crate::record::FileId;
use crate::store::StoreError;

/// How many members are asked at once, and how long each may take.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);
/// How many members remember that a file was removed, beside those that have held it.
const REMEMBERING: usize = 3;
/// In how many periods each member that is not gone has to answer before anything is told.
const FIRST_ROUNDS: u32 = 3;
/// How many pages of one are read in a row.
const PAGES: usize = 64;

impl Copies {
    pub(super) async fn poll_always(self: Arc<Self>) {
        let (mut remembered, start) = (String::new(), Instant::now());
        loop {
            let began = Instant::now();
            self.poll_all().await;
            self.get_ready(start).await;
            let text = self.members.to_text();
            if text != remembered {
                self.remember_members().await;
                remembered = text;
            }
            if let Err(error) = self.forget_oldest().await {
                tracing::warn!(%error, "more removals of files are remembered than are to be");
            }
            self.forget_half().await;
            self.news.notify_one();
            sleep_until(began + self.options.every).await;
        }
    }

    async fn poll_all(&self) {
        let registry = &self.fetcher.network.registry;
        let answering = registry.answering();
        self.polled.lock().retain(|id, _| answering.contains(id));
        let peers = answering.into_iter().filter_map(|id| registry.get(id));
        let peers = peers.filter(Peer::verified).collect::<Vec<_>>();
        stream::iter(peers)
            .for_each_concurrent(AT_ONCE, |peer| async move {
                match timeout(PATIENCE, self.poll(&peer)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(id = %peer.id(), %error, "a member tells nothing of it");
                    }
                    Err(_) => tracing::debug!(id = %peer.id(), "a member is slow to tell of it"),
                }
            })
            .await;
    }

    /// From when all that are not gone have told what owners have removed, or it was waited for
    /// them for long enough, what is held here is told.
    async fn get_ready(&self, began: Instant) {
        let is_late = began.elapsed() >= self.options.every * FIRST_ROUNDS;
        let goes_on = self.fetcher.network.beginning.goes_on() || !self.members.have_answered();
        if self.is_ready.load(Ordering::Relaxed) || goes_on && !is_late {
            return;
        }
        self.show_held().await;
        self.is_ready.store(true, Ordering::Relaxed);
    }

    async fn poll(&self, peer: &Peer) -> Result<(), ClientError> {
        let (network, id) = (&self.fetcher.network, peer.id());
        for _ in 0..PAGES {
            let before = self.polled.lock().get(&id).cloned().unwrap_or_default();
            let told = ask_standing(network, peer, before.after).await?;
            self.members.answered(id, told.offer, told.left);
            for silent in &told.silent {
                if let Ok(other) = silent.peer_id.parse() {
                    self.members.told(other, Duration::from_millis(silent.ms));
                }
            }
            if told.run.is_empty() {
                return Ok(());
            }
            if told.run != before.run || told.dropped != before.dropped {
                network.directory.forget_copies(id);
                let is_read_from_start = before.after.is_none();
                self.note(id, &told, None);
                if !is_read_from_start {
                    continue;
                }
            }
            let next = told.next.as_ref().and_then(|it| it.parse().ok());
            let after = before.after.max(next);
            if let Err(error) = self.take_entries(id, &told).await {
                tracing::warn!(%error, "what a member tells of copies is not taken");
                return Ok(());
            }
            self.note(id, &told, after);
            if next.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn note(&self, id: PeerId, told: &Standing, after: Option<FileId>) {
        let polled = Polled {
            run: told.run.clone(),
            after,
            dropped: told.dropped,
            listed: told.listed,
            asks: told.asks,
        };
        self.polled.lock().insert(id, polled);
    }

    async fn take_entries(&self, id: PeerId, told: &Standing) -> Result<(), StoreError> {
        let directory = &self.fetcher.network.directory;
        for entry in &told.entries {
            match entry {
                Entry::Copy(copy) => {
                    let Ok(shared) = copy.read() else { continue };
                    // What its owner has removed here does not come back by another.
                    if self.table.withdrawal(shared.key).await?.is_none() {
                        let _ = directory.put_copy(id, &shared.file);
                    }
                }
                Entry::Withdrawn(withdrawal) => {
                    if let Ok(key) = withdrawal.check() {
                        // Also of those who are away, and will hear of it when they are back.
                        self.forget_told(key.file);
                        self.take_withdrawal(key, withdrawal).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether this member is one of those that remember that a file was removed, whoever held it:
    /// its owner may be lost when somebody returns who holds it still.
    fn remembers_end_of(&self, key: CopyKey) -> bool {
        let (view, _) = self.members.look();
        let place = BlobHash::of(key.to_string().as_bytes());
        let ranked = self.ranked(&place, key.owner, &view);
        let mut best = ranked.iter().take(REMEMBERING);
        best.any(|(it, _)| it.id == self.me())
    }

    /// Gives up what an owner has removed. That is written down first, so that nothing brings it
    /// back that is under way, or that somebody else holds still.
    async fn take_withdrawal(&self, key: CopyKey, signed: &Withdrawal) -> Result<(), StoreError> {
        let concerns = self.pulling.lock().contains(&key)
            || self.table.copy(key).await?.is_some()
            || self.remembers_end_of(key);
        if !concerns {
            return Ok(());
        }
        if self.table.withdrawal(key).await?.is_none() {
            self.remember_removal(key, signed).await?;
        }
        if self.table.give_up(key).await? {
            self.withdrawn.count();
        }
        self.fetcher.network.directory.withdraw(self.me(), key.file);
        Ok(())
    }
}
