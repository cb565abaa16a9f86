//! `GET /api/peers`: the peers this node knows, and itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::node::Node;
use crate::record::Timestamp;

/// A peer as the REST contract shows it.
#[derive(Serialize)]
pub(super) struct PeerView {
    peer_id: String,
    address: String,
    timestamp: String,
}

impl PeerView {
    /// The node itself, now.
    pub(super) fn of_self(node: &Node) -> Self {
        Self {
            peer_id: node.peer_id().to_string(),
            address: node.base_url().to_string(),
            timestamp: Timestamp::now().to_string(),
        }
    }
}

/// The answer of `GET /api/peers`.
#[derive(Serialize)]
pub(super) struct PeersAnswer {
    status: &'static str,
    peer_count: usize,
    peers: Vec<PeerView>,
    #[serde(rename = "self")]
    this: PeerView,
}

/// Lists the known peers.
pub(super) async fn list(State(node): State<Arc<Node>>) -> Json<PeersAnswer> {
    let peers = known();
    Json(PeersAnswer {
        status: "success",
        peer_count: peers.len(),
        peers,
        this: PeerView::of_self(&node),
    })
}

/// Every peer this node knows. It does not look for any yet.
pub(super) fn known() -> Vec<PeerView> {
    Vec::new()
}
