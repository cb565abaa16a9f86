//! Peers that ask too often are told to come later, and lose nothing by it.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get, head, send};

/// What a limit of one request a second takes at once.
const AT_ONCE: usize = 10;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, arguments);
    (dir, node)
}

fn post_nothing(address: SocketAddr, path: &str) -> Answer {
    let lines = ["Content-Type: application/json", "Content-Length: 2"];
    send(
        address,
        &[head("POST", path, &lines), b"{}".to_vec()].concat(),
    )
}

/// The seconds to wait that a refusal names.
fn told_to_wait(answer: &Answer) -> u64 {
    assert_eq!(answer.refusal(), (429, "too_many_requests".to_owned()));
    answer.header("retry-after").parse().unwrap()
}

/// The JSON at a path of a node, asked from another address than everybody else.
fn from_elsewhere(node: &Node, path: &str) -> Option<Value> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--interface", "127.0.0.2", &node.url(path)]);
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).ok()
}

#[test]
fn one_address_has_a_limit_on_the_routes_of_peers_and_on_no_other() {
    let (_dir, node) = start(&["--peer-rate", "1"]);
    // As many as there are at least, since time goes on.
    for _ in 0..AT_ONCE / 2 {
        let answer = post_nothing(node.address, "/api/p2p/announce");
        assert_eq!(answer.refusal(), (400, "bad_announcement".to_owned()));
        let answer = post_nothing(node.address, "/api/peers");
        assert_eq!(answer.refusal(), (400, "bad_registration".to_owned()));
    }
    let refused = until("the limit is reached", || {
        let answer = get(node.address, "/api/p2p/network", &[]);
        (answer.status != 200).then_some(answer)
    });
    assert!((1..=2).contains(&told_to_wait(&refused)), "{refused:?}");
    for path in ["/health", "/api/p2p/status", "/api/p2p/files"] {
        assert_eq!(get(node.address, path, &[]).status, 200, "{path}");
    }
    uploaded(node.address, "a", b"x");
    for path in ["/api/peers", "/api/p2p/network"] {
        let answer = from_elsewhere(&node, path).unwrap();
        assert_eq!(answer["status"], "success", "{path}");
    }
    until("it is later", || {
        (get(node.address, "/api/peers", &[]).status == 200).then_some(())
    });
}

#[test]
fn the_bootstrap_server_has_the_same_limit() {
    let (_dir, server) = start(&["bootstrap", "--listen", "127.0.0.1:0", "--peer-rate", "1"]);
    for _ in 0..AT_ONCE / 2 {
        let answer = post_nothing(server.address, "/register");
        assert_eq!(answer.refusal(), (400, "bad_registration".to_owned()));
        assert_eq!(get(server.address, "/peers", &[]).status, 200);
    }
    let refused = until("the limit is reached", || {
        let answer = post_nothing(server.address, "/register");
        (answer.status != 400).then_some(answer)
    });
    assert!((1..=2).contains(&told_to_wait(&refused)), "{refused:?}");
    assert_eq!(get(server.address, "/health", &[]).status, 200);
    assert!(from_elsewhere(&server, "/peers").unwrap()["peers"].is_array());
    until("it is later", || {
        (get(server.address, "/peers", &[]).status == 200).then_some(())
    });
}

#[test]
fn behind_a_gateway_the_limit_can_be_taken_away() {
    let (_dir, node) = start(&["--peer-rate", "0"]);
    for _ in 0..10 * AT_ONCE {
        assert_eq!(get(node.address, "/api/peers", &[]).status, 200);
    }
}

#[test]
fn what_is_announced_beyond_the_limit_is_learned_later() {
    let names = |view: &Value| view["files"].as_array().map(Vec::len);
    let often = ["--discover-every", "1"];
    let (_dir, strict) = start(&[&often[..], &["--peer-rate", "1"]].concat());
    let peer = strict.url("");
    let eager = ["--peer", &peer, "--log", "debug"];
    let (_other, eager) = start(&[&often[..], &eager[..]].concat());
    until("they have met", || {
        let status = get(eager.address, "/api/p2p/status", &[]).json();
        (status["peers_discovered"] == 1).then_some(())
    });
    let mut uploads = 0;
    until("the limit is reached", || {
        uploaded(eager.address, &uploads.to_string(), b"x");
        uploads += 1;
        let log = eager.log();
        let mut lines = log.lines();
        let refused = lines.find(|line| line.contains("takes no announcement"))?;
        refused.contains("429").then_some(())
    });
    uploaded(eager.address, "beyond", b"x");
    until("the view is whole", || {
        let view = from_elsewhere(&strict, "/api/p2p/network")?;
        (names(&view)? == uploads + 1).then_some(())
    });
    // And a peer that says "later" is still a peer.
    let status = get(eager.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["peers_discovered"], 1);
}
