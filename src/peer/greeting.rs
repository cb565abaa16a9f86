//! Introducing this node to bootstrap servers and peers, and saying goodbye to them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::client::{ClientError, Json, MAX_JSON_BYTES};
use super::elements::Elements;
use super::introductions::Introductions;
use super::network::Network;
use super::registration::{MAX_BYTES, Registration};
use crate::base_url::BaseUrl;

/// How many peers a bootstrap server is asked for, and how many of a list are looked at.
pub(super) const SAMPLE: usize = 256;
/// How many it is asked for by a node that knows as many others which compare whom they know, and
/// how many a peer is that the operator has named.
const FEW: usize = 16;
/// The longest acknowledgement read, in bytes.
const MAX_ACKNOWLEDGEMENT: usize = 64 << 10;
/// Where peers introduce themselves.
const PEERS: &str = "/api/peers";
/// How many peers are asked at a time whether they reach this node.
const GREETED: usize = 3;
/// How many peers hear a goodbye at once.
const FAREWELLS: usize = 64;
/// How long all goodbyes together may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// From where on two clocks differ too far, in milliseconds: an hour. Registrations that are a
/// day ahead are refused.
const CLOCKS_DIFFER: i64 = 60 * 60 * 1000;

/// Whom a bootstrap server or a peer knows.
#[derive(Default)]
pub(super) struct Acquaintances {
    /// The peer itself; servers are none.
    pub(super) teller: Option<Registration>,
    pub(super) peers: Vec<Registration>,
}

impl From<Introductions<'_>> for Acquaintances {
    fn from(introductions: Introductions<'_>) -> Self {
        Self {
            teller: introductions.teller(),
            peers: introductions.registrations(),
        }
    }
}

/// What a bootstrap server answers to a registration; an older one tells of peers only when it is
/// asked for them.
#[derive(Deserialize)]
struct Registered<'a> {
    #[serde(borrow, default)]
    also_at: Option<&'a RawValue>,
    #[serde(borrow, default)]
    peers: Option<Elements<'a>>,
}

/// Introduces this node to a bootstrap server, and asks whom it knows.
pub(super) async fn ask_bootstrap(
    network: &Network,
    server: &BaseUrl,
) -> Result<Acquaintances, ClientError> {
    // Whoever knows some hears of all others by comparing with them.
    let limit = if knows_some(network) { FEW } else { SAMPLE };
    let wanted = Some(limit);
    let answer = register(network, server, ("/register", wanted), MAX_JSON_BYTES).await?;
    let registered = answer.read::<Registered<'_>>()?;
    if let Some(also_at) = registered.also_at {
        let also_at = serde_json::from_str(also_at.get()).ok();
        network.hear_of_own_key(also_at, server);
    }
    if let Some(peers) = registered.peers {
        return Ok(Acquaintances {
            teller: None,
            peers: peers.read(MAX_BYTES).collect(),
        });
    }
    let path = format!("/peers?limit={limit}");
    let answer = network.client.get(server, &path, MAX_JSON_BYTES).await?;
    Ok(answer.read::<Introductions>()?.into())
}

/// Whether this node knows so many to compare with that it need not ask one for many others.
fn knows_some(network: &Network) -> bool {
    network.registry.partners().len() >= FEW
}

/// Introduces this node to a peer, which tells whom it knows. An older one only tells; one
/// that was asked too often is asked later. A private node does not tell who it is.
pub(super) async fn ask_peer(
    network: &Network,
    peer: &BaseUrl,
    every: Duration,
) -> Result<Acquaintances, ClientError> {
    let client = &network.client;
    if !client.reach().tells() {
        let answer = client.get(peer, PEERS, MAX_JSON_BYTES).await?;
        return Ok(answer.read::<Introductions>()?.into());
    }
    let path = if knows_some(network) {
        format!("{PEERS}?limit={FEW}")
    } else {
        PEERS.to_owned()
    };
    let answer = match register(network, peer, (&path, None), MAX_JSON_BYTES).await {
        Err(ClientError::Status(status, _)) if status != StatusCode::TOO_MANY_REQUESTS => {
            client.get(peer, PEERS, MAX_JSON_BYTES).await?
        }
        answer => answer?,
    };
    let introductions = answer.read::<Introductions>()?;
    network.note_reached(peer, &introductions, every);
    network.hear_of_own_key(introductions.also_at(), peer);
    Ok(introductions.into())
}

/// Tells of this node at a path of another, and perhaps how many peers the answer shall have.
/// Where the two clocks differ, that is logged, since nobody sees then why the node is not taken.
async fn register(
    network: &Network,
    other: &BaseUrl,
    (path, wanted): (&str, Option<usize>),
    max_bytes: usize,
) -> Result<Json, ClientError> {
    let myself = network.myself();
    let sent = network
        .client
        .post_and_compare_clocks(other, path, (&myself, wanted), max_bytes);
    let (ahead, answer) = sent.await;
    let differ = ahead.filter(|ahead| ahead.saturating_abs() > CLOCKS_DIFFER);
    if let Some(ahead) = differ
        && network.clocks_differ(other)
    {
        let refused = matches!(answer, Err(ClientError::Status(StatusCode::BAD_REQUEST, _)));
        let seconds_ahead = ahead / 1000;
        tracing::warn!(
            %other, seconds_ahead, refused,
            "the clock of this machine and the other's differ: set the wrong one, since \
             registrations with a time that has not come are refused"
        );
    }
    answer
}

/// Tells a peer where this node is, and hears whether it reaches it there, and who it is.
pub(super) async fn greet(
    network: &Network,
    peer: &BaseUrl,
    every: Duration,
) -> Result<Option<Registration>, ClientError> {
    let path = format!("{PEERS}?limit=0");
    let answer = register(network, peer, (&path, None), MAX_ACKNOWLEDGEMENT).await?;
    let introductions = answer.read::<Introductions>()?;
    network.note_reached(peer, &introductions, every);
    network.hear_of_own_key(introductions.also_at(), peer);
    Ok(introductions.teller())
}

/// Asks a few peers that answer whether they reach this node, where nobody has told lately
/// that he does.
pub(super) async fn ask_whether_reached(network: &Network, every: Duration) {
    let known = network.reachability.get(std::time::Instant::now());
    if known == Some(true) || network.is_leaving() || !network.client.reach().tells() {
        return;
    }
    let peers = network.registry.some_answering(GREETED).into_iter();
    let asked = stream::iter(peers).map(async |peer| greet(network, peer.address(), every).await);
    let asked = asked.buffer_unordered(GREETED);
    asked
        .for_each(async |asked| {
            if let Err(error) = asked {
                tracing::debug!(%error, "a peer does not tell whether it reaches this node");
            }
        })
        .await;
}

/// Says goodbye to the peers that answer and to the bootstrap servers, so that nobody asks this
/// node in vain. Takes at most a second; who does not hear it finds out by asking. A node that is
/// one peer with others goes without a word, since the peer stays.
pub async fn say_goodbye(network: Arc<Network>, servers: Vec<BaseUrl>) {
    let goodbye = network.leave();
    if network.is_of_fleet() || !network.client.reach().tells() {
        return;
    }
    let peers = network.registry.some_answering(usize::MAX).into_iter();
    let peers = peers.map(|peer| (peer.address().clone(), format!("{PEERS}?limit=0")));
    let servers = servers.into_iter().map(|it| (it, "/register".to_owned()));
    let all: Vec<_> = servers.chain(peers).collect();
    let told = stream::iter(all).map(|(address, path)| tell(&network, address, path, &goodbye));
    let told = told.buffer_unordered(FAREWELLS).collect::<()>();
    if timeout(FAREWELL, told).await.is_err() {
        tracing::debug!("not everybody has heard the goodbye");
    }
}

/// Says goodbye to one; older nodes refuse it.
async fn tell(network: &Network, address: BaseUrl, path: String, goodbye: &Registration) {
    let client = &network.client;
    let told = client.post(&address, &path, goodbye, MAX_ACKNOWLEDGEMENT);
    if let Err(error) = told.await {
        tracing::debug!(%address, %error, "does not hear the goodbye");
    }
}
