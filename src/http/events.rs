//! `GET /api/events`: what has changed, told as it happens, as server-sent events (HTML
//! Living Standard, section 9.2).

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use super::gate::ClientShare;
use super::status::StatusAnswer;
use crate::client_key::ClientKey;
use crate::index::Totals;
use crate::node::Node;
use crate::store::DamageCounts;
use crate::web::error::ApiError;

/// How often is looked for changes; many within this time are told as one.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The most streams at once; each takes some 20 KiB of memory with its connection.
const MAX_STREAMS: usize = 1024;
/// The most streams of one client.
const MAX_OF_ONE: usize = MAX_STREAMS / 8;

/// Has nginx, and others that took this over from it, pass each event on as it comes.
const UNBUFFERED: (&str, &str) = ("x-accel-buffering", "no");

/// What streams tell the changes of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    files: (u64, Totals, DamageCounts),
    network: u64,
    peers: u64,
    keeps: u64,
    reachable: Option<bool>,
    /// The node stops, which would wait for the streams.
    stopping: bool,
}

/// Looks for changes on behalf of all streams, while there are any.
struct Watcher {
    node: Arc<Node>,
    seen: watch::Sender<Seen>,
    is_looking: Mutex<bool>,
}

/// One client that listens.
struct Listener {
    node: Arc<Node>,
    /// None before the first time.
    told: Option<Seen>,
    seen: watch::Receiver<Seen>,
    place: Place,
}

/// Those who listen, and who looks for them.
#[derive(Clone)]
pub(super) struct Streams {
    watcher: Arc<Watcher>,
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

impl Seen {
    fn now(node: &Node) -> Self {
        let (store, network) = (node.store(), node.network());
        Self {
            files: (store.changes(), store.totals(), store.damage()),
            network: network.directory.changes(),
            peers: network.registry.fingerprint(),
            keeps: node.keeper().fingerprint(),
            reachable: network.reachability.get(Instant::now()),
            stopping: node.is_shutting_down(),
        }
    }
}

impl Watcher {
    fn listen(self: &Arc<Self>) -> watch::Receiver<Seen> {
        let mut is_looking = self.is_looking.lock();
        let seen = self.seen.subscribe();
        if !std::mem::replace(&mut *is_looking, true) {
            tokio::spawn(Arc::clone(self).look());
        }
        seen
    }

    async fn look(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let mut is_looking = self.is_looking.lock();
            if self.seen.receiver_count() == 0 {
                *is_looking = false;
                return;
            }
            drop(is_looking);
            let now = Seen::now(&self.node);
            self.seen
                .send_if_modified(|seen| std::mem::replace(seen, now) != now);
        }
    }
}

impl Streams {
    /// Of the changes of `node`.
    pub(super) fn new(node: Arc<Node>) -> Self {
        let watcher = Watcher {
            seen: watch::Sender::new(Seen::now(&node)),
            node,
            is_looking: Mutex::default(),
        };
        Self {
            watcher: Arc::new(watcher),
            places: Arc::default(),
        }
    }
}

/// Tells everything once, and from then on what has changed.
pub(super) async fn events(
    State(streams): State<Streams>,
    share: Option<Extension<ClientShare>>,
) -> Result<impl IntoResponse, ApiError> {
    let client = share.and_then(|Extension(ClientShare(client))| client);
    let place = streams.places.take(client);
    let place = place.ok_or(ApiError::TooManyStreams)?;
    let listener = Listener {
        node: Arc::clone(&streams.watcher.node),
        told: None,
        seen: streams.watcher.listen(),
        place,
    };
    let events = stream::unfold(listener, Listener::next).flat_map(stream::iter);
    let events = events.map(Ok::<_, Infallible>);
    let events = Sse::new(events).keep_alive(KeepAlive::default());
    Ok(([UNBUFFERED], events))
}

impl Listener {
    /// What has changed since the last time; None when the node stops, or when another one
    /// has the place.
    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        let now = if self.told.is_none() {
            Seen::now(&self.node)
        } else {
            tokio::select! {
                changed = self.seen.changed() => changed.ok()?,
                () = self.place.gone.notified() => return None,
            }
            *self.seen.borrow_and_update()
        };
        (!now.stopping).then(|| (self.tell(now), self))
    }

    fn tell(&mut self, now: Seen) -> Vec<Event> {
        let told = self.told.replace(now);
        let differs = |of: fn(&Seen) -> u64| told.as_ref().map(of) != Some(of(&now));
        let mut events = Vec::new();
        let mut tell = |name, changed| {
            if changed {
                events.push(Event::default().event(name).data("{}"));
            }
        };
        let stored = told.map(|it| it.files) != Some(now.files);
        tell("files", stored);
        tell("network", differs(|it| it.network));
        tell("peers", differs(|it| it.peers));
        tell("keep", differs(|it| it.keeps));
        let reached = told.and_then(|it| it.reachable) != now.reachable;
        if stored || reached {
            let status = Event::default().event("storage");
            events.extend(status.json_data(StatusAnswer::of(&self.node)));
        }
        events
    }
}
