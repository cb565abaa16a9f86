//! Nodes that find each other and tell each other what they hold: the real binary, in
//! processes of their own, killed and brought back.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::all_members::are_all_members;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, reaches, until_knows, until_sees};
use crate::common::process::{Node, larder, until};
use crate::common::python::Python;
use crate::common::raw_http::{Answer, get, head, send};

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

/// Three nodes and the server that introduces them.
struct Quartet {
    introducing: Place,
    server: Option<Node>,
    places: [Place; 3],
    nodes: [Option<Node>; 3],
    addresses: [SocketAddr; 3],
    ids: [String; 3],
    files: Vec<Uploaded>,
}

/// A file that a node of a quartet took.
struct Uploaded {
    by: usize,
    name: String,
    bytes: Vec<u8>,
    id: String,
}

impl Quartet {
    fn start() -> Self {
        let introducing = bootstrap();
        // Members go to no server, so that they name one of themselves.
        let server = (!are_all_members()).then(|| introducing.start());
        let bootstrap = server.as_ref().map(|it| format!("http://{}", it.address));
        let place = |first: &str| match &bootstrap {
            Some(bootstrap) => node(&["--bootstrap", bootstrap]),
            None => node(&["--peer", first]),
        };
        let first = bootstrap.as_ref().map_or_else(|| node(&[]), |_| place(""));
        let started = first.start();
        let [left, right] = [(); 2].map(|()| place(&started.url("")));
        let nodes = [started, left.start(), right.start()];
        let addresses = nodes.each_ref().map(|node| node.address);
        for address in addresses {
            until_knows(address, 2);
        }
        Self {
            introducing,
            server,
            ids: addresses.map(peer_id),
            places: [first, left, right],
            nodes: nodes.map(Some),
            addresses,
            files: Vec::new(),
        }
    }

    fn upload(&mut self, by: usize, name: &str, bytes: &[u8]) {
        let file = uploaded(self.addresses[by], name, bytes);
        self.files.push(Uploaded {
            by,
            name: name.to_owned(),
            bytes: bytes.to_vec(),
            id: file["file_id"].as_str().unwrap().to_owned(),
        });
    }

    /// Removes the newest file of a node.
    fn remove_one_of(&mut self, by: usize) {
        let newest = self.files.iter().rposition(|file| file.by == by).unwrap();
        let target = format!("/api/p2p/file/{}", self.files.remove(newest).id);
        let answer = send(self.addresses[by], &head("DELETE", &target, &[]));
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    fn kill(&mut self, at: usize) {
        self.nodes[at].take().unwrap().kill();
    }

    fn restart(&mut self, at: usize) {
        self.nodes[at] = Some(self.places[at].restart(self.addresses[at]));
    }

    /// Waits until the node knows what all hold, no less and no more.
    fn until_sees_all(&self, at: usize) {
        let names: Vec<_> = self.files.iter().map(|file| file.name.as_str()).collect();
        until_sees(self.addresses[at], &names);
    }

    /// A file, through the node `by`.
    fn download(&self, by: usize, file: &Uploaded) -> Answer {
        let target = format!("/api/p2p/download/{}/{}", self.ids[file.by], file.id);
        get(self.addresses[by], &target, &[])
    }

    /// Every node sees every file, and serves it.
    fn until_whole(&self) {
        for at in 0..3 {
            self.until_sees_all(at);
            for file in &self.files {
                let answer = self.download(at, file);
                let right = answer.body == file.bytes;
                assert_eq!((answer.status, right), (200, true), "{}", file.name);
            }
        }
    }

    /// Waits until the node has written down whom it knows.
    fn until_remembers(&self, at: usize, ids: &[String]) {
        let known = self.places[at].dir.path().join("peer_storage/known-peers");
        until("the peers are written down", || {
            let text = std::fs::read_to_string(&known).ok()?;
            ids.iter().all(|id| text.contains(id)).then_some(())
        });
    }
}

#[test]
fn a_node_that_was_killed_returns_and_misses_nothing() {
    let mut network = Quartet::start();
    for at in 0..3 {
        let (other, third) = ((at + 1) % 3, (at + 2) % 3);
        // Two hold the one, the node that dies alone holds the other.
        let (twin, own) = (content(0, 100_000 + at), content(1, 100_000 + at));
        network.upload(other, &format!("twin of {at}"), &twin);
        network.upload(at, &format!("twin {at}"), &twin);
        network.upload(at, &format!("own {at}"), &own);
        network.until_whole();
        network.kill(at);

        let files = network.files.iter().rev();
        let [own, twin] = [0, 1].map(|back| files.clone().nth(back).unwrap());
        let of_dead = |file: &Uploaded| network.download(third, file);
        assert_eq!(of_dead(own).refusal(), (502, "peer_failed".to_owned()));
        let served = of_dead(twin);
        assert_eq!((served.status, served.body == twin.bytes), (200, true));
        network.remove_one_of(other);
        network.upload(other, &format!("while {at} was dead"), b"news");
        network.until_sees_all(third);

        network.restart(at);
        network.until_whole();
    }
}

#[test]
fn a_bootstrap_server_that_was_killed_is_not_missed_and_introduces_again() {
    let mut network = Quartet::start();
    network.upload(0, "before", b"one");
    network.until_whole();
    let ids = network.ids.clone();
    network.until_remembers(2, &ids[..2]);
    let server = network.server.take().unwrap();
    let (address, url) = (server.address, format!("http://{}", server.address));
    server.kill();
    network.upload(1, "while it was dead", b"two");
    network.until_whole();
    // Whom a node knew before, it still knows.
    network.kill(2);
    network.upload(0, "while both were dead", b"three");
    network.restart(2);
    network.until_whole();

    network.server = Some(network.introducing.restart(address));
    let place = node(&["--bootstrap", &url]);
    let late = place.start();
    until_knows(late.address, 3);
    let names: Vec<_> = network.files.iter().map(|it| it.name.as_str()).collect();
    until_sees(late.address, &names);
    network.until_whole();
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
        until_knows(node.address, 2);
    }
    let file = uploaded(left.address, "from the left", b"x");
    until_sees(right.address, &["from the left"]);
    let listed = get(right.address, "/api/p2p/network?name=LEF", &[]).json();
    assert_eq!(listed["files"][0]["peers"], json!([peer_id(left.address)]));
    assert_eq!(listed["files"][0]["hash"], file["hash"]);
    let none = get(right.address, "/api/p2p/network?name=right", &[]).json();
    assert_eq!(none["files"], json!([]));
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
    let ids = [peer_id(one.address), peer_id(two.address)];
    for (node, other) in [(&one, &ids[1]), (&two, &ids[0])] {
        until("the other node is met", || {
            let known = get(node.address, "/api/peers", &[]).json();
            let mut peers = known["peers"].as_array().unwrap().iter();
            peers.any(|peer| peer["peer_id"] == **other).then_some(())
        });
    }
}

#[test]
fn an_older_peer_is_taken_in_unless_signatures_are_required() {
    let older = Python::peer("http://127.0.0.1:1");
    uploaded(older.node.address, "old.txt", b"old");
    let url = older.node.url("");
    let place = node(&["--peer", &url]);
    let taking = place.start();
    until_sees(taking.address, &["old.txt"]);
    let peers = get(taking.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["verified"], false);

    let other = taking.url("");
    let place = node(&["--require-signed", "--peer", &other, "--peer", &url]);
    let strict = place.start();
    until_knows(strict.address, 1);
    let peers = get(strict.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["peer_id"], peer_id(taking.address));
}

#[test]
fn what_another_key_signed_is_dropped_and_counted() {
    let places = [node(&[]), node(&[])];
    let [one, two] = places.each_ref().map(Place::start);
    let mut myself = get(two.address, "/api/peers", &[]).json()["self"].clone();
    myself["address"] = json!("http://127.0.0.1:1");
    let refused = post(one.address, "/api/peers", &myself.to_string());
    assert_eq!(refused.refusal(), (400, "bad_registration".to_owned()));
    let announced = json!({ "file_id": peer_id(two.address), "original_name": "a", "size": 1,
        "peer_id": peer_id(two.address), "uploaded_at": "2026-01-21T10:00:00" });
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
    let mut registration = json!({ "peer_id": "123e4567-e89b-42d3-a456-426614174000",
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
    // Nobody can use a key that the server does not know to make its answers long.
    registration.as_object_mut().unwrap().remove("more");
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

#[test]
fn whom_a_node_has_met_a_moment_before_its_stop_it_knows_after_the_next_start() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let other = Node::start(&dirs[1], &[]);
    let id = peer_id(other.address);
    let node = Node::start(&dirs[0], &["--peer", &other.url("")]);
    until("the peer answers", || {
        reaches(node.address, &id).then_some(())
    });
    node.stop();
    let node = Node::start(&dirs[0], &[]);
    until("the peer is known", || {
        reaches(node.address, &id).then_some(())
    });
}
