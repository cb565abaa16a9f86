//! Nodes of this kind and peers of the older Python service in one network, introduced by
//! the bootstrap server of either: each serves what the other holds.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, until_knows, until_sees};
use crate::common::process::{Node, until};
use crate::common::python::Python;
use crate::common::raw_http::get;

/// Two nodes of each kind that know each other.
struct Mixed {
    nodes: [Node; 2],
    older: [Python; 2],
    _dirs: [TempDir; 2],
}

impl Mixed {
    fn start(bootstrap: SocketAddr) -> Self {
        let bootstrap = format!("http://{bootstrap}");
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let nodes = dirs.each_ref().map(|dir| start(dir, &bootstrap, &[]));
        let older = [(); 2].map(|()| Python::peer(&bootstrap));
        let of_both = nodes.iter().chain(older.iter().map(|it| &it.node));
        for node in of_both {
            until_knows(node.address, 3);
        }
        Self {
            nodes,
            older,
            _dirs: dirs,
        }
    }
}

fn start(dir: &TempDir, bootstrap: &str, more: &[&str]) -> Node {
    let usual = ["--discover-every", "1", "--bootstrap", bootstrap];
    Node::start(dir, &[&usual, more].concat())
}

/// The names of the files that were announced to an older peer.
fn announced(peer: SocketAddr) -> BTreeSet<String> {
    let status = get(peer, "/api/p2p/status", &[]).json();
    let files = status["announced_files"].as_array().unwrap().iter();
    let name = |file: &Value| file["original_name"].as_str().unwrap().to_owned();
    files.map(name).collect()
}

fn until_was_told(peer: SocketAddr, expected: &[&str]) {
    let expected = expected.iter().map(|&name| name.to_owned()).collect();
    until("the older peer is told", || {
        (announced(peer) == expected).then_some(())
    });
}

fn download(of: &str, file: &Value) -> String {
    let file_id = file["file_id"].as_str().unwrap();
    format!("/api/p2p/download/{of}/{file_id}")
}

/// Fetches a file of the older peer to be kept, and returns the id of the copy.
fn kept(node: SocketAddr, file: &Value) -> String {
    let what = json!({ "file_id": file["file_id"], "peer_id": file["peer_id"] });
    let answer = post(node, "/api/p2p/keep", &what.to_string());
    assert_eq!(answer.status, 202, "{answer:?}");
    let keep = answer.json()["keep"]["id"].as_str().unwrap().to_owned();
    let progress = format!("/api/p2p/keep/{keep}");
    until("a copy is here", || {
        let keep = &get(node, &progress, &[]).json()["keep"];
        keep["file_id"].as_str().map(str::to_owned)
    })
}

/// Everything that each of both kinds does with files of the other.
fn serve_each_other(network: &Mixed) {
    let nodes = network.nodes.each_ref().map(|it| it.address);
    let older = network.older.each_ref().map(|it| it.node.address);
    let [ours, theirs] = [content(1, 3_000_017), content(2, 2_000_003)];
    let our_file = uploaded(nodes[0], "ours", &ours);
    let their_file = uploaded(older[0], "theirs", &theirs);
    let [us, them] = [peer_id(nodes[0]), peer_id(older[0])];

    until_sees(nodes[0], &["ours", "theirs"]);
    until_sees(nodes[1], &["ours", "theirs"]);
    until_was_told(older[0], &["ours"]);
    until_was_told(older[1], &["ours", "theirs"]);

    for node in [nodes[1], older[0], older[1]] {
        let answer = get(node, &download(&us, &our_file), &[]);
        assert_eq!((answer.status, answer.body == ours), (200, true), "{node}");
    }
    for node in [nodes[0], nodes[1], older[1]] {
        let answer = get(node, &download(&them, &their_file), &[]);
        let right = answer.body == theirs;
        assert_eq!((answer.status, right), (200, true), "{node}");
    }
    let target = download(&them, &their_file);
    let answer = get(nodes[0], &target, &[]);
    assert_eq!(answer.header("larder-verified"), "no");
    let part = get(nodes[0], &target, &["Range: bytes=1000000-1000099"]);
    assert_eq!(
        (part.status, &part.body[..]),
        (206, &theirs[1_000_000..1_000_100])
    );
    assert_eq!(
        part.header("content-range"),
        "bytes 1000000-1000099/2000003"
    );

    // A copy has a hash, so from here on it is like any other file.
    let copy = kept(nodes[0], &their_file);
    let copy = format!("/api/p2p/download/{us}/{copy}");
    let answer = get(nodes[1], &copy, &[]);
    assert_eq!(answer.header("larder-verified"), "yes");
    assert_eq!((answer.status, answer.body == theirs), (200, true));
}

#[test]
fn a_mixed_network_on_the_older_bootstrap_server() {
    let server = Python::bootstrap_server();
    serve_each_other(&Mixed::start(server.node.address));
}

#[test]
fn a_mixed_network_on_our_bootstrap_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = Node::start(&dir, &["bootstrap", "--listen", "127.0.0.1:0"]);
    serve_each_other(&Mixed::start(server.address));
}

#[test]
fn a_file_that_is_not_as_long_as_its_peer_told_is_refused() {
    let server = Python::bootstrap_server();
    let older = Python::peer(&format!("http://{}", server.node.address));
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &format!("http://{}", server.node.address), &[]);
    let bytes = content(3, 100_000);
    let file = uploaded(older.node.address, "changing", &bytes);
    until_sees(node.address, &["changing"]);
    let target = download(&peer_id(older.node.address), &file);
    let longer = [&bytes[..], b"x"].concat();
    for wrong in [&bytes[..99_999], &longer, b""] {
        std::fs::write(older.stored(&file), wrong).unwrap();
        for headers in [&[][..], &["Range: bytes=0-9"], &["Range: bytes=-10"]] {
            let answer = get(node.address, &target, headers);
            assert_eq!(answer.refusal(), (502, "peer_failed".to_owned()));
        }
    }
    std::fs::write(older.stored(&file), &bytes).unwrap();
    assert_eq!(get(node.address, &target, &[]).body, bytes);
}

/// How often a file was asked of an older peer.
fn times_asked(older: &Python, file: &Value) -> usize {
    let request = format!("GET /api/p2p/file/{} ", file["file_id"].as_str().unwrap());
    older.node.log().matches(&request).count()
}

#[test]
fn what_is_kept_of_an_older_peer_is_not_fetched_again_after_a_restart() {
    let server = Python::bootstrap_server();
    let bootstrap = format!("http://{}", server.node.address);
    let older = Python::peer(&bootstrap);
    let first = uploaded(older.node.address, "first", &content(4, 100_000));
    let dir = tempfile::tempdir().unwrap();
    let node = start(&dir, &bootstrap, &["--keep", "all"]);
    let until_holds = |node: &Node, files: usize| {
        until("copies are here", || {
            let listing = get(node.address, "/api/p2p/files", &[]).json();
            (listing["total_files"] == files).then_some(())
        });
    };
    until_holds(&node, 1);
    node.kill();

    let node = start(&dir, &bootstrap, &["--keep", "all"]);
    // Everything was looked at once before what came during that was looked at.
    for (number, name) in [(2, "second"), (3, "third")] {
        uploaded(older.node.address, name, name.as_bytes());
        until_holds(&node, number);
    }
    assert_eq!(times_asked(&older, &first), 1);
}
