//! How many files the network holds: one number, wherever it is told, that of what is listed.

use serde_json::Value;
use tempfile::TempDir;

use crate::common::commands::done;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};

/// A node, and one that keeps everything that it has.
fn two() -> [(TempDir, Node); 2] {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let one = Node::start(&dirs[0], &["--discover-every", "1"]);
    let peer = one.url("");
    let arguments = ["--discover-every", "1", "--keep", "all", "--peer", &peer];
    let two = Node::start(&dirs[1], &arguments);
    let [one_dir, two_dir] = dirs;
    [(one_dir, one), (two_dir, two)]
}

/// What a node tells of how many there are, at each place that tells it.
fn told(node: &Node) -> Vec<u64> {
    let at = |path: &str, key: &str| get(node.address, path, &[]).json()[key].as_u64().unwrap();
    let metrics = get(node.address, "/metrics", &[]).body;
    let metrics = String::from_utf8(metrics).unwrap();
    let counted = metrics
        .lines()
        .find_map(|it| it.strip_prefix("larder_network_files "));
    let dir = tempfile::tempdir().unwrap();
    let status = done(dir.path(), &node.url(""), &["status"]);
    let line = status.lines().find_map(|it| it.strip_prefix("network "));
    let words = line.unwrap().split_whitespace().next();
    vec![
        at("/api/p2p/status", "network_files"),
        at("/api/p2p/network", "total_files"),
        at("/api/p2p/network?limit=1", "total_files"),
        at("/api/p2p/network?name=a&limit=1", "total_files"),
        counted.unwrap().parse().unwrap(),
        words.unwrap().parse().unwrap(),
    ]
}

/// How many rows a node lists, a page at a time.
fn listed(node: &Node) -> u64 {
    let (mut rows, mut after) = (0, String::new());
    loop {
        let page = get(
            node.address,
            &format!("/api/p2p/network?limit=300{after}"),
            &[],
        )
        .json();
        rows += page["files"].as_array().unwrap().len() as u64;
        match &page["next"] {
            Value::String(next) => after = format!("&after={next}"),
            _ => return rows,
        }
    }
}

fn until_all_tell(nodes: &[&Node], files: u64) {
    for node in nodes {
        until("all are listed and counted", || {
            let right = |it: &u64| *it == files;
            (listed(node) == files && told(node).iter().all(right)).then_some(())
        });
    }
}

fn until_kept(node: &Node, files: u64) {
    until("the other one holds them, too", || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        (status["local_files"] == files).then_some(())
    });
}

#[test]
fn what_two_nodes_hold_counts_once_wherever_that_is_told() {
    let [(_one_dir, one), (_two_dir, two)] = two();
    until_all_tell(&[&one, &two], 0);
    let file = uploaded(one.address, "a", b"x");
    until_kept(&two, 1);
    until_all_tell(&[&one, &two], 1);
    // Of another name, another content, and the same twice.
    uploaded(one.address, "b", b"x");
    uploaded(two.address, "a", b"y");
    uploaded(one.address, "a", b"x");
    until_all_tell(&[&one, &two], 3);
    let id = file["file_id"].as_str().unwrap();
    let removed = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!(send(one.address, &removed).status, 200);
    until_all_tell(&[&one, &two], 3);
    // Whoever is gone takes what only it holds along, and the rest counts on.
    let before = listed(&one);
    two.stop();
    until("the other one is gone", || {
        let status = get(one.address, "/api/p2p/status", &[]).json();
        (status["peers_reachable"] == 0).then_some(())
    });
    assert_eq!(told(&one), vec![before; 6]);
}

#[test]
fn more_than_are_counted_at_once_are_counted_once_all_the_same() {
    const FILES: u32 = 510;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let usual = ["--discover-every", "1", "--durability", "relaxed"];
    let one = Node::start(&dirs[0], &usual);
    let two = Node::start(&dirs[1], &[&usual[..], &["--peer", &one.url("")]].concat());
    for number in 0..FILES {
        for node in [&one, &two] {
            uploaded(node.address, &format!("a {number}"), &number.to_le_bytes());
        }
    }
    until_all_tell(&[&one, &two], u64::from(FILES));
    // What comes is told at once, and does not wait for the next count.
    uploaded(two.address, "a last one", b"last");
    let told = told(&two);
    assert!(
        told.iter().all(|it| *it == u64::from(FILES) + 1),
        "{told:?}"
    );
}
