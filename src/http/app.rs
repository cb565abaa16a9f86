//! What the handlers of requests work with.

use std::sync::Arc;

use axum::extract::FromRef;

use super::events::Streams;
use super::openapi::Document;
use crate::access::{Access, CurrentAccess};
use crate::node::Node;
use crate::web::traffic::Traffic;

/// The state of the router. A handler names the part that it touches, as `State<Arc<Node>>`.
#[derive(Clone)]
pub(super) struct App(Arc<Parts>);

pub(super) struct Parts {
    pub node: Arc<Node>,
    pub access: CurrentAccess,
    pub traffic: Arc<Traffic>,
    pub streams: Streams,
    pub document: Document,
}

impl From<Parts> for App {
    fn from(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl FromRef<App> for Arc<Node> {
    fn from_ref(App(parts): &App) -> Self {
        Self::clone(&parts.node)
    }
}

impl FromRef<App> for Arc<Access> {
    fn from_ref(App(parts): &App) -> Self {
        parts.access.now()
    }
}

impl FromRef<App> for Arc<Traffic> {
    fn from_ref(App(parts): &App) -> Self {
        Self::clone(&parts.traffic)
    }
}

impl FromRef<App> for Streams {
    fn from_ref(App(parts): &App) -> Self {
        parts.streams.clone()
    }
}

impl FromRef<App> for Document {
    fn from_ref(App(parts): &App) -> Self {
        parts.document.clone()
    }
}
