//! Telling every known peer of what changed here, in the background.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::StatusCode;
use serde::de::IgnoredAny;

use super::announcement::Announcement;
use super::client::ClientError;
use super::network::{Network, Outgoing};
use super::registry::Peer;

/// How many announcements are under way at once.
const AT_ONCE: usize = 32;
/// The pauses before each new try. Whoever misses all of them asks later.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Sends what waits to all who are known at that moment, for ever.
pub async fn announce_all(network: Arc<Network>, waiting: Outgoing) {
    let waiting = stream::unfold(waiting, async |mut waiting: Outgoing| {
        let announcement = waiting.recv().await?;
        Some((announcement, waiting))
    });
    let network = &network;
    let sendings = waiting.flat_map(|announcement| {
        let peers = network.registry.all().into_iter();
        stream::iter(peers.map(move |peer| (peer, Arc::clone(&announcement))))
    });
    let send = |(peer, announcement)| send(network, peer, announcement);
    sendings.for_each_concurrent(AT_ONCE, send).await;
}

async fn send(network: &Network, peer: Peer, announcement: Arc<Announcement>) {
    let mut pauses = PAUSES.iter();
    loop {
        let sent = network
            .client
            .post(peer.address(), "/api/p2p/announce", &*announcement);
        let sent: Result<IgnoredAny, ClientError> = sent.await;
        let error = match sent {
            Ok(_) => return network.registry.saw(peer.id()),
            // It is there and has enough for now. A new try would only keep others waiting.
            Err(ClientError::Status(StatusCode::TOO_MANY_REQUESTS)) => {
                network.registry.saw(peer.id());
                return tracing::debug!(peer = %peer.id(), "takes no more announcements");
            }
            Err(error) => error,
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return tracing::debug!(peer = %peer.id(), %error, "not announced"),
        }
    }
}
