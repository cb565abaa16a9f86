//! Telling every known peer of what changed here, in the background.
//!
//! Each peer is told one thing after the other, in the order in which they happened, and
//! none waits for another: whoever does not answer is left out until it is there again, and
//! asks what it has missed. What comes shortly after something that a peer was told goes to it
//! in one message ([`super::batch`]), of which the whole is signed once; peers that do not know
//! such messages are told everything by itself.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use reqwest::StatusCode;
use serde::de::IgnoredAny;
use tokio::time::{sleep, timeout};

use super::announcement::Announcement;
use super::batch::{self, BatchWriter};
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
const MAX_WAITING: usize = 1024;
/// How long nothing more is told to a peer that takes many things at once.
const GATHERING: Duration = Duration::from_millis(50);
/// How long a peer that did not know messages with many announcements is sent none.
const KNOWS_LATER: Duration = Duration::from_hours(1);
/// How long a peer may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses before each new try.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How long a peer is left alone that refuses: until it would have room again.
const REST: Duration = Duration::from_secs(10);
/// The longest answer read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// What happened to a file, as peers are told.
struct Happened {
    record: FileRecord,
    withdrawn: bool,
    /// When, by this node's clock, in microseconds, and what it holds since.
    at: (u64, Version),
    /// The announcement of it alone, signed when the first peer is to have that.
    alone: OnceLock<Announcement>,
}

impl Happened {
    fn alone(&self, network: &Network) -> &Announcement {
        self.alone
            .get_or_init(|| network.sign(&self.record, self.withdrawn, self.at))
    }
}

/// What came of telling one peer some things.
enum Outcome {
    Told,
    /// It is there and does not want to hear it, as one that was told too much.
    Refused(StatusCode),
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
    waiting: HashMap<PeerId, VecDeque<Arc<Happened>>>,
    /// Peers whose turn it is.
    ready: VecDeque<Target>,
    under_way: FuturesUnordered<BoxFuture<'static, Sent>>,
    /// Peers that were told something just now.
    gathering: FuturesUnordered<BoxFuture<'static, Target>>,
    /// How many of them are in each wide set of addresses.
    together: HashMap<Key, usize>,
    /// Until when peers are left alone.
    resting: HashMap<PeerId, Instant>,
    /// Until when peers are told one thing at a time.
    one_by_one: HashMap<PeerId, Instant>,
}

/// What was sent to whom, and what came of it.
struct Sent {
    to: Target,
    many: usize,
    /// Whether the peer has shown that it does not take many things at once.
    refuses_many: bool,
    outcome: Outcome,
}

/// Tells what changes in the store to all who are there at that moment, for ever.
pub async fn announce_all(network: Arc<Network>, store: Store, mut changes: Changes) {
    let mut announcing = Announcing {
        network,
        store,
        waiting: HashMap::new(),
        ready: VecDeque::new(),
        under_way: FuturesUnordered::new(),
        gathering: FuturesUnordered::new(),
        together: HashMap::new(),
        resting: HashMap::new(),
        one_by_one: HashMap::new(),
    };
    loop {
        tokio::select! {
            heard = changes.next() => match heard {
                Some(heard) => announcing.hear(heard).await,
                None => return,
            },
            Some(sent) = announcing.under_way.next() => announcing.ended(&sent),
            Some(place) = announcing.gathering.next() => announcing.ready.push_back(place),
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
            self.add(&Arc::new(Happened {
                record: record.clone(),
                withdrawn,
                at,
                alone: OnceLock::new(),
            }));
        }
    }

    fn add(&mut self, happened: &Arc<Happened>) {
        let now = Instant::now();
        self.resting.retain(|_, until| *until > now);
        self.one_by_one.retain(|_, until| *until > now);
        for (peer, wide) in self.network.registry.answering_in() {
            if self.resting.contains_key(&peer) {
                continue;
            }
            let waiting = self.waiting.entry(peer).or_insert_with(|| {
                self.ready.push_back((peer, wide));
                VecDeque::new()
            });
            if waiting.len() < MAX_WAITING {
                waiting.push_back(Arc::clone(happened));
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
            let known = self.network.registry.get(peer);
            let next = self.next(peer);
            match known.filter(|_| !next.is_empty()) {
                Some(known) => {
                    let sending = Sending {
                        network: Arc::clone(&self.network),
                        peer: known,
                        next,
                    };
                    self.under_way.push(Box::pin(sending.send(place)));
                    self.together.insert(wide, together + 1);
                }
                // It was forgotten, or there is nothing left to tell it.
                None => drop(self.waiting.remove(&peer)),
            }
        }
    }

    /// What a peer is to be told next: as much as it takes at once.
    fn next(&mut self, peer: PeerId) -> Vec<Arc<Happened>> {
        let takes_many = self.takes_many(peer);
        let Some(waiting) = self.waiting.get_mut(&peer) else {
            return Vec::new();
        };
        let many = if takes_many {
            batch::fitting(waiting.iter().map(|it| &it.record))
        } else {
            1
        };
        waiting.drain(..many.min(waiting.len())).collect()
    }

    /// Whether a peer may know messages with many announcements, which its key has to sign.
    fn takes_many(&self, peer: PeerId) -> bool {
        peer.belongs_to_a_key() && !self.one_by_one.contains_key(&peer)
    }

    /// Whether a whole message waits for a peer already.
    fn has_gathered(&self, peer: PeerId) -> bool {
        let waiting = self.waiting.get(&peer);
        waiting.is_some_and(|it| it.len() >= batch::MOST)
    }

    fn ended(&mut self, sent: &Sent) {
        let Sent {
            to,
            many,
            refuses_many,
            ref outcome,
        } = *sent;
        let (peer, wide) = to;
        match self.together.get_mut(&wide) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.together.remove(&wide)),
        }
        match outcome {
            Outcome::Told => self.network.messages.told.add(many as u64),
            Outcome::Refused(_) | Outcome::Failed(_) => {
                self.network.messages.told_in_vain.add(many as u64);
            }
        }
        if refuses_many {
            self.one_by_one.insert(peer, Instant::now() + KNOWS_LATER);
        }
        match outcome {
            Outcome::Told => {
                self.network.registry.saw(peer);
                if self.takes_many(peer) && !self.has_gathered(peer) {
                    let gathered = sleep(GATHERING).map(move |()| to);
                    self.gathering.push(Box::pin(gathered));
                } else {
                    self.ready.push_back((peer, wide));
                }
            }
            Outcome::Refused(_) => {
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

/// Some things that a peer is being told.
struct Sending {
    network: Arc<Network>,
    peer: Peer,
    next: Vec<Arc<Happened>>,
}

impl Sending {
    async fn send(self, to: Target) -> Sent {
        let (many, mut refuses_many) = (self.next.len(), false);
        let outcome = match self.next.as_slice() {
            [alone] => self.try_again(|| self.send_alone(alone)).await,
            all => match self.try_again(|| self.send_all(all)).await {
                Ok(()) => Ok(()),
                Err(Outcome::Refused(status)) if !is_busy(status) => {
                    refuses_many = true;
                    self.send_each(all).await
                }
                Err(outcome) => Err(outcome),
            },
        };
        Sent {
            to,
            many,
            refuses_many,
            outcome: outcome.err().unwrap_or(Outcome::Told),
        }
    }

    async fn send_each(&self, all: &[Arc<Happened>]) -> Result<(), Outcome> {
        for alone in all {
            self.try_again(|| self.send_alone(alone)).await?;
        }
        Ok(())
    }

    /// Sends until it is heard, refused, or was tried often enough.
    async fn try_again<F: Future<Output = Result<(), ClientError>>>(
        &self,
        send: impl Fn() -> F,
    ) -> Result<(), Outcome> {
        let peer = self.peer.id();
        let mut pauses = PAUSES.iter();
        let began = Instant::now();
        loop {
            match timeout(PATIENCE, send()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(ClientError::Status(status, _))) => {
                    tracing::debug!(%peer, %status, "takes no announcement");
                    return Err(Outcome::Refused(status));
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "not announced"),
                Err(_) => tracing::debug!(%peer, "takes too long to hear"),
            }
            match pauses.next() {
                Some(pause) => sleep(*pause).await,
                None => return Err(Outcome::Failed(began)),
            }
        }
    }

    async fn send_alone(&self, happened: &Happened) -> Result<(), ClientError> {
        let (path, alone) = ("/api/p2p/announce", happened.alone(&self.network));
        let client = &self.network.client;
        let sent = client.post(self.peer.address(), path, alone, MAX_ANSWER);
        sent.await?.read::<IgnoredAny>()?;
        Ok(())
    }

    async fn send_all(&self, all: &[Arc<Happened>]) -> Result<(), ClientError> {
        let holdings = held_since(all).and_then(|now| self.network.holdings(now));
        let mut message = BatchWriter::begin(holdings.as_ref());
        for it in all {
            message.add(&it.record, it.withdrawn, it.at.0);
        }
        let message = (batch::TYPE, self.network.sign_all(message));
        let (path, client) = ("/api/p2p/announcements", &self.network.client);
        let sent = client.post_bytes(self.peer.address(), path, message, MAX_ANSWER);
        sent.await?.read::<IgnoredAny>()?;
        Ok(())
    }
}

/// What is held since the last of these, and since which version nothing else has changed.
fn held_since(all: &[Arc<Happened>]) -> Option<Version> {
    let mut versions = all.iter().rev().map(|it| it.at.1);
    let last = versions.next()?;
    let until_missed = versions.try_fold(last.follows, |follows, before| {
        if before.version == follows {
            ControlFlow::Continue(before.follows)
        } else {
            ControlFlow::Break(follows)
        }
    });
    let (ControlFlow::Continue(follows) | ControlFlow::Break(follows)) = until_missed;
    Some(Version { follows, ..last })
}

/// Whether a node answers so that has been told too much, or stops. Whoever refuses such a message
/// with anything else does not know it, or whatever stands before it does not.
fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}
