//! What is told as it happens: `GET /api/events`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, until_knows};
use crate::common::process::Node;
use crate::common::raw_http::{connect, get};

/// A client that listens.
struct Listener(Lines<BufReader<TcpStream>>);

impl Listener {
    fn connect(address: SocketAddr) -> Self {
        let mut stream = connect(address);
        let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\n\r\n");
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
fn a_node_that_stops_waits_for_no_listener() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--shutdown-grace", "3600"]);
    let mut listener = Listener::connect(node.address);
    node.signal(Signal::TERM);
    assert_eq!(listener.next("nothing"), None);
    assert!(node.wait().success());
}
