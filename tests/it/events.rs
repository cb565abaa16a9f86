//! What is told as it happens: `GET /api/events`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use larder::fetch::keep::{Naming, Wanted};
use larder::hash::BlobHash;
use larder::peer::directory::NetworkFile;
use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use larder::peer::registry::Introducer;
use larder::record::FileId;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use crate::common::forms::uploaded;
use crate::common::in_memory::InMemory;
use crate::common::peers::{peer_id, post, until_knows};
use crate::common::process::Node;
use crate::common::raw_http::{connect, get};
use crate::common::stores::upload;

/// A client that listens.
struct Listener(Lines<BufReader<TcpStream>>);

impl Listener {
    fn connect(address: SocketAddr) -> Self {
        Self::connect_by(address, "")
    }

    /// The same with more fields of the head, each with the end of its line.
    fn connect_by(address: SocketAddr, fields: &str) -> Self {
        let mut stream = connect(address);
        let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\n{fields}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut listener = Self(BufReader::new(stream).lines());
        // At first everything is told, this last.
        assert!(listener.next("storage").is_some());
        listener
    }

    /// The data of the next event with this name; None when the stream ends.
    fn next(&mut self, name: &str) -> Option<Value> {
        let wanted = format!("event: {name}");
        self.0
            .find(|line| *line.as_ref().unwrap() == wanted)?
            .unwrap();
        let line = self.0.next().unwrap().unwrap();
        let data = line.strip_prefix("data: ").unwrap();
        Some(serde_json::from_str(data).unwrap())
    }
}

#[test]
fn every_change_is_told() {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start(&dir, &["--discover-every", "1"]);
    let mut listener = Listener::connect(node.address);

    uploaded(node.address, "a", b"content");
    uploaded(node.address, "b", b"content");
    assert_eq!(listener.next("files"), Some(json!({})));
    let stored = |listener: &mut Listener| {
        let status = listener.next("storage").unwrap();
        ["local_files", "file_bytes", "blobs", "blob_bytes"].map(|key| status[key].clone())
    };
    // Both may be told at once, or one after the other.
    while stored(&mut listener) != [2, 14, 1, 7].map(Value::from) {}

    let other = Node::start(
        &other_dir,
        &["--discover-every", "1", "--peer", &node.url("")],
    );
    assert_eq!(listener.next("peers"), Some(json!({})));
    until_knows(node.address, 1);
    let file = uploaded(other.address, "c", b"another content");
    assert_eq!(listener.next("network"), Some(json!({})));
    let held = get(node.address, "/api/p2p/network?name=c", &[]).json();
    assert_eq!(held["files"][0]["peers"], json!([peer_id(other.address)]));
    let wanted = json!({ "hash": file["hash"] }).to_string();
    assert_eq!(post(node.address, "/api/p2p/keep", &wanted).status, 202);
    assert_eq!(listener.next("keep"), Some(json!({})));
    while stored(&mut listener) != [3, 29, 2, 22].map(Value::from) {}
}

#[test]
fn who_listens_more_often_than_one_may_hears_by_the_newest_and_takes_nobody_elses_place() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--trusted-proxy", "127.0.0.1"]);
    let listen = |client: &str| {
        let told_of = format!("X-Forwarded-For: {client}\r\nConnection: close\r\n");
        Listener::connect_by(node.address, &told_of)
    };
    let mut other = listen("10.9.9.1");
    // As many as README grants one client.
    let mut streams: Vec<_> = (0..128).map(|_| listen("10.9.9.2")).collect();
    streams.push(listen("10.9.9.2"));
    assert_eq!(streams[0].next("nothing"), None);
    uploaded(node.address, "a", b"content");
    for stream in streams[1..].iter_mut().chain([&mut other]) {
        assert_eq!(stream.next("files"), Some(json!({})));
    }
}

#[test]
fn a_node_that_stops_waits_for_no_listener() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--shutdown-grace", "3600"]);
    let mut listener = Listener::connect(node.address);
    node.signal(Signal::TERM);
    assert_eq!(listener.next("nothing"), None);
    assert!(node.wait().success());
}

/// Long enough for whatever is told at all, on a clock that runs only while nothing is done.
const LONG: Duration = Duration::from_secs(10);

/// A stream of a node in this process.
struct Stream(Body);

impl Stream {
    /// One that was told everything once.
    async fn open(node: &InMemory) -> Self {
        let mut stream = Self(node.open("/api/events").await.into_body());
        let at_first = ["files", "network", "peers", "keep", "storage"];
        assert_eq!(stream.until_silent().await, at_first);
        stream
    }

    /// The name of the next event.
    async fn next(&mut self) -> String {
        loop {
            let frame = self.0.frame().await.unwrap().unwrap();
            let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
            if let Some(event) = text.strip_prefix("event: ") {
                return event.lines().next().unwrap().to_owned();
            }
        }
    }

    /// The names of all events until nothing is told any more.
    async fn until_silent(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Ok(name) = timeout(LONG, self.next()).await {
            names.push(name);
        }
        names
    }
}

fn held_by_others(content: &[u8]) -> NetworkFile {
    NetworkFile {
        id: FileId::from_bytes([1; 16]),
        name: "theirs".to_owned(),
        size: content.len() as u64,
        hash: Some(BlobHash::of(content)),
        content_type: None,
        uploaded_at: String::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_to_whom_nothing_is_told_wake_nobody_but_to_show_that_they_are_there() {
    const HOURS: u32 = 10;
    let node = InMemory::new();
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(Stream::open(&node).await);
    }
    let listening = streams
        .into_iter()
        .map(|mut stream| tokio::spawn(async move { panic!("told of {}", stream.next().await) }));
    let listening: Vec<_> = listening.collect();
    let parks = || Handle::current().metrics().worker_park_count(0);
    let before = parks();
    sleep(Duration::from_hours(1) * HOURS).await;
    assert!(listening.iter().all(|it| !it.is_finished()));
    // A line a stream every 15 s keeps its connection alive; whoever looked for changes twice a
    // second would wake 7,200 times an hour besides.
    let alive = 64 * u64::from(HOURS) * 3600 / 15;
    let wakes = parks() - before;
    assert!(wakes <= alive + 100, "{wakes} times");
}

#[tokio::test(start_paused = true)]
async fn the_first_of_many_changes_is_told_at_once_and_the_others_together() {
    let node = InMemory::new();
    let mut stream = Stream::open(&node).await;
    let began = Instant::now();
    for n in 0..100u8 {
        upload(node.node().store(), "many", &[n]).await.unwrap();
    }
    assert_eq!(stream.next().await, "files");
    assert_eq!(began.elapsed(), Duration::ZERO);
    let rest = stream.until_silent().await;
    assert!(
        rest.iter().filter(|it| *it == "files").count() <= 1,
        "{rest:?}"
    );
    assert_eq!(rest.last().unwrap(), "storage");
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_change_is_told_once_and_what_changes_nothing_is_not() {
    let node = InMemory::new();
    let mut stream = Stream::open(&node).await;
    let (store, network) = (node.node().store(), node.node().network());
    let stored = ["files", "storage"];

    let kept = upload(store, "kept", b"kept").await.unwrap();
    assert_eq!(stream.until_silent().await, stored);
    node.take_away(&kept.file.hash).await;
    assert!(stream.until_silent().await.is_empty());
    for told in [&stored[..], &[]] {
        assert!(store.open(&kept.file.hash).await.is_err());
        assert_eq!(stream.until_silent().await, told, "damage");
    }
    upload(store, "again", b"kept").await.unwrap();
    assert_eq!(stream.until_silent().await, stored);
    store.remove(kept.id).await.unwrap();
    assert_eq!(stream.until_silent().await, stored);
    assert!(store.remove(kept.id).await.unwrap().is_none());
    assert!(stream.until_silent().await.is_empty());

    let identity = Identity::generate().unwrap();
    let peer = identity.peer_id();
    let meet = |address: &str| {
        let registration = Registration::of_self(&identity, &address.parse().unwrap());
        let by = Introducer::Itself(None);
        network.meet(registration, by, false).unwrap()
    };
    meet("http://10.0.0.1:5004");
    assert_eq!(stream.until_silent().await, ["peers"]);
    for told in [&["peers"][..], &[]] {
        network.registry.answered(peer);
        assert_eq!(stream.until_silent().await, told, "it answers");
    }
    network.registry.saw(peer);
    assert!(stream.until_silent().await.is_empty());
    for told in [&["peers"][..], &[]] {
        network
            .registry
            .asked_in_vain(peer, std::time::Instant::now());
        assert_eq!(stream.until_silent().await, told, "it does not answer");
    }

    let theirs = held_by_others(b"theirs");
    network.directory.put(peer, theirs.clone()).unwrap();
    assert_eq!(stream.until_silent().await, ["network"]);
    network.directory.begin_reading(peer);
    network.directory.end_reading(peer);
    assert_eq!(stream.until_silent().await, ["network"]);
    network.directory.forget(peer);
    assert!(!network.directory.withdraw(peer, theirs.id));
    assert!(stream.until_silent().await.is_empty());

    let wanted = Wanted {
        peer,
        file: theirs,
        naming: Naming::Content,
    };
    let keeper = node.node().keeper();
    keeper.keep(wanted.clone(), None).await.unwrap();
    assert_eq!(stream.until_silent().await, ["keep"]);
    for told in [&["keep"][..], &[]] {
        keeper.forget(wanted.id()).await.unwrap();
        assert_eq!(stream.until_silent().await, told, "it is given up");
    }
}
