//! Finding out which copies this member is to hold, from what owners tell of their files, and what
//! those who hold copies tell of the files of owners that are gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};

use super::holder::{Copies, SETTLED, holders};
use super::members::{Live, View};
use super::progress::ReadList;
use super::pulling::Wanted;
use crate::hash::BlobHash;
use crate::peer::client::ClientError;
use crate::peer::copies::{CopyKey, Row, ask_rows};
use crate::peer::registry::Peer;
use crate::peer_id::PeerId;
use crate::placement::Candidate;
use crate::store::StoreError;

/// Of how many owners the files are gone through at once.
const OWNERS: usize = 4;
/// The longest pause before what has failed is tried again.
const LAST_PAUSE: Duration = Duration::from_mins(10);
/// In one part of `--surplus-after` it is looked once for what is too much.
const LOOKS: u32 = 8;

impl Copies {
    pub(super) async fn place_always(self: Arc<Self>) {
        let mut looked = Instant::now();
        loop {
            self.news.notified().await;
            let (view, _) = self.members.look();
            {
                let mut counts = self.counts.lock();
                counts.members = view.live.len() as u64;
                counts.gone = view.missing() as u64;
            }
            if !self.is_settled() {
                continue;
            }
            if self.options.offer > 0 {
                self.place(&view).await;
            }
            let pause = self.options.surplus_after / LOOKS;
            if looked.elapsed() >= pause.max(self.options.every) {
                if let Err(error) = self.give_up_surplus(&view).await {
                    tracing::warn!(%error, "it cannot be looked for copies that are too many");
                }
                looked = Instant::now();
            }
        }
    }

    /// Whether the members are known well enough to place anything by them.
    fn is_settled(&self) -> bool {
        let is_known = self.is_ready.load(Ordering::Relaxed);
        let every = self.options.every;
        let pause = if self.members.are_all_met(every * SETTLED) {
            every
        } else {
            every * SETTLED
        };
        is_known && self.members.since_met().is_none_or(|it| it >= pause)
    }

    async fn place(&self, view: &View) {
        let live = view.live.iter().map(|it| it.candidate.id);
        let own = live.clone().map(|it| (it, it));
        let of_gone = view.gone.iter().flat_map(|owner| {
            let tellers = view.live.iter();
            tellers.map(move |teller| (*owner, teller.candidate.id))
        });
        let lists = own.chain(of_gone).chain(self.lists_of_lost(view));
        let lists: Vec<_> = lists.chain(self.lists_of_unknown(view)).collect();
        let known: HashSet<_> = lists.iter().collect();
        self.lists.lock().retain(|it, _| known.contains(it));
        drop(known);
        stream::iter(lists)
            .for_each_concurrent(OWNERS, |(owner, teller)| async move {
                if let Err(error) = self.read_list(owner, teller, view).await {
                    tracing::debug!(%owner, %teller, %error, "what is to be held is not known");
                    self.note_failed(owner, teller);
                }
            })
            .await;
    }

    /// Owners that were gone before this member came, each with those that hold files of theirs.
    /// What they have removed it knows only once it has read all that anybody tells.
    fn lists_of_lost(&self, view: &View) -> Vec<(PeerId, PeerId)> {
        if view.lost.is_empty() || !self.polled.lock().values().all(|it| it.is_whole) {
            return Vec::new();
        }
        let lists = view.lost.iter().flat_map(|(owner, tellers)| {
            let live = tellers.iter().filter(|it| view.is_live(**it));
            live.map(|teller| (*owner, *teller))
        });
        lists.collect()
    }

    /// Owners that are there and do not know files of theirs, each with those that say so of what
    /// they hold.
    fn lists_of_unknown(&self, view: &View) -> Vec<(PeerId, PeerId)> {
        let polled = self.polled.lock();
        let live = polled.iter().filter(|(teller, _)| view.is_live(**teller));
        let lists = live.flat_map(|(teller, told)| {
            let owners = told.unknown.iter().filter(move |it| *it != teller);
            owners.map(|owner| (*owner, *teller))
        });
        lists.filter(|(owner, _)| view.is_live(*owner)).collect()
    }

    /// Goes through what a member tells of the files of an owner, as far as there may be news.
    async fn read_list(&self, owner: PeerId, teller: PeerId, view: &View) -> Result<(), ListError> {
        let known = self.lists.lock().get(&(owner, teller)).cloned();
        let before = known.unwrap_or_default();
        let Some((mut list, is_all)) = self.news_of(&before, owner, teller, view) else {
            return Ok(());
        };
        let Some(peer) = self.fetcher.network.registry.get(teller) else {
            return Ok(());
        };
        let mut after = before.after.filter(|_| !is_all);
        let mut failed = 0;
        loop {
            let page = ask_rows(&self.fetcher.network, &peer, owner, after.as_deref()).await?;
            let end = page.rows.last().map(|it| it.id.clone());
            failed += self.pull_mine(owner, &peer, page.rows, view).await?;
            let Some(next) = page.next.filter(|it| Some(it) > after.as_ref()) else {
                // Where to go on in the files of the owner itself, whose ids grow.
                list.after = end.or(after).filter(|_| owner == teller);
                break;
            };
            after = Some(next);
        }
        self.lists.lock().insert((owner, teller), list);
        if failed > 0 {
            self.note_failed(owner, teller);
        }
        Ok(())
    }

    /// What will have been read of a list once it is, and whether all of it is to be; None where
    /// there is nothing new.
    fn news_of(
        &self,
        before: &ReadList,
        owner: PeerId,
        teller: PeerId,
        view: &View,
    ) -> Option<(ReadList, bool)> {
        let polled = self.polled.lock().get(&teller).cloned()?;
        let run = polled.run()?.to_owned();
        let now = Instant::now();
        let is_due = before.due.is_some_and(|due| due <= now);
        let is_all =
            before.run != run || before.asks != polled.asks || before.epoch != view.epoch || is_due;
        let is_longer = owner == teller && before.listed != polled.listed;
        let waits = before.due.filter(|_| !is_all);
        (is_all || is_longer).then_some((
            ReadList {
                run,
                asks: polled.asks,
                listed: polled.listed,
                epoch: view.epoch,
                after: None,
                failures: if is_due || waits.is_some() {
                    before.failures
                } else {
                    0
                },
                due: waits,
            },
            is_all,
        ))
    }

    /// Has all that is to be read again, after a pause that grows.
    fn note_failed(&self, owner: PeerId, teller: PeerId) {
        let mut lists = self.lists.lock();
        let list = lists.entry((owner, teller)).or_default();
        let pause = self
            .options
            .every
            .saturating_mul(1 << list.failures.min(16));
        list.failures += 1;
        list.due = Some(Instant::now() + pause.min(LAST_PAUSE));
    }

    /// Fetches what of these files this member is to hold and does not; how many of them it could
    /// not.
    async fn pull_mine(
        &self,
        owner: PeerId,
        teller: &Peer,
        rows: Vec<Row>,
        view: &View,
    ) -> Result<usize, ListError> {
        let (mut wanted, mut other, left) = (Vec::new(), Vec::new(), self.left().await);
        let is_repair = owner != teller.id();
        for row in rows {
            let is_owner_there = view.is_live(owner) && !(is_repair && row.is_unknown);
            if is_repair && is_owner_there {
                // Of what it knows it tells itself.
                continue;
            }
            let (Ok(file), Ok(hash)) = (row.id.parse(), row.hash.parse()) else {
                continue;
            };
            let since = row.since.unwrap_or(0);
            let row = Wanted {
                key: CopyKey { owner, file },
                hash,
                size: row.size,
                copies: row.copies,
                is_owner_there,
            };
            let held = self.table.copy(row.key).await?;
            if let Some(held) = held {
                if held.signed.copies != row.copies || held.signed.since < since {
                    other.push((row.key, held));
                }
                continue;
            }
            if row.size <= left && self.is_mine(&row, view) {
                let removal = self.table.withdrawal(row.key).await?;
                if removal.is_none_or(|it| it.behind() <= since) {
                    wanted.push(row);
                }
            }
        }
        let unknown = self.renew_all(teller, other).await?;
        Ok(unknown + self.pull_all(teller, wanted, is_repair).await)
    }

    /// Whether this member is among those that are to hold a file: fewer than are to stand before
    /// it and hold it, or have room for it.
    fn is_mine(&self, file: &Wanted, view: &View) -> bool {
        let holders = holders(file.copies, file.is_owner_there);
        let ranked = self.ranked(&file.hash, file.key.owner, view);
        let before = ranked.iter().take_while(|(it, _)| it.id != self.me());
        let holds = |(it, live): &&(Candidate, Option<&Live>)| {
            let has_room = live.is_some_and(|live| live.left >= file.size);
            has_room || self.is_told_of(&file.hash, it.id)
        };
        before.filter(holds).count() < holders
    }

    /// Whether a member has told that it has this content.
    pub(super) fn is_told_of(&self, hash: &BlobHash, member: PeerId) -> bool {
        let told = self.fetcher.network.directory.providers(hash);
        told.iter().any(|it| it.peer == member)
    }
}

/// Why a list is not gone through.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Store(#[from] StoreError),
}
