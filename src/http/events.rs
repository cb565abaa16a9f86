//! `GET /api/events`: what has changed, told as it happens, as server-sent events (HTML
//! Living Standard, section 9.2).

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::future::select_all;
use futures_util::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::gate::ClientShare;
use super::status::StatusAnswer;
use crate::access::{Access, CurrentAccess};
use crate::client_key::ClientKey;
use crate::node::Node;
use crate::revision::Revision;

/// How long after something was told nothing more is: what changes within this time is told as
/// one change.
const GATHER: Duration = Duration::from_millis(500);
/// How often a stream says that it is there. Whoever has gone does not hear it, and its place is
/// free after the second time.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// The most streams at once; each takes some 20 KiB of memory with its connection.
const MAX_STREAMS: usize = 1024;
/// The most streams of one client.
const MAX_OF_ONE: usize = MAX_STREAMS / 8;

/// Has nginx, and others that took this over from it, pass each event on as it comes.
const UNBUFFERED: (&str, &str) = ("x-accel-buffering", "no");

/// How often each of what streams tell of has changed.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    files: u64,
    network: u64,
    peers: u64,
    keeps: u64,
    reachable: u64,
}

/// What wakes the watcher, in the order of the fields of [`Seen`].
struct Sources([watch::Receiver<u64>; 5]);

/// Waits for changes on behalf of all streams, while there are any.
struct Watcher {
    node: Arc<Node>,
    seen: watch::Sender<Seen>,
    is_waiting: Mutex<bool>,
}

/// One client that listens.
struct Listener {
    node: Arc<Node>,
    /// None before the first time.
    told: Option<Seen>,
    seen: watch::Receiver<Seen>,
    /// Whether the node stops, which would wait for the streams.
    stopping: watch::Receiver<bool>,
    /// Who may listen: whoever still may connects again.
    access: watch::Receiver<Arc<Access>>,
    enrolled: Enrolled,
}

/// Those who listen, and who waits for them.
#[derive(Clone)]
pub(super) struct Streams {
    watcher: Arc<Watcher>,
    access: CurrentAccess,
    roll: Arc<Roll>,
}

/// Who listens, the longest first.
#[derive(Default)]
struct Roll(Mutex<VecDeque<Entry>>);

struct Entry {
    client: Option<ClientKey>,
    gone: Arc<Notify>,
}

/// One on the roll, until this is dropped.
struct Enrolled {
    roll: Arc<Roll>,
    gone: Arc<Notify>,
}

impl Roll {
    /// Takes a stream in. Where its client has as many as one may have, the longest of these ends,
    /// else where there are too many the longest of whoever has the most. Whoever still listens
    /// there connects again.
    fn enrol(self: &Arc<Self>, client: Option<ClientKey>) -> Enrolled {
        let mut entries = self.0.lock();
        let mut held: HashMap<&Option<ClientKey>, usize> = HashMap::new();
        for it in &*entries {
            *held.entry(&it.client).or_default() += 1;
        }
        let own = held.get(&client).copied().unwrap_or(0);
        let gives_way = if client.is_some() && own >= MAX_OF_ONE {
            Some(client.clone())
        } else if entries.len() >= MAX_STREAMS {
            let most = held.into_iter().max_by_key(|(_, held)| *held);
            most.map(|(client, _)| client.clone())
        } else {
            None
        };
        if let Some(client) = gives_way {
            let longest = entries.iter().position(|it| it.client == client);
            if let Some(ended) = longest.and_then(|at| entries.remove(at)) {
                ended.gone.notify_one();
            }
        }
        let gone = Arc::<Notify>::default();
        entries.push_back(Entry {
            client,
            gone: Arc::clone(&gone),
        });
        let roll = Arc::clone(self);
        Enrolled { roll, gone }
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let mut entries = self.roll.0.lock();
        entries.retain(|it| !Arc::ptr_eq(&it.gone, &self.gone));
    }
}

impl Sources {
    fn of(node: &Node) -> Self {
        let network = node.network();
        let sources = [
            node.store().revision(),
            network.directory.revision(),
            network.registry.revision(),
            node.keeper().revision(),
            network.reachability.revision(),
        ];
        Self(sources.map(Revision::watch))
    }

    /// Waits until one of them has changed. The node has them all, so none ends before it.
    async fn changed(&mut self) {
        let sources = self.0.iter_mut().map(|it| Box::pin(it.changed()));
        let _ = select_all(sources).await;
    }

    /// What they count now, which is waited for no more.
    fn seen(&mut self) -> Seen {
        let [files, network, peers, keeps, reachable] =
            self.0.each_mut().map(|it| *it.borrow_and_update());
        Seen {
            files,
            network,
            peers,
            keeps,
            reachable,
        }
    }
}

impl Watcher {
    fn listen(self: &Arc<Self>) -> watch::Receiver<Seen> {
        let mut is_waiting = self.is_waiting.lock();
        if !std::mem::replace(&mut *is_waiting, true) {
            // Before anything is told: no change behind that is missed.
            let mut sources = Sources::of(&self.node);
            self.seen.send_replace(sources.seen());
            tokio::spawn(Arc::clone(self).wait(sources));
        }
        self.seen.subscribe()
    }

    async fn wait(self: Arc<Self>, mut sources: Sources) {
        loop {
            tokio::select! {
                () = sources.changed() => {}
                () = self.seen.closed() => {}
            }
            {
                let mut is_waiting = self.is_waiting.lock();
                if self.seen.receiver_count() == 0 {
                    *is_waiting = false;
                    return;
                }
            }
            self.seen.send_replace(sources.seen());
            sleep(GATHER).await;
        }
    }
}

impl Streams {
    /// Of the changes of `node`, to those that have access.
    pub(super) fn new(node: Arc<Node>, access: CurrentAccess) -> Self {
        let watcher = Watcher {
            node,
            seen: watch::Sender::default(),
            is_waiting: Mutex::default(),
        };
        Self {
            watcher: Arc::new(watcher),
            access,
            roll: Arc::default(),
        }
    }
}

/// Tells everything once, and from then on what has changed.
pub(super) async fn events(
    State(streams): State<Streams>,
    share: Option<Extension<ClientShare>>,
) -> impl IntoResponse {
    let client = share.and_then(|Extension(ClientShare(client))| client);
    let enrolled = streams.roll.enrol(client);
    let node = Arc::clone(&streams.watcher.node);
    let listener = Listener {
        told: None,
        seen: streams.watcher.listen(),
        stopping: node.shutting_down(),
        access: streams.access.watch(),
        node,
        enrolled,
    };
    let events = stream::unfold(listener, Listener::next).flat_map(stream::iter);
    let events = events.map(Ok::<_, Infallible>);
    let events = Sse::new(events).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE));
    ([UNBUFFERED], events)
}

impl Listener {
    /// What has changed since the last time; None when the node stops, when another one has the
    /// place, or when other tokens count.
    async fn next(mut self) -> Option<(Vec<Event>, Self)> {
        if self.told.is_some() {
            tokio::select! {
                changed = self.seen.changed() => changed.ok()?,
                () = self.enrolled.gone.notified() => return None,
                _ = self.access.changed() => return None,
                _ = self.stopping.wait_for(|it| *it) => return None,
            }
        }
        let now = *self.seen.borrow_and_update();
        Some((self.tell(now).await, self))
    }

    async fn tell(&mut self, now: Seen) -> Vec<Event> {
        let told = self.told.replace(now);
        let differs = |of: fn(&Seen) -> u64| told.as_ref().map(of) != Some(of(&now));
        let mut events = Vec::new();
        let mut tell = |name, of| {
            if differs(of) {
                events.push(Event::default().event(name).data("{}"));
            }
        };
        tell("files", |it| it.files);
        tell("network", |it| it.network);
        tell("peers", |it| it.peers);
        tell("keep", |it| it.keeps);
        if differs(|it| it.files) || differs(|it| it.reachable) {
            let status = Event::default().event("storage");
            events.extend(status.json_data(StatusAnswer::of(&self.node).await));
        }
        events
    }
}
