//! What nodes tell of their network.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::process::until;
use super::raw_http::{Answer, get, head, read_answer, send};

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

/// Sends all of these from this address of this machine, over one connection.
pub(crate) fn post_from(source: [u8; 4], node: SocketAddr, target: &str, messages: &[Value]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((IpAddr::from(source), 0).into()).unwrap();
        socket.connect(node).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    for message in messages {
        let body = message.to_string();
        let length = format!("Content-Length: {}", body.len());
        let lines = ["Content-Type: application/json", &length];
        let request = [head("POST", target, &lines), body.into()].concat();
        stream.write_all(&request).unwrap();
        assert_eq!(read_answer(&mut stream, false).status, 200);
    }
}

/// A registration with a new key, signed.
pub(crate) fn signed(address: &str) -> Value {
    let identity = Identity::generate().unwrap();
    json!(Registration::of_self(&identity, &address.parse().unwrap()))
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
