//! Asking the other members, once in a period, how they stand and what they hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::holder::Copies;
use super::members::{Room, View};
use super::progress::Polled;
use super::unknown::MOST_OWNERS;
use crate::hash::BlobHash;
use crate::peer::client::ClientError;
use crate::peer::copies::{CopiedFile, CopyKey, Entry, Standing, Withdrawal, ask_standing};
use crate::peer::registry::Peer;
use crate::peer_id::PeerId;
use crate::record::FileId;
use crate::store::StoreError;

/// How many members are asked at once, and how long each may take.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(20);
/// How many members remember that a file was removed, beside those that have held it.
const REMEMBERING: usize = 3;
/// How long after it has told something a member is asked about it, and how much later for each
/// other that asks it, too.
const SOON: Duration = Duration::from_millis(500);
const EACH: Duration = Duration::from_millis(20);
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
            self.poll_news_until(began + self.options.every, start)
                .await;
        }
    }

    /// Asks those at once who have told something, so that what is new is not only copied once its
    /// owner's turn comes.
    async fn poll_news_until(&self, end: Instant, start: Instant) {
        let told = &self.fetcher.network.newly_told;
        while timeout_at(end, told.any()).await.is_ok() {
            // What comes meanwhile is asked for together; the more members ask, the later they do,
            // so that whoever has told them is not asked by all at the same moment.
            let members = u32::try_from(self.members.count()).unwrap_or(u32::MAX);
            let pause = SOON.max(EACH.saturating_mul(members));
            sleep_until((Instant::now() + pause.mul_f64(0.5 + self.chance)).min(end)).await;
            self.poll_those(told.take().into_iter().collect()).await;
            self.get_ready(start).await;
            self.news.notify_one();
        }
    }

    async fn poll_all(&self) {
        let answering = self.fetcher.network.registry.answering();
        self.polled.lock().retain(|id, _| answering.contains(id));
        self.end_revoked();
        self.poll_those(answering.into_iter().collect()).await;
    }

    /// Those are members no longer whom the network has revoked.
    fn end_revoked(&self) {
        if let Some(channel) = &self.fetcher.network.client.reach().members {
            let revoked = channel.revoked().all();
            self.members
                .end(revoked.iter().map(|it| it.member.peer_id()));
        }
    }

    async fn poll_those(&self, peers: Vec<PeerId>) {
        let registry = &self.fetcher.network.registry;
        let peers = peers.into_iter().filter_map(|id| registry.get(id));
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
            let (offer, used, left) = (told.offer, told.used, told.left);
            self.members.answered(id, Room { offer, used, left });
            for silent in &told.silent {
                if let Ok(other) = silent.peer_id.parse()
                    && other != self.me()
                {
                    self.members.told(other, Duration::from_millis(silent.ms));
                }
            }
            if told.run.is_empty() {
                return Ok(());
            }
            if told.run != before.run || told.dropped != before.dropped {
                network.directory.forget_copies(id);
                let is_read_from_start = before.after.is_none();
                self.note(id, &told, None, false);
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
            let was_whole = before.is_whole && before.run == told.run;
            self.note(id, &told, after, was_whole || next.is_none());
            if next.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    fn note(&self, id: PeerId, told: &Standing, after: Option<FileId>, is_whole: bool) {
        let unknown = told.unknown.iter().take(MOST_OWNERS);
        let polled = Polled {
            run: told.run.clone(),
            after,
            dropped: told.dropped,
            listed: told.listed,
            asks: told.asks,
            unknown: unknown.filter_map(|it| it.parse().ok()).collect(),
            is_whole,
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
                    if self.counts_as_copy(shared.key, copy).await? {
                        self.note_owner(shared.key.owner, id, copy);
                        let _ = directory.put_copy(id, &shared.file);
                    }
                }
                Entry::Withdrawn(withdrawal) => {
                    let Ok(key) = withdrawal.check() else {
                        continue;
                    };
                    if key.owner == self.me() {
                        self.hear_own_removal(key.file, withdrawal).await?;
                    } else {
                        self.take_withdrawal(key, withdrawal).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes whose file a member holds, if it is true: its owner may be gone since before this
    /// member came.
    pub(super) fn note_owner(&self, owner: PeerId, teller: PeerId, told: &CopiedFile) {
        let is_known = owner == self.me() || self.members.knows_owner(owner, teller);
        if !is_known && told.check().is_ok() {
            self.members.note_owner(owner, teller);
        }
    }

    /// Whether this member is one of those that remember that a file was removed, whoever held it:
    /// its owner may be lost when somebody returns who holds it still.
    fn remembers_end_of(&self, key: CopyKey, view: &View) -> bool {
        self.remembering(key, view).contains(&self.me())
    }

    /// Those members.
    pub(super) fn remembering(&self, key: CopyKey, view: &View) -> Vec<PeerId> {
        let place = BlobHash::of(key.to_string().as_bytes());
        let ranked = self.ranked(&place, key.owner, view);
        let best = ranked.iter().take(REMEMBERING);
        best.map(|(it, _)| it.id).collect()
    }

    /// Gives up what an owner has removed, unless it is known to be back since. That is written
    /// down first, so that nothing brings it back that is under way, or that somebody else holds
    /// still.
    pub(super) async fn take_withdrawal(
        &self,
        key: CopyKey,
        signed: &Withdrawal,
    ) -> Result<(), StoreError> {
        let held = self.table.copy(key).await?;
        let is_kept = held.as_ref().is_some_and(|it| !signed.ends(&it.signed));
        if is_kept || self.returned.is_since(key, signed) {
            return Ok(());
        }
        let (view, _) = self.members.look();
        // Also of those who are away, and will hear of it when they are back; an owner that is
        // there says itself what it has.
        self.forget_told_but(key.file, Some(key.owner).filter(|it| view.is_live(*it)));
        let is_pulled = self.pulling.lock().contains(&key);
        if !is_pulled && held.is_none() && !self.remembers_end_of(key, &view) {
            return Ok(());
        }
        let known = self.table.withdrawal(key).await?;
        if known.is_none_or(|it| it.told_at < signed.told_at) {
            self.remember_removal(key, signed).await?;
        }
        if self.table.give_up(key).await? {
            self.withdrawn.count();
        }
        self.fetcher.network.directory.withdraw(self.me(), key.file);
        Ok(())
    }
}
