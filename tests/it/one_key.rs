//! Two nodes with one key, as where a storage directory is a copy of another one: both are told,
//! and so is whoever meets them. One node that moves is one.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::peers::{key_also_at, peer_id, post, reaches, until_knows, with_key_of};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let usual = ["--discover-every", "1"];
    let node = Node::start(&dir, &[&usual, arguments].concat());
    (dir, node)
}

#[test]
fn of_two_nodes_with_one_key_whoever_learns_of_the_other_tells_it() {
    let (dir, one) = start(&[]);
    let copy = with_key_of(&dir);
    let two = Node::start(&copy, &["--discover-every", "1"]);
    until("both know of the other", || {
        // Only the second hears of the first, as from whoever meets it.
        let known = get(one.address, "/api/peers", &[]).json();
        post(two.address, "/api/peers", &known["self"].to_string());
        let tells = |node: &Node, other: &Node| key_also_at(node) == other.url("");
        (tells(&one, &two) && tells(&two, &one)).then_some(())
    });
}

#[test]
fn two_nodes_with_one_key_are_told_of_by_both_and_by_those_who_see_them() {
    let (dir, one) = start(&[]);
    let copy = with_key_of(&dir);
    let two = Node::start(&copy, &["--discover-every", "1", "--peer", &one.url("")]);
    assert_eq!(peer_id(one.address), peer_id(two.address));
    let (_other, third) = start(&["--peer", &one.url(""), "--peer", &two.url("")]);
    for (node, other) in [(&one, &two), (&two, &one)] {
        until("the copy is told of", || {
            let status = get(node.address, "/api/p2p/status", &[]).json();
            (status["key_also_at"] == other.url("")).then_some(())
        });
    }
    let times = |node: &Node, what: &str| node.log().matches(what).count();
    until("the third sees two", || {
        (times(&third, "one key speaks for two addresses") > 0).then_some(())
    });
    for node in [&one, &two] {
        assert_eq!(times(node, "another node has this node's key"), 1);
    }
    let status = get(third.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["key_also_at"], Value::Null);
    assert_eq!(times(&third, "one key speaks for two addresses"), 1);
}

#[test]
fn a_copy_without_the_two_files_that_are_named_gets_a_key_of_its_own_and_keeps_it() {
    let (dir, one) = start(&[]);
    let first = peer_id(one.address);
    one.stop();
    // All of it, also what is there beside the files that are named.
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("peer_storage");
    let mut copied = Command::new("cp");
    copied
        .arg("-a")
        .arg(dir.path().join("peer_storage"))
        .arg(&to);
    assert!(copied.status().unwrap().success());
    let verified = |tree: &TempDir| {
        let verify = larder(tree.path()).arg("verify").output().unwrap();
        let told = String::from_utf8(verify.stdout).unwrap();
        assert!(verify.status.success(), "{told}");
    };
    // Without one of them it might have been lost.
    std::fs::remove_file(to.join("node.key")).unwrap();
    let refused = larder(copy.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains(&first) && told.contains("remove"), "{told}");
    std::fs::remove_file(to.join("node.key.check")).unwrap();
    verified(&copy);
    let two = Node::start(&copy, &[]);
    let own = peer_id(two.address);
    assert_ne!(own, first);
    let told = two.log();
    let told = told
        .lines()
        .find(|it| it.contains("goes on as another peer"));
    assert!(told.unwrap().contains(&first) && told.unwrap().contains(&own));
    two.stop();
    verified(&copy);
    let again = Node::start(&copy, &[]);
    assert_eq!(peer_id(again.address), own);
    let one = Node::start(&dir, &[]);
    assert_eq!(peer_id(one.address), first);
}

#[test]
fn two_nodes_with_one_key_are_told_of_by_those_who_never_ask_them_who_they_are() {
    // It introduces itself to nobody, and knows what the two tell it.
    let (_hears, hears) = start(&[]);
    let (dir, one) = start(&["--peer", &hears.url("")]);
    let (id, hears_id) = (peer_id(one.address), peer_id(hears.address));
    let answers = || reaches(one.address, &hears_id) && reaches(hears.address, &id);
    until("they know each other", || answers().then_some(()));
    let copy = with_key_of(&dir);
    // Of itself it tells the first alone, which names the other to it.
    let two = Node::start(&copy, &["--discover-every", "1", "--peer", &one.url("")]);
    until("both were heard by turns", || {
        let log = hears.log();
        log.contains("one key speaks for two addresses")
            .then_some(())
    });
    until("the copy is told of", || {
        (key_also_at(&two) == one.url("")).then_some(())
    });
}

#[test]
fn a_node_that_comes_back_elsewhere_is_not_taken_for_two() {
    let (dir, one) = start(&[]);
    let (_other, peer) = start(&["--peer", &one.url("")]);
    until_knows(peer.address, 1);
    one.kill();
    let again = Node::start(&dir, &["--discover-every", "1", "--peer", &peer.url("")]);
    let id = peer_id(again.address);
    until("it is met again", || {
        reaches(peer.address, &id).then_some(())
    });
    let status = get(again.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["key_also_at"], Value::Null);
    assert!(!peer.log().contains("one key speaks"), "{}", peer.log());
    assert!(!again.log().contains("this node's key"), "{}", again.log());
}

/// A node and one with its key, which both know of.
fn told_of() -> (Node, TempDir, Node, TempDir) {
    let (dir, one) = start(&[]);
    let copy = with_key_of(&dir);
    let two = Node::start(&copy, &["--discover-every", "1", "--peer", &one.url("")]);
    until("the copy is told of", || {
        (key_also_at(&one) == two.url("")).then_some(())
    });
    (one, dir, two, copy)
}

fn until_told_no_longer(node: &Node) {
    until("no copy is told of", || {
        key_also_at(node).is_null().then_some(())
    });
    let mut status = larder(Path::new("/"));
    let output = status.args(["status", "--node", &node.url("")]).output();
    let told = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(told.contains("version") && !told.contains("copy"), "{told}");
    let log = node.log();
    let line = "no other node has this node's key now";
    assert_eq!(log.matches(line).count(), 1, "{log}");
}

#[test]
fn a_copy_that_has_stopped_is_told_of_no_longer_and_one_that_comes_back_is() {
    let (one, _dir, two, copy) = told_of();
    let port = two.address.port().to_string();
    two.stop();
    until_told_no_longer(&one);
    let back = [
        "--discover-every",
        "1",
        "--port",
        &port,
        "--peer",
        &one.url(""),
    ];
    let two = Node::start(&copy, &back);
    until("it is told of again", || {
        (key_also_at(&one) == two.url("")).then_some(())
    });
    let told = one
        .log()
        .matches("another node has this node's key")
        .count();
    assert_eq!(told, 2);
}

#[test]
fn a_copy_that_was_killed_is_told_of_no_longer() {
    let (one, _dir, two, _copy) = told_of();
    until("the copy hears of the first", || {
        (key_also_at(&two) == one.url("")).then_some(())
    });
    two.kill();
    until_told_no_longer(&one);
}

#[test]
fn a_copy_with_a_key_of_its_own_is_told_of_no_longer_whoever_asks_whom() {
    for asks in [true, false] {
        let (one, _dir, two, copy) = told_of();
        let port = two.address.port().to_string();
        // By a crash, which says no goodbye.
        two.kill();
        for file in ["node.key", "node.key.check"] {
            std::fs::remove_file(copy.path().join("peer_storage").join(file)).unwrap();
        }
        // What a node was before it forgets.
        let _ = std::fs::remove_file(copy.path().join("peer_storage/known-peers"));
        let mut arguments = vec!["--discover-every", "1", "--port", &port];
        let first = one.url("");
        if asks {
            arguments.extend(["--peer", &first]);
        }
        let two = Node::start(&copy, &arguments);
        assert_ne!(peer_id(two.address), peer_id(one.address));
        until_told_no_longer(&one);
    }
}
