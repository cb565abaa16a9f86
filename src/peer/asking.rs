//! When each peer is asked what it holds.
//!
//! Anybody can make up peers, and let this node wait for each of them. So those who answer,
//! those who take long to, those who were never asked and those who do not answer are asked
//! apart from each other, and the last less and less often. Of each of these lanes one set of
//! addresses has a part only, and who is asked next goes by turns, so that no crowd stands
//! before others, however slow it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::client::ClientError;
use super::lookup::LeadsNowhere;
use super::network::Network;
use super::registry::{Peer, Slots};
use super::sync::{ListingProgress, read_news};
use crate::open_files;
use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// The longest pause between two questions that are in vain, in periods.
const MAX_PAUSE: u32 = 8;
/// The shortest pause between two questions to one peer that does not answer and registers anew.
const RETURN: Duration = Duration::from_secs(1);
/// The shortest pause between two looks at whose turn it is, however many come.
const SETTLE: Duration = Duration::from_millis(50);
/// How many looks there are in a period when nobody new is heard of.
const LOOKS: u32 = 8;
/// How many questions in a row a peer has to answer in time until it is asked as early as those
/// that always did.
const WARY: u32 = 8;

/// Peers that are asked together, so that they wait for each other and for no one else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// They have answered when they were last asked.
    Answering,
    /// They had more to tell then than was waited for.
    Slow,
    /// They have told of themselves, and were not asked since.
    New,
    /// They were asked in vain.
    Silent,
}

impl Lane {
    /// How many are asked at once.
    fn slots(self) -> Slots {
        // Each by a connection, which is an open file.
        let all = open_files::shares().of_peers(match self {
            Self::Answering | Self::Slow => 16,
            Self::New | Self::Silent => 64,
        });
        let together = (all * 3 / 4).max(1);
        Slots { all, together }
    }

    /// How long one may take to tell what is new. What it told counts all the same. One that is
    /// new and needs longer is asked again among the silent ones, which have more time.
    fn limit(self) -> Duration {
        match self {
            Self::New => Duration::from_secs(1),
            Self::Answering | Self::Silent => Duration::from_secs(5),
            Self::Slow => Duration::from_mins(1),
        }
    }

    fn of(peer: &Peer, asked: &Standing) -> Self {
        let silent = asked.in_vain.is_some_and(|it| it.asked_as == as_told(peer));
        match (peer.answered, silent) {
            (true, _) if asked.slow => Self::Slow,
            (true, _) => Self::Answering,
            (false, true) => Self::Silent,
            (false, false) => Self::New,
        }
    }
}

/// How it stands with a peer.
#[derive(Debug, Clone, Default)]
struct Standing {
    progress: ListingProgress,
    /// When it was asked last; None where it is to be asked at once.
    at: Option<Instant>,
    /// When the peer had told of itself and how often it had come back, when it was asked last.
    asked_as: Option<(Timestamp, u32)>,
    /// Whether it is being asked, perhaps for longer than a period.
    under_way: Option<Lane>,
    /// Whether it was asked in vain.
    in_vain: Option<InVain>,
    /// Whether it told less than all in the time that there was.
    slow: bool,
    /// How many more questions it has to answer in time.
    wary: u32,
    /// Whether another node that is this peer as well has said that it has news.
    prompted: bool,
}

/// When a peer is asked again.
#[derive(Debug, Clone, Copy)]
struct Pace {
    every: Duration,
    /// Whether it is asked each period, also where nothing is known to be new.
    polls: bool,
}

#[derive(Debug, Clone, Copy)]
struct InVain {
    /// How often it was asked in vain in a row.
    times: u32,
    /// What the peer had told of itself until then.
    asked_as: (Timestamp, u32),
}

/// When a peer has told of itself, and how often it has come back: differs when it may be there
/// again.
fn as_told(peer: &Peer) -> (Timestamp, u32) {
    (peer.told.registered_at(), peer.returns)
}

/// Asks peers what they hold, and remembers how far they told it.
pub(super) struct Asking {
    network: Arc<Network>,
    every: Duration,
    all: Mutex<HashMap<PeerId, Standing>>,
}

impl Asking {
    /// Asks every peer once in a period, and new ones at once, for ever.
    pub(super) async fn run(network: Arc<Network>, every: Duration) {
        let asking = Self {
            network,
            every,
            all: Mutex::default(),
        };
        tokio::join!(
            asking.ask_regularly(Lane::Answering),
            asking.ask_regularly(Lane::Slow),
            asking.ask_regularly(Lane::New),
            asking.ask_regularly(Lane::Silent),
        );
    }

    async fn ask_regularly(&self, lane: Lane) {
        let mut met = self.network.met.subscribe();
        let mut under_way = FuturesUnordered::new();
        loop {
            for peer in self.next(lane) {
                under_way.push(self.ask(peer, lane));
            }
            self.network.beginning.end_if(|| self.has_asked_all());
            let settled = sleep(SETTLE);
            tokio::pin!(settled);
            loop {
                tokio::select! {
                    () = &mut settled => break,
                    Some(()) = under_way.next() => {}
                }
            }
            tokio::select! {
                () = sleep(self.pause(lane)) => {}
                Some(()) = under_way.next() => {}
                _ = met.changed() => {}
            }
        }
    }

    /// How long to wait when nobody new is heard of: less than a part of a period where one is
    /// back that was asked just before.
    fn pause(&self, lane: Lane) -> Duration {
        let look = self.every / LOOKS;
        let all = self.all.lock();
        let back = lane == Lane::New
            && self.network.registry.any(|peer| {
                let asked = all.get(&peer.id());
                asked.is_some_and(|it| {
                    Lane::of(peer, it) == lane && it.asked_as != Some(as_told(peer))
                })
            });
        if back { look.min(RETURN) } else { look }
    }

    /// The peers of a lane that are to be asked now, which are noted as being asked.
    fn next(&self, lane: Lane) -> Vec<Peer> {
        let mut all = self.all.lock();
        let registry = &self.network.registry;
        // Who is being asked now may have told all that it was to tell.
        let fleet = &self.network.fleet;
        fleet.to_ask.lock().retain(|id| match all.get_mut(id) {
            Some(asked) if asked.under_way.is_some() => true,
            Some(asked) => {
                asked.at = None;
                asked.prompted = true;
                false
            }
            None => false,
        });
        if all.len() > registry.len() {
            all.retain(|id, it| it.under_way.is_some() || registry.get(*id).is_some());
        }
        let busy = all.iter().filter(|(_, it)| it.under_way == Some(lane));
        let busy: Vec<_> = busy.map(|(id, _)| *id).collect();
        let new = Standing::default();
        let next = registry.next(&lane.slots(), &busy, |peer| {
            let asked = all.get(&peer.id()).unwrap_or(&new);
            let due = Lane::of(peer, asked) == lane && asked.is_due(peer, lane, self.pace(peer));
            due.then_some(asked.wary > 0)
        });
        for peer in &next {
            let asked = all.entry(peer.id()).or_default();
            asked.at = Some(Instant::now());
            asked.asked_as = Some(as_told(peer));
            asked.under_way = Some(lane);
        }
        next
    }

    /// How often a peer is asked that answers: each period only if nobody else tells that it holds
    /// something else, or there was no room for all of it.
    fn pace(&self, peer: &Peer) -> Pace {
        let network = &self.network;
        let hears = peer.tells_version() && network.client.reach().tells();
        Pace {
            every: self.every,
            polls: !hears || network.directory.is_partial(peer.id()),
        }
    }

    async fn ask(&self, peer: Peer, lane: Lane) {
        let id = peer.id();
        let asked = self.all.lock().get(&id).cloned();
        let mut asked = asked.unwrap_or_default();
        let (before, began) = (asked.progress.last(), Instant::now());
        let reading = read_news(&self.network, &peer, &mut asked.progress);
        let ended = timeout(lane.limit(), reading).await;
        match ended {
            Ok(Ok(())) => {
                // Whoever asks another node for what this one has read is not to wait until
                // that one asks by itself. What it was told by such a node they all know.
                let has_news = before.is_some() && asked.progress.last() != before;
                if !std::mem::take(&mut asked.prompted) && has_news {
                    self.network.tell_fleet_of(id);
                }
                asked.answered();
            }
            Ok(Err(error)) => {
                self.note_failure(&peer, &error);
                asked.failed(&peer);
                self.network.asked_in_vain(id, began);
            }
            // There is so much to tell that the rest has to come later, or it comes slowly.
            Err(_) if asked.progress.last() != before => asked.told_some(lane),
            Err(_) if lane == Lane::Answering && asked.wary == 0 => asked.told_some(lane),
            Err(_) => {
                asked.failed(&peer);
                if lane == Lane::New {
                    asked.at = None;
                    self.network.registry.waited_in_vain(id);
                } else {
                    self.network.asked_in_vain(id, began);
                }
            }
        }
        let at_once = asked.at.is_none();
        asked.under_way = None;
        self.all.lock().insert(id, asked);
        // It may have given way to another while it told what it holds.
        if self.network.registry.get(id).is_none() {
            self.network.directory.forget(id);
        }
        if at_once {
            self.network.met.send_replace(());
        }
        let fleet = &self.network.fleet;
        let has_news = fleet.to_ask.lock().contains(&id);
        fleet
            .unasked
            .send_if_modified(|it| !has_news && it.remove(&id));
        self.network.beginning.end_if(|| self.has_asked_all());
    }

    /// Whether each peer that is known was asked, and has answered or let the time pass.
    fn has_asked_all(&self) -> bool {
        let all = self.all.lock();
        let was_asked = |peer: &Peer| all.get(&peer.id()).is_some_and(|it| it.under_way.is_none());
        !self.network.registry.any(|peer| !was_asked(peer))
    }

    fn note_failure(&self, peer: &Peer, error: &ClientError) {
        let id = peer.id();
        tracing::debug!(peer = %id, %error, "does not tell what it holds");
        // Another one at the address of a peer with a key says nothing about that peer.
        if matches!(error, ClientError::OtherPeer) && !peer.verified() {
            self.network.directory.forget(id);
        }
        if LeadsNowhere::is_cause_of(error) {
            // Nobody asks there, so it is not told to anybody either.
            self.network.registry.forget_unproven(id);
        }
    }
}

impl Standing {
    /// It told all that is new.
    fn answered(&mut self) {
        self.in_vain = None;
        self.slow = false;
        self.wary = self.wary.saturating_sub(1);
    }

    /// It told a part of what is new, and is asked for the rest at once, unless it had all the
    /// time that there is.
    fn told_some(&mut self, lane: Lane) {
        self.in_vain = None;
        self.slow = lane != Lane::New;
        self.wary = WARY;
        if lane != Lane::Slow {
            self.at = None;
        }
    }

    fn failed(&mut self, peer: &Peer) {
        let asked_as = as_told(peer);
        let times = self.in_vain.filter(|it| it.asked_as == asked_as);
        let times = times.map_or(1, |it| it.times.saturating_add(1));
        self.in_vain = Some(InVain { times, asked_as });
        self.wary = WARY;
    }

    /// Whether it is time to ask again: once in a period, and less often in vain.
    fn is_due(&self, peer: &Peer, lane: Lane, pace: Pace) -> bool {
        if self.under_way.is_some() {
            return false;
        }
        let Some(at) = self.at else {
            return true;
        };
        if peer.doubted.is_some_and(|doubted| doubted > at) {
            return true;
        }
        let Pace { every, polls } = pace;
        if lane == Lane::Answering && !polls && !peer.has_news() {
            return false;
        }
        let anew = self.asked_as != Some(as_told(peer));
        if lane == Lane::New && anew && at.elapsed() >= RETURN {
            // It has moved, or was away and is back.
            return true;
        }
        let in_vain = self.in_vain.filter(|_| lane == Lane::Silent);
        let periods = in_vain.map_or(1, |it| 2_u32.saturating_pow(it.times).min(MAX_PAUSE));
        at.elapsed() >= every.saturating_mul(periods)
    }
}
