//! What nodes tell of their network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Node, until};
use super::raw_http::{Answer, get, head, send};

/// Two nodes that find each other soon.
pub(crate) fn neighbours(dirs: &[TempDir; 2]) -> (Node, Node) {
    let node = Node::start(&dirs[0], &["--discover-every", "1"]);
    let peer = node.url("");
    let other = Node::start(&dirs[1], &["--discover-every", "1", "--peer", &peer]);
    (node, other)
}

/// The id of the node there.
pub(crate) fn peer_id(node: SocketAddr) -> String {
    let peers = get(node, "/api/peers", &[]).json();
    peers["self"]["peer_id"].as_str().unwrap().to_owned()
}

/// Sends a JSON message.
pub(crate) fn post(node: SocketAddr, target: &str, message: &str) -> Answer {
    let length = format!("Content-Length: {}", message.len());
    let lines = ["Content-Type: application/json", &length];
    let request = [head("POST", target, &lines), message.into()].concat();
    send(node, &request)
}

/// Asks a node for a copy of this content, as soon as it knows of it.
pub(crate) fn keep(node: SocketAddr, hash: &str) {
    let wanted = format!(r#"{{"hash":"{hash}"}}"#);
    until("the content is known", || {
        let status = post(node, "/api/p2p/keep", &wanted).status;
        (!matches!(status, 404 | 503)).then_some(())
    });
}

/// Whether a node has reached the peer with this id.
pub(crate) fn reaches(node: SocketAddr, id: &str) -> bool {
    let peers = get(node, "/api/peers", &[]).json();
    let mut peers = peers["peers"].as_array().unwrap().iter();
    peers.any(|it| it["peer_id"] == id && it["reachable"] == true)
}

/// Waits until a node knows so many peers.
pub(crate) fn until_knows(node: SocketAddr, peers: usize) {
    until("the peers are met", || {
        let status = get(node, "/api/p2p/status", &[]).json();
        (status["peers_discovered"] == peers).then_some(())
    });
}

/// The files that the network holds, as a node sees it.
pub(crate) fn held(node: SocketAddr) -> Vec<Value> {
    let answer = get(node, "/api/p2p/network", &[]).json();
    answer["files"].as_array().unwrap().clone()
}

/// Waits until a node knows that so many peers hold this content.
pub(crate) fn until_held(node: SocketAddr, hash: &Value, peers: usize) {
    until("the content is known", || {
        let files = held(node);
        let file = files.iter().find(|file| file["hash"] == *hash)?;
        (file["peers"].as_array().unwrap().len() == peers).then_some(())
    });
}

/// Waits until the network holds files with exactly these names, as a node sees it.
pub(crate) fn until_sees(node: SocketAddr, names: &[&str]) {
    let expected: BTreeSet<_> = names.iter().copied().collect();
    until("the view is whole", || {
        let files = held(node);
        let names = files.iter().map(|it| it["original_name"].as_str().unwrap());
        (names.collect::<BTreeSet<_>>() == expected).then_some(())
    });
}

/// A directory whose node has the key of another one's.
pub(crate) fn with_key_of(dir: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("peer_storage")).unwrap();
    for file in ["node.key", "node.key.check"] {
        let file = Path::new("peer_storage").join(file);
        std::fs::copy(dir.path().join(&file), copy.path().join(&file)).unwrap();
    }
    copy
}

/// Where a node says that its key is, too.
pub(crate) fn key_also_at(node: &Node) -> Value {
    get(node.address, "/api/p2p/status", &[]).json()["key_also_at"].clone()
}
