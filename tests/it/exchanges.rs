//! What nodes tell each other of who is there: each asks a few, and all know it soon.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, reaches, until_knows, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;

const PATH: &str = "/api/p2p/exchange";
/// More than a node asks in a period.
const NODES: usize = 8;

/// Nodes of which all but the first have that one as their `--peer`.
fn network() -> Vec<(TempDir, Node)> {
    let mut nodes: Vec<(TempDir, Node)> = Vec::new();
    for _ in 0..NODES {
        let first = nodes.first().map(|(_, first)| first.url(""));
        let mut arguments = vec!["--discover-every", "2"];
        if let Some(first) = &first {
            arguments.extend(["--peer", first]);
        }
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &arguments);
        nodes.push((dir, node));
    }
    for (_, node) in &nodes {
        until_knows(node.address, NODES - 1);
    }
    nodes
}

/// What a counter says.
fn counted(node: &Node, name: &str) -> u64 {
    let page = get(node.address, "/metrics", &[]);
    let page = String::from_utf8(page.body).unwrap();
    let line = page.lines().find(|it| it.starts_with(name)).unwrap();
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn all_hear_soon_who_is_killed_and_who_comes_back() {
    let mut nodes = network();
    let (dir, last) = nodes.pop().unwrap();
    let id = peer_id(last.address);
    for (_, node) in &nodes {
        until("it is there for all", || {
            reaches(node.address, &id).then_some(())
        });
    }
    last.kill();
    for (_, node) in &nodes {
        until("its end is known", || {
            (!reaches(node.address, &id)).then_some(())
        });
    }
    let first = nodes[0].1.url("");
    let back = Node::start(&dir, &["--discover-every", "2", "--peer", &first]);
    for (_, node) in &nodes {
        until("it is back", || reaches(node.address, &id).then_some(()));
    }
    uploaded(back.address, "once more", b"x");
    for (_, node) in &nodes {
        until_sees(node.address, &["once more"]);
    }
}

#[test]
fn while_nothing_changes_nobody_is_asked_what_it_holds() {
    let nodes = network();
    let [reads, exchanges] = ["larder_peer_listings_read_total", "larder_exchanges_total"];
    for (number, (_, node)) in nodes.iter().enumerate() {
        uploaded(node.address, &format!("{number}"), b"x");
    }
    let names: Vec<_> = (0..NODES).map(|it| it.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    for (_, node) in &nodes {
        until_sees(node.address, &names);
    }
    let node = &nodes[0].1;
    let pass = |exchanged: u64| {
        let before = counted(node, exchanges);
        until("some periods are over", || {
            (counted(node, exchanges) >= before + exchanged).then_some(())
        });
    };
    pass(12);
    let before = counted(node, reads);
    pass(12);
    assert_eq!(counted(node, reads), before);
}

fn number() -> String {
    "0123456789abcdef".to_owned()
}

#[test]
fn a_question_that_is_none_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let good = json!({ "peer_id": peer_id(node.address), "salt": number(), "root": number() });
    let answer = post(node.address, PATH, &good.to_string()).json();
    assert_eq!(answer["same"], false, "{answer}");
    assert_eq!(answer["self"]["peer_id"], good["peer_id"]);
    let many: Vec<Value> = (0..200).map(|_| answer["self"].clone()).collect();
    for (key, value) in [
        ("peer_id", json!("nobody")),
        ("salt", json!("0")),
        ("root", json!("0123456789ABCDEF")),
        ("there", json!("0123456789abcdeg")),
        ("untried", json!("0".repeat(16 * 5000))),
        ("buckets", json!(0)),
        ("buckets", json!(1_u64 << 40)),
        ("differing", json!("all")),
        ("peers", json!(many)),
        ("silent", json!("f")),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        let refusal = post(node.address, PATH, &bad.to_string()).refusal();
        assert_eq!(refusal, (400, "bad_exchange".to_owned()), "{key}");
    }
    let known = get(node.address, "/api/peers", &[]).json();
    assert_eq!(known["peer_count"], 0, "{known}");
}

#[test]
fn holdings_that_the_peer_has_not_signed_are_refused() {
    let dirs = [0, 1].map(|_| tempfile::tempdir().unwrap());
    let [node, other] = [0, 1].map(|at| Node::start(&dirs[at], &[]));
    let mut told = get(other.address, "/api/peers", &[]).json()["self"].take();
    assert!(told["holdings"]["version"].as_u64() > Some(0), "{told}");
    told["holdings"]["files"] = json!(7);
    let refusal = post(node.address, "/api/peers", &told.to_string()).refusal();
    assert_eq!(refusal, (400, "bad_registration".to_owned()));
    let question = json!({
        "peer_id": told["peer_id"], "salt": number(), "root": number(), "peers": [told],
    });
    assert_eq!(post(node.address, PATH, &question.to_string()).status, 200);
    let known = get(node.address, "/api/peers", &[]).json();
    assert_eq!(known["peer_count"], 0, "{known}");
}
