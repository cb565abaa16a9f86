//! The peers that are known, written down for the next start.

use std::time::Duration;

use super::network::Network;
use super::registration::Registration;
use super::registry::Peer;
use crate::record::Timestamp;
use crate::small_state::{SmallState, StateName};

/// They are written down under this name.
pub const PEERS: StateName = StateName::Single {
    name: "known-peers",
    kind: "larder-peers 1",
};

/// How long after they could not be read that is tried again.
const RECALL_AGAIN: Duration = Duration::from_secs(1);

/// Writes down those that have answered, where they are others than those written down, or
/// elsewhere.
pub async fn write_down(network: &Network, state: &dyn SmallState) {
    let mut written = network.written.lock().await;
    let Some(before) = &*written else {
        return;
    };
    let known = network.registry.proven();
    let places = known.iter().map(|peer| (peer.id(), peer.address().clone()));
    let places: Vec<_> = places.collect();
    if places == *before {
        return;
    }
    let kept: Vec<_> = known.iter().map(kept).collect();
    let content = serde_json::json!(kept).to_string().into_bytes();
    match state.save(&PEERS, content).await {
        Ok(()) => *written = Some(places),
        Err(error) => tracing::warn!(%error, "the known peers were not written down"),
    }
}

/// A peer as it is kept: its registration, and when it was seen, in milliseconds.
fn kept(peer: &Peer) -> (i64, &Registration) {
    (peer.last_seen.0, &peer.told.registration)
}

/// Knows again the peers that were known before; waits until that can be read.
pub async fn recall(network: &Network, state: &dyn SmallState) {
    let content = loop {
        match state.load(&PEERS).await {
            Ok(content) => break content.unwrap_or_else(|| b"[]".to_vec()),
            // Nothing may be written there before it was read.
            Err(error) => {
                tracing::warn!(%error, "the peers known before cannot be read yet");
                tokio::time::sleep(RECALL_AGAIN).await;
            }
        }
    };
    let kept: Vec<(i64, Registration)> = serde_json::from_slice(&content).unwrap_or_default();
    for (seen, registration) in kept {
        if let Ok(told) = registration.check_again()
            && network.client.reach().may_ask(&told.address)
            && network.client.reach().may_know(&told)
        {
            network.registry.restore(told, Timestamp(seen));
        }
    }
    *network.written.lock().await = Some(Vec::new());
}
