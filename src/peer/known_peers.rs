//! The peers that are known, written down for the next start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::network::{Network, Written};
use super::registration::Registration;
use super::registry::Peer;
use crate::peer_rows::{PeerRow, PeerRows};
use crate::record::Timestamp;
use crate::small_state::{SmallState, StateError, StateName};

/// They are written down under this name.
pub const PEERS: StateName = StateName::Single {
    name: "known-peers",
    kind: "larder-peers 1",
};

/// How long after they could not be read that is tried again.
const RECALL_AGAIN: Duration = Duration::from_secs(1);
/// How often several nodes tell each other of those that still answer.
const TELL_AGAIN: Duration = Duration::from_mins(5);
/// How often one node writes down anew when they were seen: whoever is forgotten after an hour's
/// silence is not to seem silent for much longer than it was.
const WRITE_AGAIN: Duration = Duration::from_mins(10);
/// The most that several nodes remember together: more than one may know.
const MAX_TOGETHER: usize = 4096;

/// Where the known peers are written down.
#[derive(Clone)]
pub enum KnownPeers {
    /// By this node alone.
    Own(Arc<dyn SmallState>),
    /// By all nodes that are this one peer together.
    Shared(Arc<dyn PeerRows>),
}

impl KnownPeers {
    async fn save(&self, network: &Network, known: &[Peer]) -> Result<(), StateError> {
        let rows = match self {
            Self::Own(state) => {
                let kept: Vec<_> = known.iter().map(kept).collect();
                let content = serde_json::json!(kept).to_string().into_bytes();
                return state.save(&PEERS, content).await;
            }
            Self::Shared(rows) => rows,
        };
        let now = Timestamp::now();
        let known = known.iter().map(|peer| row(peer, now));
        let (known, forgotten) = (known.collect::<Vec<_>>(), network.registry.forget_after());
        Ok(rows.save(&known, forgotten, MAX_TOGETHER).await?)
    }

    /// Each registration, and when that peer was seen.
    async fn load(&self) -> Result<Vec<(i64, Registration)>, StateError> {
        let rows = match self {
            Self::Own(state) => {
                let content = state.load(&PEERS).await?;
                let content = content.unwrap_or_else(|| b"[]".to_vec());
                return Ok(serde_json::from_slice(&content).unwrap_or_default());
            }
            Self::Shared(rows) => rows.load().await?,
        };
        let now = Timestamp::now();
        let known = rows.into_iter().filter_map(|row| {
            let registration = serde_json::from_slice(&row.registration).ok()?;
            let age = i64::try_from(row.age.as_millis()).unwrap_or(i64::MAX);
            Some((now.0.saturating_sub(age), registration))
        });
        Ok(known.collect())
    }

    /// Whether those written down are to be again, though they are the same: when they were seen
    /// is written with them.
    fn is_due(&self, before: &Written) -> bool {
        match self {
            Self::Own(_) => before.at.is_some_and(|it| it.elapsed() >= WRITE_AGAIN),
            Self::Shared(_) => before.at.is_none_or(|it| it.elapsed() >= TELL_AGAIN),
        }
    }
}

/// What several nodes know of a peer.
pub(super) fn row(peer: &Peer, now: Timestamp) -> PeerRow {
    PeerRow {
        id: peer.id(),
        age: age(now, peer.last_seen),
        registration: serde_json::json!(peer.told.registration)
            .to_string()
            .into_bytes(),
    }
}

fn age(now: Timestamp, seen: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.0.saturating_sub(seen.0)).unwrap_or(0))
}

/// Writes down those that have answered, where they are others than those written down, or
/// elsewhere.
pub async fn write_down(network: &Network, to: &KnownPeers) {
    let mut written = network.written.lock().await;
    let Some(before) = &*written else {
        return;
    };
    if network.registry.are_proven(&before.places) && !to.is_due(before) {
        return;
    }
    let known = network.registry.proven();
    match to.save(network, &known).await {
        Ok(()) => {
            let places = known.iter().map(|peer| (peer.id(), peer.address().clone()));
            let places = places.collect();
            let at = Some(Instant::now());
            *written = Some(Written { places, at });
        }
        Err(error) => tracing::warn!(%error, "the known peers were not written down"),
    }
}

/// A peer as it is kept: its registration, and when it was seen, in milliseconds.
fn kept(peer: &Peer) -> (i64, &Registration) {
    (peer.last_seen.0, &peer.told.registration)
}

/// Knows again the peers that were known before; waits until that can be read.
pub async fn recall(network: &Network, from: &KnownPeers) {
    let kept = loop {
        match from.load().await {
            Ok(kept) => break kept,
            // Nothing may be written there before it was read.
            Err(error) => {
                tracing::warn!(%error, "the peers known before cannot be read yet");
                tokio::time::sleep(RECALL_AGAIN).await;
            }
        }
    };
    for (seen, registration) in kept {
        if let Ok(told) = registration.check_again()
            && network.client.reach().may_ask(&told.address)
            && network.client.reach().may_know(&told)
        {
            network.registry.restore(told, Timestamp(seen));
        }
    }
    *network.written.lock().await = Some(Written {
        places: Vec::new(),
        at: None,
    });
}
