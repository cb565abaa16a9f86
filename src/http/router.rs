//! Every route there is, and what each request passes on its way.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Extension, Router};

use super::access::{self, Access};
use super::error::ApiError;
use super::gate::{self, Gate};
use super::origin::{AllowedOrigin, Guard};
use super::traffic::Traffic;
use super::{announce, bao, download, events, files, keep, metrics, network, page};
use super::{peers, status, tus, upload};
use crate::node::Node;
use crate::node::rate_limit::RateLimit;
use crate::node::server::ClientAddress;

/// How the REST interface is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Origins whose pages may use the node, beside its own and loopback.
    pub allowed_origins: Vec<AllowedOrigin>,
    /// Whether clients speak TLS with the node.
    pub over_tls: bool,
    /// Whether the node listens on loopback only.
    pub on_loopback: bool,
    /// Who may do what.
    pub access: Access,
    /// How many requests a second are taken from one address on the routes of peers.
    pub peer_rate: Option<NonZeroU32>,
}

/// The REST interface of a node.
pub fn router(node: Arc<Node>, options: Options) -> Router {
    let guard = Guard {
        base_url: node.base_url().clone(),
        allowed: options.allowed_origins,
        over_tls: options.over_tls,
        on_loopback: options.on_loopback,
    };
    let traffic = Arc::new(Traffic::new(TEMPLATES.map(str::to_owned)));
    let gate = Gate::new(
        Arc::clone(&node),
        guard,
        options.access,
        Arc::clone(&traffic),
    );
    for_clients()
        .merge(events::route(Arc::clone(&node)))
        .merge(page::routes())
        .merge(for_operators(traffic))
        .merge(for_peers(options.peer_rate))
        .fallback(|| async { ApiError::UnknownPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(from_fn_with_state(Arc::new(gate), gate::pass))
        .with_state(node)
}

/// The path templates of all routes, under which requests are counted.
const TEMPLATES: [&str; 21] = [
    "/api/p2p/upload",
    tus::PATH,
    "/api/p2p/tus/",
    "/api/p2p/tus/{id}",
    "/api/p2p/download/{peer}/{file}",
    "/api/p2p/file/{id}",
    "/api/p2p/blob/{hash}",
    "/api/p2p/blob/{hash}/bao",
    "/api/p2p/keep",
    "/api/p2p/keep/{id}",
    "/api/p2p/files",
    "/api/p2p/status",
    "/api/events",
    "/",
    "/page/{*name}",
    "/health",
    "/ready",
    "/metrics",
    access::PEERS,
    access::ANNOUNCE,
    "/api/p2p/network",
];

/// The routes of clients.
fn for_clients() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/p2p/upload", post(upload::upload))
        .route(tus::PATH, any(tus::uploads))
        // As many clients are told to write it.
        .route("/api/p2p/tus/", any(tus::uploads))
        .route("/api/p2p/tus/{id}", any(tus::upload))
        .route("/api/p2p/download/{peer}/{file}", get(download::from_peer))
        .route(
            "/api/p2p/file/{id}",
            get(download::by_id).delete(files::remove),
        )
        .route("/api/p2p/blob/{hash}", get(download::by_hash))
        .route("/api/p2p/blob/{hash}/bao", get(bao::encoded))
        .route("/api/p2p/keep", get(keep::list).post(keep::keep))
        .route(
            "/api/p2p/keep/{id}",
            get(keep::progress).delete(keep::forget),
        )
        .route("/api/p2p/files", get(files::list))
        .route("/api/p2p/status", get(status::status))
}

/// The routes of whoever watches over the node.
fn for_operators(traffic: Arc<Traffic>) -> Router<Arc<Node>> {
    Router::new()
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/metrics", get(metrics::metrics))
        .route_layer(Extension(traffic))
}

/// The routes of peers, and of whoever asks for what they told. They need no token, since
/// what peers tell is signed; so each address has a limit.
fn for_peers(rate: Option<NonZeroU32>) -> Router<Arc<Node>> {
    Router::new()
        .route(access::PEERS, get(peers::list).post(peers::introduce))
        .route(access::ANNOUNCE, post(announce::announce))
        .route("/api/p2p/network", get(network::list))
        .route_layer(from_fn_with_state(
            Arc::new(RateLimit::new(rate)),
            limit_rate,
        ))
}

async fn limit_rate(
    State(limit): State<Arc<RateLimit>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(ClientAddress(client)) = request.extensions().get() {
        limit
            .take(client.ip(), Instant::now())
            .map_err(ApiError::TooOften)?;
    }
    Ok(next.run(request).await)
}
