//! Crowds of made-up peers: they have a share of what a node and a bootstrap server remember,
//! and an honest newcomer finds a place beside them.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::peers::{peer_id, post, reaches, until_knows};
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get};
use crate::crowd::{Crowd, introducing, post_from, signed};
use crate::silent::Silent;

/// The most that a table of strangers may add to what a process holds, in KiB.
const ROOM: u64 = 24 << 10;
/// The most peers that a node knows, named ones apart: 2048 and 512.
const MAX_KNOWN: u64 = 2560;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

fn bootstrap(arguments: &[&str]) -> (TempDir, Node) {
    start(
        &[
            &["bootstrap", "--listen", "127.0.0.1:0", "--peer-rate", "0"],
            arguments,
        ]
        .concat(),
    )
}

fn unsigned(address: &str) -> Value {
    json!({ "peer_id": Uuid::new_v4(), "address": address, "timestamp": "2026-01-21T10:00:00" })
}

fn register(server: SocketAddr, registration: &Value) -> Answer {
    post(server, "/register", &registration.to_string())
}

fn registered(server: SocketAddr, id: &str) -> bool {
    let peers = get(server, "/peers", &[]);
    assert!(peers.body.len() <= 512 << 10, "{}", peers.body.len());
    let peers = peers.json()["peers"].as_array().unwrap().clone();
    peers.iter().any(|it| it["peer_id"] == id)
}

fn known(node: SocketAddr) -> Vec<Value> {
    let peers = get(node, "/api/peers", &[]).json();
    peers["peers"].as_array().unwrap().clone()
}

#[test]
fn a_crowd_at_one_place_fills_no_bootstrap_server() {
    let (_dir, server) = bootstrap(&[]);
    let before = server.resident_memory();
    for _ in 0..3000 {
        let mut registration = unsigned("http://10.1.2.3");
        registration["padding"] = "x".repeat(3000).into();
        assert_eq!(register(server.address, &registration).status, 200);
    }
    let honest = signed("http://127.0.0.1:1");
    assert_eq!(register(server.address, &honest).status, 200);
    assert!(registered(
        server.address,
        honest["peer_id"].as_str().unwrap()
    ));
    let peers = get(server.address, "/peers", &[]);
    assert!(
        !String::from_utf8(peers.body.clone())
            .unwrap()
            .contains("padding")
    );
    assert_eq!(peers.json()["peers"].as_array().unwrap().len(), 5);
    assert!(
        server.resident_memory() < before + ROOM,
        "{before} {}",
        server.resident_memory()
    );
}

#[test]
fn a_crowd_that_says_to_be_everywhere_leaves_a_place_at_a_bootstrap_server() {
    let (_dir, server) = bootstrap(&["--max-peers", "500"]);
    let before = server.resident_memory();
    let honest = signed("http://127.0.0.1:1");
    for number in 0..3000 {
        let address = format!("http://10.77.{}.{}", number / 250, number % 250);
        assert_eq!(register(server.address, &unsigned(&address)).status, 200);
        if number == 2000 {
            assert_eq!(register(server.address, &honest).status, 200);
        }
    }
    assert!(registered(
        server.address,
        honest["peer_id"].as_str().unwrap()
    ));
    // One source has a quarter of the table, and of a sample who signs nothing has a quarter.
    let health = get(server.address, "/health", &[]).json();
    assert_eq!(health["peers"], 125);
    let some = get(server.address, "/peers?limit=10", &[]).json();
    assert_eq!(some["peers"].as_array().unwrap().len(), 3);
    assert_eq!(some["peers"][0], honest);
    assert!(
        server.resident_memory() < before + ROOM,
        "{before} {}",
        server.resident_memory()
    );
}

/// The flood that this makes of numbers, from one source, is between two honest nodes.
fn find_each_other_in_a_flood(source: [u8; 4], of: impl Fn(u32) -> Value) {
    let (_dir, server) = bootstrap(&[]);
    let url = format!("http://{}", server.address);
    let flood: Vec<_> = (0..3000).map(of).collect();
    post_from(source, server.address, "/register", &flood);
    let health = get(server.address, "/health", &[]).json();
    assert!(health["peers"].as_u64().unwrap() <= 2500, "{health}");
    let nodes = [(); 2].map(|()| start(&["--discover-every", "1", "--bootstrap", &url]));
    let ids = [1, 0].map(|it| peer_id(nodes[it].1.address));
    for ((_, node), other) in nodes.iter().zip(ids) {
        until("the honest node is known", || {
            reaches(node.address, &other).then_some(())
        });
        // Where there are many it takes a second until whoever registers is told of.
        until("the honest node is told of", || {
            let small = get(server.address, "/peers?limit=40", &[]).json();
            let is_told = small.to_string().contains(&other);
            (is_told && registered(server.address, &other)).then_some(())
        });
    }
}

/// An address of a number, each in another network.
fn somewhere(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("http://{}.{b}.{c}.1:{}", 20 + c % 80, 1000 + u32::from(a))
}

#[test]
fn unsigned_floods_from_one_address_hide_no_honest_node() {
    find_each_other_in_a_flood([127, 0, 0, 1], |number| unsigned(&somewhere(number)));
    find_each_other_in_a_flood([127, 0, 0, 1], |number| {
        unsigned(&format!("http://127.0.0.1:{}", 10_000 + number))
    });
}

#[test]
fn signed_floods_that_say_to_be_everywhere_hide_no_honest_node() {
    // Beside the honest ones, and as if it were everywhere.
    find_each_other_in_a_flood([127, 0, 0, 1], |number| signed(&somewhere(number)));
}

#[test]
fn signed_floods_from_one_address_hide_no_honest_node() {
    // Where nobody listens.
    find_each_other_in_a_flood([127, 9, 9, 9], |number| {
        signed(&format!("http://127.9.9.9:{}", 10_000 + number))
    });
    // Where somebody listens and never answers; from there, and from beside the honest ones.
    let silent = Silent::start();
    find_each_other_in_a_flood([127, 9, 9, 9], |number| signed(&silent.url(number)));
    find_each_other_in_a_flood([127, 0, 0, 1], |number| signed(&silent.url(number)));
}

#[test]
fn a_crowd_that_answers_everywhere_leaves_a_place_at_a_node() {
    let crowd = Crowd::start(10_000);
    let server = introducing(&crowd.registrations());
    let arguments = ["--discover-every", "1", "--bootstrap", &server.url()];
    let (dir, node) = start(&arguments);
    // More than one share of what is not proven: they answer, and are asked again.
    until("the crowd is known", || {
        let peers = known(node.address);
        let crowd = peers
            .iter()
            .filter(|it| Crowd::has(it["peer_id"].as_str().unwrap()));
        (crowd.count() > 300).then_some(())
    });
    let (_other, honest) = start(&["--discover-every", "1", "--peer", &node.url("")]);
    let id = peer_id(honest.address);
    let kept = dir.path().join("peer_storage/known-peers");
    until("the newcomer is known, and written down", || {
        let listed = known(node.address).iter().any(|it| it["peer_id"] == id);
        let written = fs::read_to_string(&kept).unwrap_or_default();
        (listed && written.contains(&id)).then_some(())
    });
    for node in [&node, &honest] {
        let known = known(node.address).len() as u64;
        assert!(known <= MAX_KNOWN * 3 / 4, "{known}");
    }
    let most = node.resident_memory();
    println!("{most} KiB");
    assert!(most < 80 << 10, "{most} KiB");
    node.stop();
    let alone = [
        "--discover-every",
        "3600",
        "--bootstrap",
        "http://127.0.0.1:1",
    ];
    let node = Node::start(&dir, &alone);
    until("the newcomer is known again", || {
        let mut known = known(node.address).into_iter();
        known.any(|it| it["peer_id"] == id).then_some(())
    });
}

#[test]
fn a_flood_of_registrations_is_cheap_to_answer_and_leaves_nothing_on_disk() {
    let (dir, node) = start(&["--discover-every", "1", "--peer-rate", "0"]);
    let (_other, honest) = start(&["--discover-every", "1", "--peer", &node.url("")]);
    until_knows(node.address, 1);
    let kept = dir.path().join("peer_storage/known-peers");
    let written = until("the peer is written down", || fs::metadata(&kept).ok());
    let before = node.resident_memory();
    for number in 0..3000 {
        // Some at one place, some at many, none of which answers.
        let address = match number % 2 {
            0 => "http://127.0.0.1:1".to_owned(),
            _ => format!("http://127.77.{}.{}:1", number / 250, number % 250),
        };
        let answer = post(node.address, "/api/peers", &unsigned(&address).to_string());
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["introduced"], "new");
        assert!(answer.body.len() < 2000, "{}", answer.body.len());
    }
    assert!(known(node.address).len() as u64 <= MAX_KNOWN);
    assert!(
        node.resident_memory() < before + ROOM,
        "{before} {}",
        node.resident_memory()
    );
    let (_late, late) = start(&["--discover-every", "1", "--peer", &node.url("")]);
    for other in [&honest, &late] {
        let id = peer_id(other.address);
        until("it answers", || {
            let told = post(
                node.address,
                "/api/peers",
                &unsigned("http://127.0.0.1:1").to_string(),
            );
            let told = told.json()["peers"].as_array().unwrap().clone();
            told.iter().any(|it| it["peer_id"] == id).then_some(())
        });
    }
    // The newcomer is written down, too, but not each of those who never answered.
    let now = until("the newcomer is written down", || {
        let text = fs::read_to_string(&kept).ok()?;
        text.contains(&peer_id(late.address)).then_some(text)
    });
    assert_eq!(now.matches("peer_id").count(), 2);
    assert!(fs::metadata(&kept).unwrap().ino() != written.ino());
}
