//! Six private nodes of one network: they exchange what they hold, keep copies, and are whole again
//! after crashes.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload_request};
use crate::common::member_network::{Network, dirs, member};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};

const BEARER: &str = "Authorization: Bearer 0123456789abcdef";
const PRIVATE: [&str; 3] = ["--private", "--token", "0123456789abcdef"];

fn asked(node: &Node, path: &str) -> Value {
    get(node.address, path, &[BEARER]).json()
}

fn put(node: &Node, name: &str, bytes: &[u8]) -> Value {
    let upload = upload_request(&form(&[file(name, bytes)]), &[BEARER]);
    send(node.address, &upload).json()["file"].clone()
}

/// What a node reads of a content, wherever that is.
fn read(node: &Node, hash: &str) -> Vec<u8> {
    let answer = get(node.address, &format!("/api/p2p/blob/{hash}"), &[BEARER]);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The files of the network that a node sees.
fn seen(node: &Node) -> Vec<Value> {
    let files = asked(node, "/api/p2p/network")["files"].clone();
    files.as_array().unwrap().clone()
}

fn until_sees_all(nodes: &[Node], names: &[String]) {
    for node in nodes {
        until("all files are seen", || {
            let files = seen(node);
            let sees = |name: &String| files.iter().any(|it| it["original_name"] == **name);
            (files.len() == names.len() && names.iter().all(sees)).then_some(())
        });
    }
}

/// Has a node keep a copy.
fn keep(node: &Node, hash: &str) {
    let wanted = json!({ "hash": hash }).to_string();
    let length = format!("Content-Length: {}", wanted.len());
    let lines = ["Content-Type: application/json", &length, BEARER];
    let request = [head("POST", "/api/p2p/keep", &lines), wanted.into()].concat();
    assert_eq!(send(node.address, &request).status, 202);
    until("a copy is here", || {
        let keep = asked(node, &format!("/api/p2p/keep/{hash}"))["keep"].clone();
        (keep["state"] == "kept").then_some(())
    });
}

/// Six members, each of which was told of the one before it alone.
fn six(network: &Network, dirs: &[TempDir; 6]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for dir in dirs {
        let known = nodes.last().map(|it| it.url(""));
        let known: Vec<_> = known.iter().map(String::as_str).collect();
        nodes.push(network.member(dir, &known, &PRIVATE));
    }
    for node in &nodes {
        until("all members are met", || {
            let status = asked(node, "/api/p2p/status");
            (status["peers_discovered"] == 5).then_some(())
        });
    }
    nodes
}

#[test]
fn six_private_members_exchange_keep_and_heal() {
    let (network, dirs) = (Network::new(), dirs::<6>());
    let mut nodes = six(&network, &dirs);
    let mut names: Vec<_> = (0..6).map(|it| format!("file {it}")).collect();
    let contents = [0, 1, 2, 3, 4, 5].map(|it| content(it, 200_000));
    let put_all = nodes.iter().zip(&names).zip(&contents);
    let hashes = put_all.map(|((node, name), bytes)| put(node, name, bytes)["hash"].clone());
    let hashes: Vec<_> = hashes.map(|it| it.as_str().unwrap().to_owned()).collect();
    until_sees_all(&nodes, &names);
    for (at, hash) in hashes.iter().enumerate() {
        let by = &nodes[(at + 3) % 6];
        assert!(read(by, hash) == contents[at], "{at}");
    }
    // Of who crashes the file is there, where another one has kept it.
    keep(&nodes[5], &hashes[0]);
    let (address, crashed) = (nodes[0].address, nodes.remove(0));
    crashed.kill();
    assert!(read(&nodes[1], &hashes[0]) == contents[0]);
    names.push("meanwhile".to_owned());
    put(&nodes[0], "meanwhile", b"x");
    until_sees_all(&nodes, &names);
    let listen = ["--listen", &address.to_string()];
    let peers = [nodes[4].url("")];
    let back = member(&dirs[0], &[&peers[0]], &[&PRIVATE[..], &listen].concat());
    nodes.insert(0, back);
    until_sees_all(&nodes, &names);
    assert!(read(&nodes[3], &hashes[0]) == contents[0]);
    // Who stops says so to all whom it knows to be there, and is missed at once.
    for node in &nodes {
        until("who is back is met", || {
            let status = asked(node, "/api/p2p/status");
            (status["peers_reachable"] == 5).then_some(())
        });
    }
    nodes.remove(2).stop();
    for node in &nodes {
        let files = seen(node);
        let gone = files.iter().find(|it| it["original_name"] == "file 2");
        assert_eq!(gone.unwrap()["reachable"], false);
    }
}
