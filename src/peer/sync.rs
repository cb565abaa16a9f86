//! Asking peers what they hold, so that announcements that got lost do not matter.
//!
//! Ids grow, so the files behind the last one seen are all that were added. If the peer
//! then counts as many files as are known of it, nothing was removed unheard; if not,
//! everything is read again and what was not told is dropped. Peers tell what they have removed
//! lately, so that this is rare; and where it does not help, it is done less and less often.
//!
//! Anybody can make up peers, and let this node wait for each of them. So those who answer,
//! those who were never asked and those who do not answer are asked apart from each other,
//! and the last less and less often.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::address::LeadsNowhere;
use super::client::{ClientError, Json, MAX_JSON_BYTES};
use super::directory::NetworkFile;
use super::listing::Listing;
use super::network::Network;
use super::registry::Peer;
use crate::peer_id::PeerId;
use crate::record::{FileId, Timestamp};

/// How many files are asked for at once.
const PAGE: usize = 256;
/// How many where the files of a whole page have so long names and descriptions that it
/// cannot be read.
const SHORT_PAGE: usize = 16;
/// The most pages read of one peer at a time.
const MAX_PAGES: usize = 4096;
/// The most of one that has told more than there is room for.
const MAX_PARTIAL_PAGES: usize = 64;
/// The most periods in which all of a listing is not read again, though it does not add up.
const MAX_SKIPS: u32 = 256;
/// The longest pause between two questions that are in vain, in periods.
const MAX_PAUSE: u32 = 8;

/// The shortest pause between two questions to one peer that does not answer and registers anew.
const RETURN: Duration = Duration::from_secs(1);
/// The shortest pause between two looks at who is new, however many come.
const SETTLE: Duration = Duration::from_millis(50);

/// Peers that are asked together, so that they wait for each other and for no one else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// They have answered when they were last asked.
    Answering,
    /// They have told of themselves, and were not asked since.
    New,
    /// They were asked in vain.
    Silent,
}

impl Lane {
    /// How many are asked at once.
    fn at_once(self) -> usize {
        match self {
            Self::Answering => 16,
            Self::New | Self::Silent => 64,
        }
    }

    /// How long one may take to tell what is new. What it told counts all the same.
    fn limit(self) -> Duration {
        match self {
            Self::Answering => Duration::from_mins(1),
            Self::New | Self::Silent => Duration::from_secs(5),
        }
    }

    fn of(peer: &Peer, progress: &Progress) -> Self {
        let silent = progress
            .in_vain
            .is_some_and(|it| it.asked_as == as_told(peer));
        match (peer.answered, silent) {
            (true, _) => Self::Answering,
            (false, true) => Self::Silent,
            (false, false) => Self::New,
        }
    }
}

/// How far the listing of a peer has been read.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The last file read.
    after: Option<FileId>,
    /// When the peer has made the listing that was read last, by its clock.
    listed_at: Option<u64>,
    /// How often in a row its count was not explained by what it told.
    differed: u32,
    /// After how many more of those all is read again.
    skips: u32,
    /// Whether all of it is being read, and its end was not reached yet.
    unfinished: bool,
    asked: Option<Instant>,
    /// When the peer had told of itself and how often it had come back, when it was asked last.
    asked_as: Option<(Timestamp, u32)>,
    /// Whether it is being asked, perhaps for longer than a period.
    under_way: bool,
    /// Whether it was asked in vain.
    in_vain: Option<InVain>,
}

#[derive(Debug, Clone, Copy)]
struct InVain {
    /// How often in a row,
    times: u32,
    /// and when the peer had told of itself.
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
    progress: Mutex<HashMap<PeerId, Progress>>,
}

impl Asking {
    /// Asks every peer once in a period, and new ones at once, for ever.
    pub(super) async fn run(network: Arc<Network>, every: Duration) {
        let asking = Self {
            network,
            every,
            progress: Mutex::default(),
        };
        tokio::join!(
            asking.ask_regularly(Lane::Answering),
            asking.ask_regularly(Lane::New),
            asking.ask_regularly(Lane::Silent),
        );
    }

    async fn ask_regularly(&self, lane: Lane) {
        let mut met = self.network.met.subscribe();
        loop {
            let due = self.due(lane);
            if !due.is_empty() {
                let asked = stream::iter(due).map(|peer| self.ask(peer, lane));
                asked.buffer_unordered(lane.at_once()).collect::<()>().await;
            }
            tokio::time::sleep(SETTLE).await;
            let pause = self.pause(lane);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = met.changed() => {}
            }
        }
    }

    /// How long to wait when nobody new is heard of: not a whole period where one is back that
    /// was asked just before.
    fn pause(&self, lane: Lane) -> Duration {
        let progress = self.progress.lock();
        let back = self.network.registry.select(|peer| {
            let known = progress.get(&peer.id());
            known.is_some_and(|it| {
                lane == Lane::New
                    && Lane::of(peer, it) == lane
                    && it.asked_as != Some(as_told(peer))
            })
        });
        if back.is_empty() {
            self.every
        } else {
            self.every.min(RETURN)
        }
    }

    /// The peers of a lane whose turn it is.
    fn due(&self, lane: Lane) -> Vec<Peer> {
        let mut progress = self.progress.lock();
        let registry = &self.network.registry;
        if progress.len() > registry.len() {
            progress.retain(|id, _| registry.get(*id).is_some());
        }
        let new = Progress::default();
        registry.select(|peer| {
            let known = progress.get(&peer.id()).unwrap_or(&new);
            Lane::of(peer, known) == lane && known.is_due(peer, lane, self.every)
        })
    }

    async fn ask(&self, peer: Peer, lane: Lane) {
        let id = peer.id();
        let mut progress = {
            let mut all = self.progress.lock();
            let progress = all.entry(id).or_default();
            progress.asked = Some(Instant::now());
            progress.asked_as = Some(as_told(&peer));
            let before = progress.clone();
            progress.under_way = true;
            before
        };
        let (before, began) = (progress.after, Instant::now());
        let reading = read_news(&self.network, &peer, &mut progress);
        let answered = match timeout(lane.limit(), reading).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(peer = %id, %error, "does not tell what it holds");
                // Another one at the address of a peer with a key says nothing about that peer.
                if matches!(error, ClientError::OtherPeer) && !peer.verified() {
                    self.network.directory.forget(id);
                }
                if LeadsNowhere::is_cause_of(&error) {
                    // Nobody asks there, so it is not told to anybody either.
                    self.network.registry.forget_unproven(id);
                }
                false
            }
            // There is so much to tell that the rest has to come later.
            Err(_) => progress.after != before,
        };
        if answered {
            progress.in_vain = None;
        } else {
            let asked_as = as_told(&peer);
            let times = progress.in_vain.filter(|it| it.asked_as == asked_as);
            let times = times.map_or(1, |it| it.times.saturating_add(1));
            progress.in_vain = Some(InVain { times, asked_as });
            self.network.registry.asked_in_vain(id, began);
        }
        self.progress.lock().insert(id, progress);
        // It may have given way to another while it told what it holds.
        if self.network.registry.get(id).is_none() {
            self.network.directory.forget(id);
        }
    }
}

impl Progress {
    /// Whether the listing was read before.
    fn has_read(&self) -> bool {
        self.after.is_some() || self.listed_at.is_some()
    }

    /// Whether all is not to be read again yet, since that has not helped before.
    fn waits_before_reading_all(&mut self) -> bool {
        if self.skips > 0 {
            self.skips -= 1;
            return true;
        }
        self.skips = 2_u32.saturating_pow(self.differed).min(MAX_SKIPS) - 1;
        self.differed += 1;
        false
    }

    /// Whether it is time to ask again: once in a period, and less often in vain.
    fn is_due(&self, peer: &Peer, lane: Lane, every: Duration) -> bool {
        if self.under_way {
            return false;
        }
        let asked = |pause| self.asked.is_none_or(|at| at.elapsed() >= pause);
        let anew = self.asked_as != Some(as_told(peer));
        if lane == Lane::New && anew && asked(RETURN) {
            // It has moved, or was away and is back.
            return true;
        }
        let in_vain = self.in_vain.filter(|_| lane == Lane::Silent);
        let periods = in_vain.map_or(1, |it| 2_u32.saturating_pow(it.times).min(MAX_PAUSE));
        // Half a period less: woken for another, it was asked just now.
        let pause = every / 2 * (2 * periods - 1);
        asked(pause)
    }
}

/// Reads what is new, and everything if that does not explain the peer's count.
async fn read_news(
    network: &Network,
    peer: &Peer,
    progress: &mut Progress,
) -> Result<(), ClientError> {
    if progress.has_read() {
        let total = read(network, peer, progress).await?;
        let directory = &network.directory;
        if directory.is_partial(peer.id()) {
            // There may be room again, but not for whoever fills it each time.
            if !directory.has_room_for(peer.id()) || progress.waits_before_reading_all() {
                return Ok(());
            }
        } else if progress.unfinished || total == Some(directory.count_of(peer.id())) {
            progress.differed = 0;
            return Ok(());
        } else if total.is_some() && progress.waits_before_reading_all() {
            // Whoever never counts right is not read from the beginning each time.
            return Ok(());
        }
    }
    progress.after = None;
    progress.listed_at = None;
    network.directory.begin_reading(peer.id());
    progress.unfinished = true;
    read(network, peer, progress).await?;
    Ok(())
}

/// Reads the listing from where `progress` stands to its end, and how many files there are.
/// Of what was removed since the last reading the peer tells, too, if it remembers.
async fn read(
    network: &Network,
    peer: &Peer,
    progress: &mut Progress,
) -> Result<Option<usize>, ClientError> {
    let mut limit = PAGE;
    let mut since = progress.listed_at;
    for page in 0..MAX_PAGES {
        // Who has told more than there is room for does not keep this node busy.
        if page >= MAX_PARTIAL_PAGES && network.directory.is_partial(peer.id()) {
            return Ok(None);
        }
        let after = progress.after.map(|id| format!("&after={id}"));
        let removed = since.map(|moment| format!("&removed_since={moment}"));
        let [after, removed] = [after, removed].map(Option::unwrap_or_default);
        let path = format!("/api/p2p/files?limit={limit}{after}{removed}");
        let answer = match ask(network, peer, &path).await {
            Err(ClientError::TooLong(_)) if limit > SHORT_PAGE => {
                limit = SHORT_PAGE;
                continue;
            }
            answer => answer?,
        };
        let listing = of_peer(&answer, peer)?;
        let first = since.is_some() || progress.listed_at.is_none();
        if let Some(moment) = listing.listed_at().filter(|_| first) {
            network.directory.read_at(peer.id(), moment);
            progress.listed_at = Some(moment);
        }
        since = None;
        if !network.answered(peer.id()) {
            return Err(ClientError::NoRoom);
        }
        take(network, peer, &listing, progress)?;
        if !listing.has_more() {
            if std::mem::take(&mut progress.unfinished) {
                network.directory.end_reading(peer.id());
            }
            return Ok(listing.total_files());
        }
    }
    Ok(None)
}

/// Takes one page of a listing in.
fn take(
    network: &Network,
    peer: &Peer,
    listing: &Listing<'_>,
    progress: &mut Progress,
) -> Result<(), ClientError> {
    for file in listing.files() {
        if listing.total_files().is_some() {
            // A peer that goes in circles would be listened to for ever.
            if progress.after.is_some_and(|after| file.id <= after) {
                return Err(ClientError::Disorder);
            }
            progress.after = Some(file.id);
        }
        // What finds no room is found when it is asked for.
        let _ = network.directory.put(peer.id(), file);
    }
    for id in listing.removed().into_iter().flatten() {
        network.directory.withdraw(peer.id(), id);
    }
    Ok(())
}

async fn ask(network: &Network, peer: &Peer, path: &str) -> Result<Json, ClientError> {
    let client = &network.client;
    let asked = client.get_from(peer.id(), peer.address(), path, MAX_JSON_BYTES);
    asked.await
}

/// The listing in an answer, if it is that of this peer.
fn of_peer<'a>(answer: &'a Json, peer: &Peer) -> Result<Listing<'a>, ClientError> {
    let listing: Listing = answer.read()?;
    if listing.is_of(peer.id()) {
        Ok(listing)
    } else {
        Err(ClientError::OtherPeer)
    }
}

/// Asks a peer for the file with this id, which it may not have told of yet.
pub async fn find(
    network: &Network,
    peer: &Peer,
    id: FileId,
) -> Result<Option<NetworkFile>, ClientError> {
    // The page that begins with it. Older peers know no pages and tell everything.
    let after = id.before().map(|before| format!("&after={before}"));
    let path = format!("/api/p2p/files?limit=1{}", after.unwrap_or_default());
    let answer = ask(network, peer, &path).await?;
    let listing = of_peer(&answer, peer)?;
    Ok(listing.files().find(|file| file.id == id))
}
