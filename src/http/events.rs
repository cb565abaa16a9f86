//! `GET /api/events`: what has changed, told as it happens, as server-sent events (HTML
//! Living Standard, section 9.2).

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::Stream;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};

use super::gate::Share;
use super::status::StatusAnswer;
use crate::blob::DamageCounts;
use crate::client_key::ClientKey;
use crate::index::Totals;
use crate::node::Node;
use crate::web::error::ApiError;

/// How often a stream looks for changes; many within this time are told as one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most streams at once; each takes some 20 KiB of memory with its connection.
const MAX_STREAMS: usize = 1024;
/// The most streams of one client.
const MAX_OF_ONE: usize = MAX_STREAMS / 8;

/// What a stream has told so far; None of what it has not told yet.
#[derive(Default)]
struct Told {
    files: Option<(u64, Totals, DamageCounts)>,
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
    place: Place,
}

#[derive(Clone)]
struct Streams {
    node: Arc<Node>,
    places: Arc<Places>,
}

/// Who listens, the longest first.
#[derive(Default)]
struct Places(Mutex<VecDeque<Taken>>);

struct Taken {
    client: Option<ClientKey>,
    gone: Arc<Notify>,
}

/// A place that is given back on drop.
struct Place {
    places: Arc<Places>,
    gone: Arc<Notify>,
}

impl Places {
    /// A place for a stream; where none is left, the longest of whoever has the most ends, whose
    /// client connects again when it still listens.
    fn take(self: &Arc<Self>, client: Option<ClientKey>) -> Option<Place> {
        let mut taken = self.0.lock();
        let mut held: HashMap<&Option<ClientKey>, usize> = HashMap::new();
        for it in &*taken {
            *held.entry(&it.client).or_default() += 1;
        }
        if client.is_some() && held.get(&client).copied().unwrap_or(0) >= MAX_OF_ONE {
            return None;
        }
        if taken.len() >= MAX_STREAMS {
            let most = held.into_iter().max_by_key(|(_, held)| *held);
            let most = most.map(|(client, _)| client.clone());
            let longest = taken
                .iter()
                .position(|it| Some(&it.client) == most.as_ref());
            if let Some(ended) = longest.and_then(|at| taken.remove(at)) {
                ended.gone.notify_one();
            }
        }
        let gone = Arc::<Notify>::default();
        taken.push_back(Taken {
            client,
            gone: Arc::clone(&gone),
        });
        let places = Arc::clone(self);
        Some(Place { places, gone })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        taken.retain(|it| !Arc::ptr_eq(&it.gone, &self.gone));
    }
}

/// The route of the events of `node`.
pub(super) fn route<S: Clone + Send + Sync + 'static>(node: Arc<Node>) -> Router<S> {
    let places = Arc::default();
    Router::new()
        .route("/api/events", get(events))
        .with_state(Streams { node, places })
}

/// Tells everything once, and from then on what has changed.
async fn events(
    State(streams): State<Streams>,
    share: Option<Extension<Share>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let client = share.and_then(|Extension(Share(client))| client);
    let place = streams.places.take(client);
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        node: streams.node,
        told: Told::default(),
        looks,
        place: place.ok_or(ApiError::TooManyStreams)?,
    };
    let events = stream::unfold(listener, Listener::next).flat_map(stream::iter);
    Ok(Sse::new(events.map(Ok)).keep_alive(KeepAlive::default()))
}

impl Listener {
    /// What the next look finds; None when the node stops, which would wait for the stream, or
    /// when another one has its place.
    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        tokio::select! {
            _ = self.looks.tick() => {}
            () = self.place.gone.notified() => return None,
        }
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
        let files = (store.changes(), store.totals(), store.damage());
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
