//! Every route there is, and what each request passes on its way.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, get, head, post};
use axum::{Extension, Router};

use super::access;
use super::gate::{self, Gate};
use super::{announce, bao, download, events, files, keep, metrics, network, openapi};
use super::{page, peers, status, tus, upload};
use crate::access::Access;
use crate::node::Node;
use crate::web::clients::ClientAddress;
use crate::web::error::ApiError;
use crate::web::origin::{AllowedOrigin, Guard};
use crate::web::rate_limit::RateLimit;
use crate::web::traffic::Traffic;

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
    let access = Arc::new(options.access);
    let gate = Gate::new(
        Arc::clone(&node),
        guard,
        Arc::clone(&access),
        Arc::clone(&traffic),
    );
    for_clients()
        .merge(events::route(Arc::clone(&node)))
        .merge(page::routes())
        .merge(openapi::routes(node.base_url()))
        .merge(for_operators(traffic, access))
        .merge(for_peers(options.peer_rate))
        .fallback(|| async { ApiError::UnknownPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(from_fn_with_state(Arc::new(gate), gate::pass))
        .with_state(node)
}

/// The path templates of all routes, under which requests are counted.
const TEMPLATES: [&str; 23] = [
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
    access::DOCUMENT,
    access::DOCUMENT_PAGE,
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
        .route(tus::PATH, tus_uploads())
        // As many clients are told to write it.
        .route("/api/p2p/tus/", tus_uploads())
        .route(
            "/api/p2p/tus/{id}",
            head(tus::upload)
                // Which means another method then.
                .post(tus::upload)
                .patch(tus::upload)
                .delete(tus::upload)
                .options(tus::upload)
                .fallback(tus::wrong_method),
        )
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

fn tus_uploads() -> MethodRouter<Arc<Node>> {
    post(tus::uploads)
        .options(tus::uploads)
        .fallback(tus::wrong_method)
}

/// The routes of whoever watches over the node.
fn for_operators(traffic: Arc<Traffic>, access: Arc<Access>) -> Router<Arc<Node>> {
    Router::new()
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/metrics", get(metrics::metrics))
        .route_layer(Extension(traffic))
        .route_layer(Extension(access))
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
    if let Some(ClientAddress { ip, .. }) = request.extensions().get() {
        limit
            .take(*ip, Instant::now())
            .map_err(ApiError::TooOften)?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the document leaves out: the page for people, and a second spelling.
    const APART: [&str; 3] = ["/", "/page/{*name}", "/api/p2p/tus/"];

    #[test]
    fn every_route_is_in_the_document_and_the_other_way_round() {
        let document = openapi::document(&"http://localhost".parse().unwrap());
        let described = document.paths.paths.keys().map(String::as_str);
        let described: BTreeSet<_> = described.chain(APART).collect();
        assert_eq!(BTreeSet::from(TEMPLATES), described);
        // A router shows its paths in no other way.
        let shown = format!(
            "{:?} {:?} {:?}",
            for_clients(),
            for_operators(Arc::new(Traffic::new([])), Arc::default()),
            for_peers(None),
        );
        // Two of them are its own, for what no route takes.
        let own = ["/", "/{*__private__axum_fallback}"];
        let paths = shown.split('"').filter(|it| it.starts_with('/'));
        let routed: BTreeSet<_> = paths.filter(|it| !own.contains(it)).collect();
        let elsewhere = [
            "/",
            "/page/{*name}",
            "/api/events",
            access::DOCUMENT,
            access::DOCUMENT_PAGE,
        ];
        let listed = TEMPLATES.into_iter().filter(|it| !elsewhere.contains(it));
        assert_eq!(routed, listed.collect());
    }
}
