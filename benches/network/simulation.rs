//! A network of many nodes in one process: each with a store in memory, a key, an HTTP
//! server on a port of its own, and the very code by which nodes find each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use larder::base_url::BaseUrl;
use larder::blob::memory::MemoryBlobs;
use larder::bootstrap::{self, Bootstrap};
use larder::http;
use larder::index::memory::MemoryIndex;
use larder::node::{Node, Options};
use larder::peer::discovery;
use larder::peer::identity::Identity;
use larder::small_state::memory::MemoryState;
use larder::store::{About, Store};
use larder::web::server;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How the routes begin by which nodes tell of one file and of many.
const ANNOUNCE: &str = "/api/p2p/announce";
/// How often to look whether every view is whole.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the HTTP library adds to the heads of a request and its answer.
const ADDED_TO_HEADS: u64 = "  HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\
    date: Mon, 23 Nov 2026 10:00:00 GMT\r\ntransfer-encoding: chunked\r\n\r\n"
    .len() as u64;

/// How many nodes, what they hold, and how often they look around.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nodes: usize,
    pub(crate) files_of_each: usize,
    pub(crate) period: Duration,
    /// Whether announcements are heard.
    pub(crate) announced: bool,
}

/// Requests that were answered, and the bytes of both directions, heads included.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Whether announcements are refused.
    deaf: AtomicBool,
}

/// What all nodes do together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quiet {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) bytes_of_bootstrap: u64,
}

/// A running network, ended on drop.
pub(crate) struct Simulation {
    size: Size,
    nodes: Vec<Arc<Node>>,
    /// How many files the first node has taken besides.
    uploaded: usize,
    of_nodes: Arc<Traffic>,
    of_bootstrap: Arc<Traffic>,
    servers: JoinSet<()>,
    dir: TempDir,
}

impl Traffic {
    /// Messages and bytes so far.
    pub(crate) fn so_far(&self) -> (u64, u64) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.messages), read(&self.bytes))
    }

    fn carry(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Simulation {
    /// Starts all nodes at about the same time. They know one bootstrap server and nobody
    /// else.
    pub(crate) async fn start(size: Size) -> Result<Self> {
        let mut simulation = Self {
            size,
            nodes: Vec::new(),
            uploaded: 0,
            of_nodes: Arc::default(),
            of_bootstrap: Arc::default(),
            servers: JoinSet::new(),
            dir: tempfile::tempdir()?,
        };
        let deaf = &simulation.of_nodes.deaf;
        deaf.store(!size.announced, Ordering::Relaxed);
        let bootstrap = simulation.start_bootstrap().await?;
        for number in 0..size.nodes {
            simulation.start_node(number, bootstrap.clone()).await?;
        }
        Ok(simulation)
    }

    async fn start_bootstrap(&mut self) -> Result<BaseUrl> {
        let bootstrap = Bootstrap::open(&bootstrap::Options {
            dir: self.dir.path().join("bootstrap"),
            ttl: 3 * self.size.period,
            // All come from one address, which has a quarter of the places at most.
            max_peers: 4 * self.size.nodes,
            rate: None,
        })?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address: BaseUrl = format!("http://{}", listener.local_addr()?).parse()?;
        let router = Arc::new(bootstrap).router(address.clone(), false);
        let router = counted(router, &self.of_bootstrap);
        self.servers.spawn(async move {
            let options = server::Options::default();
            let never = std::future::pending();
            server::serve(listener, router, &options, Arc::default(), never).await;
        });
        Ok(address)
    }

    async fn start_node(&mut self, number: usize, bootstrap: BaseUrl) -> Result<()> {
        // Networks are as far apart as those of strangers are.
        let (net, host) = (1 + number / 200 % 200, number % 200);
        let listener = TcpListener::bind(format!("127.{host}.{net}.1:0")).await?;
        let base_url = format!("http://{}", listener.local_addr()?).parse()?;
        let blobs = Arc::new(MemoryBlobs::default());
        let store = Store::new(blobs, Arc::new(MemoryIndex::default()));
        for file in 0..self.size.files_of_each {
            add(&store, &format!("file {file} of node {number}")).await?;
        }
        let options = Options {
            discovery: discovery::Options {
                bootstrap: vec![bootstrap],
                every: self.size.period,
                ..discovery::Options::default()
            },
            ..Options::alone(base_url)
        };
        let state = Arc::new(MemoryState::default());
        let node = Arc::new(Node::new(store, Identity::generate()?, state, options)?);
        self.nodes.push(Arc::clone(&node));
        let router = http::router(Arc::clone(&node), http::Options::default());
        let router = counted(router, &self.of_nodes);
        self.servers.spawn(async move {
            let options = server::Options::default();
            let ended = node.run(listener, router, &options, std::future::pending());
            // It ends with the simulation.
            let _ = ended.await;
        });
        Ok(())
    }

    /// Whether every node knows every file of the others.
    pub(crate) fn is_whole(&self) -> bool {
        self.views().all(|(seen, expected)| seen == expected)
    }

    /// How many files of others each node sees, and how many there are.
    fn views(&self) -> impl Iterator<Item = (usize, usize)> {
        let expected = (self.size.nodes - 1) * self.size.files_of_each;
        self.nodes.iter().enumerate().map(move |(number, node)| {
            let uploaded = if number == 0 { 0 } else { self.uploaded };
            (node.network().directory.len(), expected + uploaded)
        })
    }

    /// Has the first node take one more file.
    pub(crate) async fn upload(&mut self) -> Result<()> {
        self.uploaded += 1;
        let (first, name) = (self.nodes.first(), format!("upload {}", self.uploaded));
        let first = first.context("there is no node")?;
        add(first.store(), &name).await
    }

    /// Waits until every view is whole, at most so long.
    pub(crate) async fn until_whole(&self, limit: Duration) -> Result<()> {
        let began = Instant::now();
        while !self.is_whole() {
            ensure!(
                began.elapsed() < limit,
                "not whole after {limit:?}: {}",
                self.partial_views()
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Which views lack files, or have too many.
    fn partial_views(&self) -> String {
        let partial = self.views().enumerate();
        let partial = partial.filter(|(_, (seen, expected))| seen != expected);
        let told =
            partial.map(|(node, (seen, expected))| format!("node {node}: {seen} of {expected}"));
        told.collect::<Vec<_>>().join(", ")
    }

    /// How many periods the nodes have begun, on average: in each, a node registers once, and
    /// hears in the answer who is there.
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    pub(crate) fn periods(&self) -> f64 {
        let (messages, _) = self.traffic_of_bootstrap().so_far();
        messages as f64 / self.size.nodes as f64
    }

    /// What is answered while nothing changes for so long.
    pub(crate) async fn during(&self, time: Duration) -> Quiet {
        let so_far = || (self.of_nodes.so_far(), self.of_bootstrap.so_far());
        let before = so_far();
        tokio::time::sleep(time).await;
        let (nodes, bootstrap) = so_far();
        Quiet {
            messages: nodes.0 - before.0.0,
            bytes: nodes.1 - before.0.1,
            bytes_of_bootstrap: bootstrap.1 - before.1.1,
        }
    }

    /// What nodes answered each other.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.of_nodes
    }

    /// What the bootstrap server answered.
    pub(crate) fn traffic_of_bootstrap(&self) -> &Traffic {
        &self.of_bootstrap
    }
}

async fn add(store: &Store, name: &str) -> Result<()> {
    let mut receiving = store.receive().await?;
    receiving.write(Bytes::from(name.to_owned())).await?;
    let about = About {
        name: name.to_owned(),
        ..About::default()
    };
    store.ingest(receiving.finish().await?, about).await?;
    Ok(())
}

fn counted(router: Router, traffic: &Arc<Traffic>) -> Router {
    router.layer(from_fn_with_state(Arc::clone(traffic), count))
}

async fn count(State(traffic): State<Arc<Traffic>>, request: Request, next: Next) -> Response {
    if traffic.deaf.load(Ordering::Relaxed) && request.uri().path().starts_with(ANNOUNCE) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let line = request.method().as_str().len() + request.uri().to_string().len();
    let asked = line as u64 + head_bytes(request.headers()) + length_told(request.headers());
    let response = next.run(request).await;
    traffic.messages.fetch_add(1, Ordering::Relaxed);
    traffic.carry(asked + ADDED_TO_HEADS + head_bytes(response.headers()));
    // As it flows: a listing does not know beforehand how long it will be.
    response.map(|body| {
        Body::new(body.inspect_frame(move |frame| {
            traffic.carry(frame.data_ref().map_or(0, |data| data.len() as u64));
        }))
    })
}

/// The lines of a head, each with its separators.
fn head_bytes(headers: &HeaderMap) -> u64 {
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    lines.sum::<usize>() as u64
}

fn length_told(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}
