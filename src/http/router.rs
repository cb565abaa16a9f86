//! The REST interface, put together.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;

use super::app::{App, Parts};
use super::events::Streams;
use super::gate::{self, Gate};
use super::openapi::Document;
use super::routes::Table;
use crate::access::CurrentAccess;
use crate::node::Node;
use crate::web::error::ApiError;
use crate::web::origin::{AllowedOrigin, Guard};
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
    pub access: CurrentAccess,
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
    let routes = Table::new();
    let traffic = Arc::new(Traffic::new(routes.templates().map(str::to_owned)));
    let access = options.access;
    let gate = Gate::new(
        Arc::clone(&node),
        guard,
        access.clone(),
        routes.rules(),
        Arc::clone(&traffic),
    );
    let app = Parts {
        streams: Streams::new(Arc::clone(&node), access.clone()),
        access,
        traffic,
        document: Document::of(|| Table::new().described()),
        node,
    };
    routes
        .router(options.peer_rate)
        .fallback(|| async { ApiError::UnknownPath })
        .method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
        .layer(from_fn_with_state(Arc::new(gate), gate::pass))
        .with_state(App::from(app))
}
