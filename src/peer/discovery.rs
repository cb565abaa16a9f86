//! Finding peers: by bootstrap servers, by peers named to this node, on the local network,
//! and from memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::asking::Asking;
use super::client::ClientError;
use super::exchange::{exchange, with_named};
use super::greeting::{Acquaintances, SAMPLE, ask_bootstrap, ask_peer, ask_whether_reached};
use super::known_peers::{self, KnownPeers};
use super::mdns::{self, Mdns, Neighbour};
use super::moved::{Words, tell_the_copy};
use super::network::Network;
use super::prefix::Prefix;
use super::registration::Registration;
use super::registry::{Introduced, Introducer};
use super::together::tell_each_other;
use super::turns::{Claim, in_turn};
use super::unanswered::{self, Named};
use crate::base_url::BaseUrl;
use crate::open_files;
use crate::peer_id::PeerId;

/// The longest pause after failures, in periods.
const MAX_PAUSE: u32 = 8;
/// The longest one where a period is no longer, so that one that comes back is not missed for long.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How many neighbours are asked at once.
const AT_ONCE: usize = 64;
/// How long one may take that is asked for the first time, whoever makes up neighbours that do not
/// answer.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// How long one may take later.
const PATIENCE: Duration = Duration::from_secs(5);
/// The shortest pause between two looks at the neighbours, whoever comes and goes there.
const SETTLE: Duration = Duration::from_millis(50);
/// How long after it one looks again whose turn has come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often the known peers are written down, if they differ.
const WRITE_EVERY: Duration = Duration::from_secs(3);

/// How peers are looked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Servers that introduce peers.
    pub bootstrap: Vec<BaseUrl>,
    /// Whether these are the default, which nobody has named: then nobody is told where none of
    /// them answers.
    pub default_bootstrap: bool,
    /// Peers named by their address.
    pub peers: Vec<BaseUrl>,
    /// How nodes of the same local network are found, if they are looked for.
    pub mdns: Option<mdns::Options>,
    /// How often all of them are asked.
    pub every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            default_bootstrap: false,
            peers: Vec::new(),
            mdns: None,
            every: Duration::from_secs(30),
        }
    }
}

/// Looks for peers and asks them what they hold, for ever; keeps the known ones in `known`, of
/// which those known before are [recalled](known_peers::recall) first unless that was done.
pub async fn discover(
    network: Arc<Network>,
    options: Options,
    known: KnownPeers,
    has_recalled: bool,
) {
    let mut tasks = JoinSet::new();
    if !has_recalled {
        known_peers::recall(&network, &known).await;
    }
    let (mut bootstrap, mut mdns) = (options.bootstrap, options.mdns);
    if !network.client.reach().tells() {
        tracing::info!(
            "private: asks the peers that --peer names, tells them nothing, and talks with \
             nobody else: no bootstrap server and no multicast DNS"
        );
        (bootstrap, mdns) = (Vec::new(), None);
    }
    let bootstrap = bootstrap.into_iter().map(|it| (Named::Bootstrap, it));
    let peers = options.peers.into_iter().map(|it| (Named::Peer, it));
    for (named, address) in bootstrap.chain(peers) {
        let told = named == Named::Peer || !options.default_bootstrap;
        tasks.spawn(ask(network.clone(), named, address, options.every, told));
    }
    if let Some(mdns) = mdns {
        tasks.spawn(ask_neighbours(network.clone(), mdns, options.every));
    }
    tasks.spawn(Asking::run(network.clone(), options.every));
    tasks.spawn(exchange(network.clone(), options.every));
    tasks.spawn(tell_where_it_is(network.clone(), options.every));
    tasks.spawn(tell_its_copy(network.clone(), options.every));
    tasks.spawn(look_whether_reached(network.clone(), options.every));
    if let KnownPeers::Shared(rows) = &known {
        tasks.spawn(tell_each_other(network.clone(), Arc::clone(rows)));
    }
    tasks.spawn(tidy(network, options.every, known));
    while tasks.join_next().await.is_some() {}
}

/// Asks one that the operator has named again and again; after failures with growing pauses.
async fn ask(network: Arc<Network>, named: Named, address: BaseUrl, every: Duration, told: bool) {
    let (mut pause, mut is_first) = (1, true);
    while !network.is_leaving() {
        let introduced = match named {
            Named::Bootstrap => ask_bootstrap(&network, &address).await,
            Named::Peer => ask_named(&network, &address, every).await,
        };
        let reason = match introduced {
            Ok(told) => {
                pause = 1;
                let teller = told.teller;
                let reason = teller.and_then(|it| not_taken(&network, it, &address));
                // Each that the operator has named is an introducer of its own.
                let by = Introducer::Other(Prefix::of(&address).exact);
                take(&network, told.peers, by, address.is_loopback()).await;
                reason
            }
            Err(error) => {
                pause = (pause * 2).min(MAX_PAUSE);
                Some(unanswered::reason(&address, network.base_url(), &error))
            }
        };
        if named == Named::Peer && is_first {
            network.beginning.asked_one();
            network.met.send_replace(());
        }
        is_first = false;
        if told {
            let longest = pause_after(MAX_PAUSE, every);
            network.unanswered.note(named, &address, reason, longest);
        } else if let Some(reason) = reason {
            tracing::debug!(%address, reason, ?named, "introduces nobody");
        }
        tokio::time::sleep(jittered(pause_after(pause, every))).await;
    }
}

/// Asks a peer that the operator has named whom it knows, or compares with it, where it is known.
async fn ask_named(
    network: &Network,
    address: &BaseUrl,
    every: Duration,
) -> Result<Acquaintances, ClientError> {
    match with_named(network, address, every).await {
        Some(compared) => compared.map(|()| Acquaintances::default()),
        None => ask_peer(network, address, every).await,
    }
}

/// How long one is left in peace who failed, and so is to be asked after so many periods.
fn pause_after(periods: u32, every: Duration) -> Duration {
    (every * periods).min(LONGEST_PAUSE.max(every))
}

/// Takes the peer in that has answered at an address that the operator has named; why it is not.
fn not_taken(network: &Network, teller: Registration, address: &BaseUrl) -> Option<String> {
    match network.meet_named(teller, address) {
        Err(error) => Some(format!("what it says of itself is not taken: {error}")),
        Ok(Introduced::Myself) => Some("it is this node itself, or one with its key".to_owned()),
        Ok(Introduced::Unsigned) => {
            Some("it signs nothing of what it tells, and --require-signed is set".to_owned())
        }
        Ok(Introduced::Full) => Some("there is no room for it".to_owned()),
        Ok(Introduced::New | Introduced::InsteadOf(_) | Introduced::Known | Introduced::Left) => {
            None
        }
    }
}

/// Looks every period who has not heard yet where this node is, for ever. However many take long
/// to hear it, what else is done each period does not wait for that.
async fn tell_where_it_is(network: Arc<Network>, every: Duration) {
    let mut told = Words::default();
    while !network.is_leaving() {
        tokio::time::sleep(jittered(every)).await;
        told.tell(&network, every).await;
    }
}

/// Tells every period one that has this node's key, if there is one, for ever.
async fn tell_its_copy(network: Arc<Network>, every: Duration) {
    while !network.is_leaving() {
        tokio::time::sleep(jittered(every)).await;
        tell_the_copy(&network, every).await;
    }
}

/// Looks every period whether others reach this node, for ever.
async fn look_whether_reached(network: Arc<Network>, every: Duration) {
    while !network.is_leaving() {
        tokio::time::sleep(jittered(every)).await;
        ask_whether_reached(&network, every).await;
    }
}

/// Introduces this node to those that multicast DNS finds and it does not know, for ever.
async fn ask_neighbours(network: Arc<Network>, options: mdns::Options, every: Duration) {
    // Strangers hear it, too, who shall not know a member again.
    let id = match network.client.reach().members {
        Some(_) => PeerId::random(),
        None => network.peer_id(),
    };
    let mdns = match Mdns::start(id, options) {
        Ok(mdns) => mdns,
        Err(error) => {
            tracing::warn!(%error, "nodes of the same network are not found (multicast DNS)");
            return;
        }
    };
    let (network, mut under_way) = (&*network, FuturesUnordered::new());
    let at_once = open_files::shares().of_peers(AT_ONCE);
    while !network.is_leaving() {
        let known = |id| network.registry.get(id).is_some_and(|it| it.answered);
        let free = at_once.saturating_sub(under_way.len());
        for asked in mdns.next(free, every, known) {
            under_way.push(async move {
                let patience = if asked.again {
                    PATIENCE
                } else {
                    FIRST_PATIENCE
                };
                let asking = ask_neighbour(network, &asked.neighbour, every);
                let _ = timeout(patience, asking).await;
                asked
            });
        }
        let settled = tokio::time::sleep(SETTLE);
        tokio::pin!(settled);
        loop {
            tokio::select! {
                () = &mut settled => break,
                Some(asked) = under_way.next() => mdns.ended(&asked),
            }
        }
        tokio::select! {
            Some(asked) = under_way.next() => mdns.ended(&asked),
            () = mdns.changed(), if under_way.len() < at_once => {}
            () = tokio::time::sleep(every.min(LOOK_AGAIN)) => {}
        }
    }
}

async fn ask_neighbour(network: &Network, neighbour: &Neighbour, every: Duration) {
    for address in &neighbour.addresses {
        match ask_peer(network, address, every).await {
            Ok(told) => {
                if let Some(teller) = told.teller {
                    let itself = Introducer::Itself(Some(Prefix::of(address).narrow));
                    meet(network, teller, itself, address.is_loopback());
                }
                let by = Introducer::Other(Prefix::of(address).narrow);
                return take(network, told.peers, by, address.is_loopback()).await;
            }
            Err(error) => tracing::debug!(%address, %error, "no peer is there"),
        }
    }
}

/// Meets some of those of whom somebody told, in turn those of each set of addresses, one after
/// the other. Checking signatures takes a while, and others work on this thread, too. Who tells
/// is `near` on loopback.
async fn take(network: &Network, told: Vec<Registration>, by: Introducer, near: bool) {
    let claims = told.into_iter().filter_map(|it| {
        let announced = Prefix::of(&it.address.parse().ok()?).wide;
        let claim = Claim {
            source: by,
            weak: it.proof.signature.is_none(),
            announced,
        };
        Some((claim, it))
    });
    for registration in in_turn(claims.collect(), [], SAMPLE) {
        meet(network, registration, by, near);
        tokio::task::yield_now().await;
    }
}

fn meet(network: &Network, registration: Registration, by: Introducer, near: bool) {
    if let Err(error) = network.meet(registration, by, near) {
        tracing::debug!(%error, "a registration is not taken");
    }
}

/// A little more or less, so that nodes started together do not ask together for ever.
fn jittered(pause: Duration) -> Duration {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    let percent = u32::try_from(random % 21).unwrap_or(0);
    pause / 100 * (90 + percent)
}

/// Forgets silent peers, and writes down those that have answered, for ever.
async fn tidy(network: Arc<Network>, every: Duration, known: KnownPeers) {
    loop {
        tokio::time::sleep(every.min(WRITE_EVERY)).await;
        // What was told long ago counts no longer, which is told whoever waits for that.
        let _ = network.reachability.get(Instant::now());
        for id in network.registry.forget_silent(Instant::now()) {
            let log = &network.log.silent;
            log.tell(|left_out| tracing::info!(%id, left_out, "forgot a silent peer"));
            network.directory.forget(id);
        }
        known_peers::write_down(&network, &known).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_after_failures_grows_to_a_minute_at_most_or_to_a_period_that_is_longer() {
        let pauses = |every| {
            let every = Duration::from_secs(every);
            [1, 2, 4, MAX_PAUSE].map(|it| pause_after(it, every).as_secs())
        };
        assert_eq!(pauses(1), [1, 2, 4, 8]);
        assert_eq!(pauses(30), [30, 60, 60, 60]);
        assert_eq!(pauses(300), [300; 4]);
    }
}
