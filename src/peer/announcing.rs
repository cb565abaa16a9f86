//! Telling every known peer of what changed here, in the background.
//!
//! Each peer is told one thing after the other, in the order in which they happened, and
//! none waits for another: whoever does not answer is left out until it is there again, and
//! asks what it has missed.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::announcement::Announcement;
use super::client::ClientError;
use super::holdings::Version;
use super::network::Network;
use super::prefix::Key;
use super::registry::Peer;
use crate::open_files;
use crate::peer_id::PeerId;
use crate::record::FileRecord;
use crate::store::{Change, Changes, News, Store};

/// How many peers are told something at once, where enough files may be open.
const AT_ONCE: usize = 256;
/// Of those one part in so many may be of one wide set of addresses, so that those who never
/// answer leave some places to others.
const PART: usize = 4;
/// How many announcements wait for one peer. It asks for what does not fit.
const MAX_WAITING: usize = 256;
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses before each new try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How long a peer is left alone that refuses: until it would have room again.
const REST: Duration = Duration::from_secs(10);
/// The longest answer read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// What came of telling one peer one thing.
enum Outcome {
    Told,
    /// It is there and does not want to hear it, as one that was told too much.
    Refused,
    /// In vain, since then.
    Failed(Instant),
}

/// A peer, and in which wide set of addresses it is.
type Target = (PeerId, Key);

/// Who is being told what.
struct Announcing {
    network: Arc<Network>,
    store: Store,
    /// What waits for each peer that is under way or ready.
    waiting: HashMap<PeerId, VecDeque<Arc<Announcement>>>,
    /// Peers whose turn it is.
    ready: VecDeque<Target>,
    under_way: FuturesUnordered<BoxFuture<'static, (Target, Outcome)>>,
    /// How many of them are in each wide set of addresses.
    together: HashMap<Key, usize>,
    /// Until when peers are left alone.
    resting: HashMap<PeerId, Instant>,
}

/// Tells what changes in the store to all who are there at that moment, for ever.
pub async fn announce_all(network: Arc<Network>, store: Store, mut changes: Changes) {
    let mut announcing = Announcing {
        network,
        store,
        waiting: HashMap::new(),
        ready: VecDeque::new(),
        under_way: FuturesUnordered::new(),
        together: HashMap::new(),
        resting: HashMap::new(),
    };
    loop {
        tokio::select! {
            heard = changes.next() => match heard {
                Some(heard) => announcing.hear(heard).await,
                None => return,
            },
            Some((place, outcome)) = announcing.under_way.next() => {
                announcing.ended(place, &outcome);
            }
        }
        announcing.start();
    }
}

impl Announcing {
    async fn hear(&mut self, heard: News) {
        match heard {
            News::Change(Change::Added(record)) => self.added(&record).await,
            News::Change(Change::Removed(record)) => {
                // Also where nobody is there: who comes later asks what was removed.
                let at = self.network.removals.note(record.id);
                let now = self.change(at);
                self.announce(&record, true, (at, now));
            }
            // Peers find out when they ask for the content, and come again once it is whole.
            News::Change(Change::Damaged(_) | Change::Unreadable(_) | Change::Mended(_)) => {}
            News::Missed(missed) => {
                tracing::debug!(missed, "changes are not announced; peers will ask");
                self.network.removals.forget();
                let (moment, files) = (self.network.removals.moment(), self.store.totals().files);
                self.network.own_version.jump(moment, files);
            }
        }
    }

    async fn added(&mut self, record: &FileRecord) {
        let at = self.network.removals.moment();
        let now = self.change(at);
        if !self.network.has_listeners() {
            return;
        }
        // It may be removed by now, and that may have been told before.
        if let Ok(Some(_)) = self.store.get(record.id).await {
            self.announce(record, false, (at, now));
        }
    }

    /// Notes a change of what this node holds at this moment.
    fn change(&self, moment: u64) -> Version {
        let files = self.store.totals().files;
        self.network.own_version.change(moment, files)
    }

    fn announce(&mut self, record: &FileRecord, withdrawn: bool, at: (u64, Version)) {
        if self.network.has_listeners() {
            let announcement = self.network.sign(record, withdrawn, at);
            self.add(&Arc::new(announcement));
        }
    }

    fn add(&mut self, announcement: &Arc<Announcement>) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        for (peer, wide) in self.network.registry.answering_in() {
            if self.resting.contains_key(&peer) {
                continue;
            }
            let waiting = self.waiting.entry(peer).or_insert_with(|| {
                self.ready.push_back((peer, wide));
                VecDeque::new()
            });
            if waiting.len() < MAX_WAITING {
                waiting.push_back(Arc::clone(announcement));
            }
        }
    }

    fn start(&mut self) {
        let at_once = open_files::shares().of_peers(AT_ONCE);
        let most = (at_once / PART).max(1);
        for _ in 0..self.ready.len() {
            if self.under_way.len() >= at_once {
                return;
            }
            let Some(place) = self.ready.pop_front() else {
                return;
            };
            let (peer, wide) = place;
            let together = self.together.get(&wide).copied().unwrap_or(0);
            if together >= most {
                self.ready.push_back(place);
                continue;
            }
            let next = self.waiting.get_mut(&peer).and_then(VecDeque::pop_front);
            let known = self.network.registry.get(peer);
            match (known, next) {
                (Some(known), Some(next)) => {
                    let sending = send(Arc::clone(&self.network), known, next);
                    let sending = sending.map(move |outcome| (place, outcome));
                    self.under_way.push(Box::pin(sending));
                    self.together.insert(wide, together + 1);
                }
                // It was forgotten, or there is nothing left to tell it.
                _ => drop(self.waiting.remove(&peer)),
            }
        }
    }

    fn ended(&mut self, (peer, wide): Target, outcome: &Outcome) {
        match self.together.get_mut(&wide) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.together.remove(&wide)),
        }
        match outcome {
            Outcome::Told => self.network.messages.told.count(),
            Outcome::Refused | Outcome::Failed(_) => self.network.messages.told_in_vain.count(),
        }
        match outcome {
            Outcome::Told => {
                self.network.registry.saw(peer);
                self.ready.push_back((peer, wide));
            }
            Outcome::Refused => {
                self.network.registry.saw(peer);
                self.resting.insert(peer, Instant::now() + REST);
                self.waiting.remove(&peer);
            }
            Outcome::Failed(began) => {
                self.network.asked_in_vain(peer, *began);
                self.waiting.remove(&peer);
            }
        }
    }
}

async fn send(network: Arc<Network>, peer: Peer, announcement: Arc<Announcement>) -> Outcome {
    let mut pauses = PAUSES.iter();
    let began = Instant::now();
    loop {
        let sent = timeout(PATIENCE, send_once(&network, &peer, &announcement)).await;
        match sent {
            Ok(Ok(())) => return Outcome::Told,
            Ok(Err(ClientError::Status(status, _))) => {
                tracing::debug!(peer = %peer.id(), %status, "takes no announcement");
                return Outcome::Refused;
            }
            Ok(Err(error)) => tracing::debug!(peer = %peer.id(), %error, "not announced"),
            Err(_) => tracing::debug!(peer = %peer.id(), "takes too long to hear"),
        }
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Outcome::Failed(began),
        }
    }
}

async fn send_once(
    network: &Network,
    peer: &Peer,
    announcement: &Announcement,
) -> Result<(), ClientError> {
    let path = "/api/p2p/announce";
    let sent = network
        .client
        .post(peer.address(), path, announcement, MAX_ANSWER);
    sent.await?.read::<IgnoredAny>()?;
    Ok(())
}
