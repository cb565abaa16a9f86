//! Finding peers: by bootstrap servers, by peers named to this node, on the local network,
//! and from memory.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::ClientError;
use super::mdns::{self, Mdns, Neighbour};
use super::network::Network;
use super::registration::Registration;
use super::registry::Peer;
use super::sync;
use crate::base_url::BaseUrl;
use crate::record::Timestamp;
use crate::state_file::StateFile;

/// How many peers a bootstrap server is asked for.
const SAMPLE: usize = 1000;
/// The longest pause after failures, in periods.
const MAX_PAUSE: u32 = 8;
/// How many neighbours are asked at once.
const AT_ONCE: usize = 16;
/// The shortest pause between two looks at the neighbours, whoever comes and goes there.
const SETTLE: Duration = Duration::from_secs(1);

/// How peers are looked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Servers that introduce peers.
    pub bootstrap: Vec<BaseUrl>,
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
            peers: Vec::new(),
            mdns: None,
            every: Duration::from_secs(30),
        }
    }
}

/// What a bootstrap server and a peer answer alike: peers.
#[derive(Deserialize)]
struct Introductions {
    peers: Vec<serde_json::Value>,
    #[serde(rename = "self")]
    this: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Bootstrap,
    Peer,
}

/// Looks for peers and asks them what they hold, for ever; keeps the known ones in `file`.
pub async fn discover(network: Arc<Network>, options: Options, file: StateFile) {
    let mut tasks = JoinSet::new();
    recall(&network, &file).await;
    for address in options.bootstrap {
        tasks.spawn(ask(
            network.clone(),
            Source::Bootstrap,
            address,
            options.every,
        ));
    }
    for address in options.peers {
        tasks.spawn(ask(network.clone(), Source::Peer, address, options.every));
    }
    if let Some(mdns) = options.mdns {
        tasks.spawn(ask_neighbours(network.clone(), mdns, options.every));
    }
    tasks.spawn(sync::ask_regularly(network.clone(), options.every));
    tasks.spawn(tidy(network, options.every, file));
    while tasks.join_next().await.is_some() {}
}

/// Asks one source again and again; after failures with growing pauses.
async fn ask(network: Arc<Network>, source: Source, address: BaseUrl, every: Duration) {
    let mut pause = 1;
    loop {
        let introduced = match source {
            Source::Bootstrap => ask_bootstrap(&network, &address).await,
            Source::Peer => ask_peer(&network, &address).await,
        };
        pause = match introduced {
            Ok(found) => {
                take(&network, found);
                1
            }
            Err(error) => {
                let error: &dyn Error = &error;
                tracing::debug!(%address, error, ?source, "introduces nobody");
                (pause * 2).min(MAX_PAUSE)
            }
        };
        tokio::time::sleep(jittered(every * pause)).await;
    }
}

async fn ask_bootstrap(network: &Network, server: &BaseUrl) -> Result<Introductions, ClientError> {
    let myself = network.myself();
    let _: IgnoredAny = network.client.post(server, "/register", &myself).await?;
    let path = format!("/peers?limit={SAMPLE}");
    network.client.get(server, &path).await
}

/// Introduces this node to a peer, which tells whom it knows. An older one only tells; one
/// that was asked too often is asked later.
async fn ask_peer(network: &Network, peer: &BaseUrl) -> Result<Introductions, ClientError> {
    let myself = network.myself();
    match network.client.post(peer, "/api/peers", &myself).await {
        Err(ClientError::Status(status)) if status != StatusCode::TOO_MANY_REQUESTS => {
            network.client.get(peer, "/api/peers").await
        }
        introductions => introductions,
    }
}

/// Introduces this node to those that multicast DNS finds and it does not know, for ever.
async fn ask_neighbours(network: Arc<Network>, options: mdns::Options, every: Duration) {
    let mdns = match Mdns::start(network.peer_id(), options) {
        Ok(mdns) => mdns,
        Err(error) => {
            tracing::warn!(%error, "nodes of the same network are not found by themselves");
            return;
        }
    };
    loop {
        let known = |neighbour: &Neighbour| network.registry.get(neighbour.id).is_some();
        let strangers = mdns.neighbours().into_iter().filter(|it| !known(it));
        let asked = stream::iter(strangers).map(|it| ask_neighbour(&network, it));
        asked.buffer_unordered(AT_ONCE).collect::<()>().await;
        tokio::time::sleep(SETTLE).await;
        tokio::select! {
            () = tokio::time::sleep(jittered(every)) => {}
            () = mdns.changed() => {}
        }
    }
}

async fn ask_neighbour(network: &Network, neighbour: Neighbour) {
    for address in neighbour.addresses {
        match ask_peer(network, &address).await {
            Ok(found) => return take(network, found),
            Err(error) => tracing::debug!(%address, %error, "no peer is there"),
        }
    }
}

fn take(network: &Network, found: Introductions) {
    for peer in found.peers.into_iter().chain(found.this) {
        let registration = Registration::deserialize(peer);
        let met = registration.map(|it| network.meet(it));
        if let Ok(Err(error)) = &met {
            tracing::debug!(%error, "a registration is not taken");
        }
    }
}

/// A little more or less, so that nodes started together do not ask together for ever.
fn jittered(pause: Duration) -> Duration {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    let percent = u32::try_from(random % 21).unwrap_or(0);
    pause / 100 * (90 + percent)
}

/// Forgets silent peers, and writes down those that are known.
async fn tidy(network: Arc<Network>, every: Duration, file: StateFile) {
    let mut written = Vec::new();
    let mut met = network.met.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = met.changed() => {}
        }
        for id in network.registry.forget_silent(Timestamp::now()) {
            tracing::info!(%id, "forgot a silent peer");
            network.directory.forget(id);
        }
        let known = network.registry.all();
        let registrations = known.iter().map(|peer| &peer.told.registration);
        let registrations: Vec<_> = registrations.cloned().collect();
        if registrations == written {
            continue;
        }
        let kept: Vec<_> = known.iter().map(kept).collect();
        let (file, content) = (file.clone(), serde_json::json!(kept).to_string());
        let saving = tokio::task::spawn_blocking(move || file.save(content.as_bytes()));
        match saving.await {
            Ok(Ok(())) => written = registrations,
            Ok(Err(error)) => tracing::warn!(%error, "the known peers were not written down"),
            Err(error) => tracing::warn!(%error, "the known peers were not written down"),
        }
    }
}

/// A peer as it is kept: its registration, and when it was seen, in milliseconds.
fn kept(peer: &Peer) -> (i64, &Registration) {
    (peer.last_seen.0, &peer.told.registration)
}

async fn recall(network: &Network, file: &StateFile) {
    let file = file.clone();
    let content = tokio::task::spawn_blocking(move || file.load()).await;
    let content = content.ok().flatten().unwrap_or_else(|| b"[]".to_vec());
    let kept: Vec<(i64, Registration)> = serde_json::from_slice(&content).unwrap_or_default();
    for (seen, registration) in kept {
        if let Ok(told) = registration.check() {
            let last_seen = Timestamp(seen);
            network.registry.restore(Peer { told, last_seen });
        }
    }
}
