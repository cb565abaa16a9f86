//! `/api/peers`: the peers this node knows, and itself; a peer may introduce itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::body::RequestBody;
use super::error::ApiError;
use crate::node::Node;
use crate::peer::registration::{MAX_BYTES, Registration};
use crate::peer::registry::Peer;

/// A peer as the REST contract shows it, with its signature to be passed along.
#[derive(Serialize, ToSchema)]
pub(super) struct PeerView {
    #[serde(flatten)]
    registration: Registration,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    verified: bool,
}

impl PeerView {
    /// The node itself, now.
    pub(super) fn of_self(node: &Node) -> Self {
        Self {
            registration: node.network().myself(),
            last_seen: None,
            verified: true,
        }
    }

    fn of(peer: Peer) -> Self {
        Self {
            last_seen: Some(peer.last_seen.to_string()),
            verified: peer.verified(),
            registration: peer.told.registration,
        }
    }
}

/// The answer of `GET /api/peers`.
#[derive(Serialize, ToSchema)]
pub(super) struct PeersAnswer {
    status: &'static str,
    peer_count: usize,
    peers: Vec<PeerView>,
    #[serde(rename = "self")]
    this: PeerView,
}

/// `GET /api/peers`
pub(super) async fn list(State(node): State<Arc<Node>>) -> Json<PeersAnswer> {
    let peers = node.network().registry.all();
    let peers: Vec<_> = peers.into_iter().map(PeerView::of).collect();
    Json(PeersAnswer {
        status: "success",
        peer_count: peers.len(),
        peers,
        this: PeerView::of_self(&node),
    })
}

/// `POST /api/peers`: takes a peer in, and tells it whom this node knows.
pub(super) async fn introduce(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<PeersAnswer>, ApiError> {
    let body = RequestBody::of_json(request, MAX_BYTES as u64)?
        .read_all()
        .await?;
    let registration = serde_json::from_slice::<Registration>(&body);
    let registration = registration.map_err(|e| ApiError::Registration(e.to_string()))?;
    let met = node.network().meet(registration);
    met.map_err(|e| ApiError::Registration(e.to_string()))?;
    Ok(list(State(node)).await)
}
