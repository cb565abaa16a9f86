//! Nodes that find each other and tell each other what they hold: the real binary, in
//! processes of their own, killed and brought back.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::thread;

use common::forms::uploaded;
use common::process::{Node, larder, until};
use common::raw_http::{Answer, get, head, send};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A process of larder in a directory of its own, so that it can return.
struct Place {
    dir: TempDir,
    arguments: Vec<String>,
}

impl Place {
    fn new(arguments: &[&str]) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            arguments: arguments.iter().map(|&it| it.to_owned()).collect(),
        }
    }

    fn start(&self) -> Node {
        let arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        Node::start(&self.dir, &arguments)
    }

    /// Starts it at the address it had before.
    fn restart(&self, address: SocketAddr) -> Node {
        let address = address.to_string();
        let listen = self.arguments.iter().position(|it| it == "--listen");
        let mut arguments: Vec<_> = self.arguments.iter().map(String::as_str).collect();
        match listen {
            Some(at) => arguments[at + 1] = &address,
            None => arguments.extend(["--listen", &address]),
        }
        Node::start(&self.dir, &arguments)
    }
}

fn bootstrap() -> Place {
    Place::new(&["bootstrap", "--listen", "127.0.0.1:0"])
}

/// A node that looks for peers every second.
fn node(arguments: &[&str]) -> Place {
    Place::new(&[&["--discover-every", "1"], arguments].concat())
}

fn post(address: SocketAddr, target: &str, message: &str) -> Answer {
    let length = format!("Content-Length: {}", message.len());
    let lines = ["Content-Type: application/json", &length];
    let request = [head("POST", target, &lines), message.into()].concat();
    send(address, &request)
}

fn id(node: &Node) -> String {
    let peers = get(node.address, "/api/peers", &[]).json();
    peers["self"]["peer_id"].as_str().unwrap().to_owned()
}

/// Names of the files that others hold, as this node sees it.
fn names(node: &Node) -> BTreeSet<String> {
    let answer = get(node.address, "/api/p2p/network", &[]).json();
    let files = answer["files"].as_array().unwrap().iter();
    let name = |file: &Value| file["original_name"].as_str().unwrap().to_owned();
    files.map(name).collect()
}

fn until_knows(node: &Node, peers: usize) {
    until("peers are met", || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        (status["peers_discovered"] == peers).then_some(())
    });
}

fn until_sees(node: &Node, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|&it| it.to_owned()).collect();
    until("the view is whole", || {
        (names(node) == expected).then_some(())
    });
}

#[test]
fn three_nodes_and_a_bootstrap_server_lose_nothing_when_any_of_them_dies() {
    let introducing = bootstrap();
    let server = introducing.start();
    let url = format!("http://{}", server.address);
    let places = [(); 3].map(|()| node(&["--bootstrap", &url]));
    let nodes = places.each_ref().map(Place::start);
    for node in &nodes {
        until_knows(node, 2);
    }
    let first = uploaded(nodes[0].address, "first", b"one");
    uploaded(nodes[1].address, "second", b"two");
    until_sees(&nodes[0], &["second"]);
    until_sees(&nodes[1], &["first"]);
    until_sees(&nodes[2], &["first", "second"]);
    let listed = get(nodes[2].address, "/api/p2p/network?name=FIR", &[]).json();
    assert_eq!(listed["files"][0]["peers"], json!([id(&nodes[0])]));
    assert_eq!(listed["files"][0]["hash"], first["hash"]);

    // One misses an upload and a removal while it is dead.
    let [one, two, three] = nodes;
    let known = places[2].dir.path().join("peer_storage/known-peers");
    let ids = [id(&one), id(&two)];
    until("the peers are written down", || {
        let text = std::fs::read_to_string(&known).ok()?;
        ids.iter().all(|id| text.contains(id)).then_some(())
    });
    let address = three.address;
    three.kill();
    uploaded(one.address, "third", b"three");
    let gone = format!("/api/p2p/file/{}", first["file_id"].as_str().unwrap());
    assert_eq!(send(one.address, &head("DELETE", &gone, &[])).status, 200);
    until_sees(&two, &["third"]);
    // The bootstrap server dies, too: who was known before is still known.
    let server_address = server.address;
    server.kill();
    let three = places[2].restart(address);
    until_sees(&three, &["second", "third"]);

    // It returns, and introduces one that joins late.
    let server = introducing.restart(server_address);
    let place = node(&["--bootstrap", &url]);
    let late = place.start();
    until_knows(&late, 3);
    until_sees(&late, &["second", "third"]);
    server.stop();
    late.stop();
}

#[test]
fn named_peers_need_no_bootstrap_server_and_introduce_each_other() {
    let place = node(&[]);
    let middle = place.start();
    let url = middle.url("");
    let (left, right) = (node(&["--peer", &url]), node(&["--peer", &url]));
    let places = (left, right);
    let (left, right) = (places.0.start(), places.1.start());
    for node in [&left, &middle, &right] {
        until_knows(node, 2);
    }
    uploaded(left.address, "from the left", b"x");
    until_sees(&right, &["from the left"]);
    let peers = get(right.address, "/api/peers", &[]).json();
    for peer in peers["peers"].as_array().unwrap() {
        assert_eq!(peer["verified"], true, "{peer}");
        assert!(peer["last_seen"].is_string(), "{peer}");
    }
}

#[test]
fn nodes_of_one_machine_find_each_other_without_being_told() {
    let places = [(); 2].map(|()| Place::new(&[]));
    let [one, two] = places.each_ref().map(|place| {
        let mut command = larder(place.dir.path());
        command.env("LARDER_NO_MDNS", "false");
        Node::spawn(&place.dir, command)
    });
    // Others may run on this machine, and be found too.
    let ids = [id(&one), id(&two)];
    for (node, other) in [(&one, &ids[1]), (&two, &ids[0])] {
        until("the other node is met", || {
            let known = get(node.address, "/api/peers", &[]).json();
            let mut peers = known["peers"].as_array().unwrap().iter();
            peers.any(|peer| peer["peer_id"] == **other).then_some(())
        });
    }
}

/// Answers like the Python service: without hashes, pages or signatures.
fn older_peer() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let peers = json!({ "status": "success", "peer_count": 0, "peers": [], "self": {
        "peer_id": id, "address": format!("http://{address}"),
        "timestamp": "2026-01-21T10:00:00.123456" }});
    let files = json!({ "status": "success", "peer_id": id, "file_count": 1, "files": [{
        "file_id": "123e4567-e89b-42d3-a456-426614174001", "original_name": "old.txt",
        "size": 3, "description": "", "uploaded_at": "2026-01-21T10:00:00",
        "download_url": "http://localhost:5004/api/p2p/file/x" }]});
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (status, body) = if request.starts_with("GET /api/peers ") {
                ("200 OK", peers.to_string())
            } else if request.starts_with("GET /api/p2p/files") {
                ("200 OK", files.to_string())
            } else {
                ("405 Method Not Allowed", "{}".to_owned())
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
            let answer = format!("{head}Connection: close\r\n\r\n{body}");
            // The node may have gone meanwhile.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn an_older_peer_is_taken_in_unless_signatures_are_required() {
    let url = format!("http://{}", older_peer());
    let place = node(&["--peer", &url]);
    let taking = place.start();
    until_sees(&taking, &["old.txt"]);
    let peers = get(taking.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["verified"], false);

    let other = taking.url("");
    let place = node(&["--require-signed", "--peer", &other, "--peer", &url]);
    let strict = place.start();
    until_knows(&strict, 1);
    let peers = get(strict.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["peer_id"], id(&taking));
}

#[test]
fn what_another_key_signed_is_dropped_and_counted() {
    let places = [node(&[]), node(&[])];
    let [one, two] = places.each_ref().map(Place::start);
    let mut myself = get(two.address, "/api/peers", &[]).json()["self"].clone();
    myself["address"] = json!("http://127.0.0.1:1");
    let refused = post(one.address, "/api/peers", &myself.to_string());
    assert_eq!(refused.refusal(), (400, "bad_registration".to_owned()));
    let announced = json!({ "file_id": id(&two), "original_name": "a", "size": 1,
        "peer_id": id(&two), "uploaded_at": "2026-01-21T10:00:00" });
    let refused = post(one.address, "/api/p2p/announce", &announced.to_string());
    assert_eq!(refused.refusal(), (400, "bad_announcement".to_owned()));
    let status = get(one.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["forged_messages"], 2);
    assert_eq!(status["peers_discovered"], 0);
}

#[test]
fn the_bootstrap_server_answers_as_the_document_says() {
    let place = bootstrap();
    let server = place.start();
    let registration = json!({ "peer_id": "123e4567-e89b-42d3-a456-426614174000",
        "address": "http://localhost:5004", "timestamp": "2026-01-21T10:00:00", "more": [1] });
    let url = format!("http://{}", server.address);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-X", "POST", &format!("{url}/register")]);
    curl.args([
        "-H",
        "Content-Type: application/json",
        "-d",
        &registration.to_string(),
    ]);
    let printed: Value = serde_json::from_slice(&curl.output().unwrap().stdout).unwrap();
    assert_eq!(printed, json!({ "status": "registered" }));
    let listed = json!({ "peers": [registration] });
    assert_eq!(get(server.address, "/peers", &[]).json(), listed);
    let none = get(server.address, "/peers?limit=0", &[]).json();
    assert_eq!(none, json!({ "peers": [] }));
    server.stop();
    assert_eq!(get(place.start().address, "/peers", &[]).json(), listed);
}

#[test]
fn absurd_registrations_are_refused() {
    let place = bootstrap();
    let server = place.start();
    let long = "x".repeat(5000);
    for (change, code) in [
        (json!({ "peer_id": null }), "bad_registration"),
        (json!({ "peer_id": "me" }), "bad_registration"),
        (
            json!({ "address": "file:///etc/passwd" }),
            "bad_registration",
        ),
        (
            json!({ "timestamp": "2999-01-01T00:00:00" }),
            "bad_registration",
        ),
        (json!({ "signature": "00" }), "bad_registration"),
        (json!({ "more": long }), "bad_body"),
    ] {
        let mut registration = json!({ "peer_id": "123e4567-e89b-42d3-a456-426614174000",
            "address": "http://localhost:5004", "timestamp": "2026-01-21T10:00:00" });
        let keys = change.as_object().unwrap().clone();
        registration.as_object_mut().unwrap().extend(keys);
        let answer = post(server.address, "/register", &registration.to_string());
        assert_eq!(answer.refusal(), (400, code.to_owned()), "{registration}");
    }
    let answer = post(server.address, "/register", "not json");
    assert_eq!(answer.refusal(), (400, "bad_registration".to_owned()));
    assert_eq!(
        get(server.address, "/peers", &[]).json(),
        json!({ "peers": [] })
    );
}
