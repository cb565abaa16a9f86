//! `GET /api/events`: what has changed, told as it happens, as server-sent events (HTML
//! Living Standard, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};

use super::error::ApiError;
use super::status::StatusAnswer;
use crate::index::Totals;
use crate::node::Node;

/// How often a stream looks for changes; many within this time are told as one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most streams at once.
const MAX_STREAMS: usize = 64;

/// What a stream has told so far; None of what it has not told yet.
#[derive(Default)]
struct Told {
    files: Option<(u64, Totals)>,
    network: Option<u64>,
    peers: Option<u64>,
    keeps: Option<u64>,
    reachable: Option<bool>,
}

/// One client that listens.
struct Listener {
    node: Arc<Node>,
    told: Told,
    looks: Interval,
    _place: OwnedSemaphorePermit,
}

#[derive(Clone)]
struct Streams {
    node: Arc<Node>,
    places: Arc<Semaphore>,
}

/// The route of the events of `node`.
pub(super) fn route<S: Clone + Send + Sync + 'static>(node: Arc<Node>) -> Router<S> {
    let places = Arc::new(Semaphore::new(MAX_STREAMS));
    Router::new()
        .route("/api/events", get(events))
        .with_state(Streams { node, places })
}

/// Tells everything once, and from then on what has changed.
async fn events(
    State(streams): State<Streams>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let place = streams.places.try_acquire_owned();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        node: streams.node,
        told: Told::default(),
        looks,
        _place: place.map_err(|_| ApiError::TooManyStreams)?,
    };
    let events = stream::unfold(listener, Listener::next).flat_map(stream::iter);
    Ok(Sse::new(events.map(Ok)).keep_alive(KeepAlive::default()))
}

impl Listener {
    /// What the next look finds; None when the node stops, which would wait for the stream.
    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        self.looks.tick().await;
        (!self.node.is_shutting_down()).then(|| (self.look(), self))
    }

    fn look(&mut self) -> Vec<Event> {
        let Self { node, told, .. } = self;
        let (store, network) = (node.store(), node.network());
        let mut events = Vec::new();
        let mut tell = |name, changed| {
            if changed {
                events.push(Event::default().event(name).data("{}"));
            }
        };
        let files = (store.changes(), store.totals());
        let stored = told.files.replace(files) != Some(files);
        tell("files", stored);
        let others = network.directory.changes();
        tell("network", told.network.replace(others) != Some(others));
        let peers = network.registry.fingerprint();
        tell("peers", told.peers.replace(peers) != Some(peers));
        let keeps = node.keeper().fingerprint();
        tell("keep", told.keeps.replace(keeps) != Some(keeps));
        let reachable = network.reachability.get(Instant::now());
        let reached = std::mem::replace(&mut told.reachable, reachable) != reachable;
        if stored || reached {
            let status = Event::default().event("storage");
            events.extend(status.json_data(StatusAnswer::of(node)));
        }
        events
    }
}
