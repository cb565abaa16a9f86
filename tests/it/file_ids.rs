//! What the id of a file means: what its holder says, and no peer that claims the same id.

use std::fs;

use larder::hash::BlobHash;
use larder::record::FileId;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::commands::{done, failed};
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie};
use crate::common::peers::{held, post, until_held, until_sees};
use crate::common::process::Node;
use crate::common::raw_http::get;

/// The id of a peer without a key.
const UNSIGNED: &str = "00000000-0000-4000-8000-000000000001";
const HONEST: &[u8] = b"honest small";
const FORGED: &[u8] = b"forged small";

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[&["--discover-every", "1"], arguments].concat());
    (dir, node)
}

fn id_of(file: &Value) -> &str {
    file["file_id"].as_str().unwrap()
}

/// A peer without a key that lists these files at once, as older peers do, and sends forged bytes
/// whatever is asked for.
fn unsigned(files: Vec<Value>) -> Canned {
    Canned::start(move |address, request| {
        if request.starts_with("GET /api/p2p/files") {
            let (listed, count) = (json!(files), files.len());
            let listing = json!({ "status": "success", "peer_id": UNSIGNED, "files": listed,
                "file_count": count });
            Reply::Json(listing.to_string())
        } else if request.contains(" /api/peers") {
            let itself = json!({ "peer_id": UNSIGNED, "address": format!("http://{address}"),
                "timestamp": "" });
            Reply::Json(json!({ "peers": [], "self": itself }).to_string())
        } else {
            Reply::Json(String::from_utf8(FORGED.to_vec()).unwrap())
        }
    })
}

/// That this id means what its honest holder says, for every command and route of the node.
fn means_the_honest_file(node: &Node, file: &Value) {
    let (id, here) = (id_of(file), tempfile::tempdir().unwrap());
    let found = get(node.address, &format!("/api/p2p/network?id={id}"), &[]).json();
    let found = found["files"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    for key in [
        "original_name",
        "hash",
        "size",
        "content_type",
        "uploaded_at",
    ] {
        assert_eq!(found[0][key], file[key], "{key}");
    }
    let name = file["original_name"].as_str().unwrap();
    let listed = held(node.address);
    let listed: Vec<_> = listed
        .iter()
        .filter(|it| it["original_name"] == name)
        .collect();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["hash"], file["hash"]);
    let shown = done(here.path(), &node.url(""), &["ls", "--network"]);
    assert_eq!(shown.matches(name).count(), 1, "{shown}");
    for (number, wanted) in [id, name].iter().enumerate() {
        let output = number.to_string();
        done(here.path(), &node.url(""), &["get", wanted, "-o", &output]);
        assert_eq!(fs::read(here.path().join(output)).unwrap(), HONEST);
    }
    let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!((answer.status, &answer.body[..]), (200, HONEST));
    let kind = file["content_type"].as_str();
    let kind = kind.unwrap_or("application/octet-stream");
    assert_eq!(answer.header("content-type"), kind);
    assert!(answer.header("content-disposition").contains(name));
    for wanted in [id, name] {
        done(here.path(), &node.url(""), &["keep", wanted]);
    }
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap();
    let copies: Vec<_> = files
        .iter()
        .filter(|it| it["original_name"] == name)
        .collect();
    assert_eq!(copies.len(), 1, "{files:?}");
    assert_eq!(copies[0]["hash"], file["hash"]);
    assert_eq!(copies[0]["content_type"], file["content_type"]);
}

#[test]
fn no_peer_without_a_key_says_what_the_id_of_another_means_or_how_its_file_is_shown() {
    let hashes = [None, Some(BlobHash::of(FORGED).to_string())];
    for (hash, name) in hashes
        .iter()
        .flat_map(|it| [(it, "report.txt"), (it, "forged.txt")])
    {
        let (_dir, honest) = start(&[]);
        let file = uploaded(honest.address, "report.txt", HONEST);
        let as_claimed = |id: &str, name: &str, hash: Value| {
            json!({ "file_id": id, "original_name": name, "size": HONEST.len(), "hash": hash,
                "content_type": "text/html", "uploaded_at": "2001-01-01T00:00:00" })
        };
        let lower = "00000000-0000-4000-8000-0000000000ab";
        let last = "ffffffff-0000-4000-8000-0000000000ac";
        let peer = unsigned(vec![
            as_claimed(lower, "report.txt", file["hash"].clone()),
            as_claimed(id_of(&file), name, json!(hash)),
            as_claimed(id_of(&file), "renamed.html", file["hash"].clone()),
            as_claimed(last, "last.txt", json!(BlobHash::of(b"last").to_string())),
        ]);
        let (_other, node) = start(&["--peer", &honest.url(""), "--peer", &peer.url()]);
        until_held(node.address, &file["hash"], 2);
        until_sees(node.address, &["report.txt", "last.txt"]);
        let files = held(node.address);
        let rows: Vec<_> = files
            .iter()
            .filter(|it| it["hash"] == file["hash"])
            .collect();
        assert_eq!(rows.len(), 1, "{files:?}");
        for key in ["file_id", "original_name", "content_type", "uploaded_at"] {
            assert_eq!(rows[0][key], file[key], "{key}");
        }
        means_the_honest_file(&node, &file);
        // Nor to the holder itself, nor once there is a copy with an id of its own.
        post(
            honest.address,
            "/api/peers",
            &json!({ "peer_id": UNSIGNED,
            "address": peer.url(), "timestamp": "" })
            .to_string(),
        );
        until_sees(honest.address, &["report.txt", "last.txt"]);
        until_held(honest.address, &file["hash"], 3);
        means_the_honest_file(&honest, &file);
        means_the_honest_file(&node, &file);
    }
}

#[test]
fn where_signed_holders_disagree_about_an_id_it_is_refused_with_the_hashes() {
    let (_dir, honest) = start(&[]);
    let file = uploaded(honest.address, "report.txt", HONEST);
    let id: FileId = id_of(&file).parse().unwrap();
    let files = [(id, FORGED), (id.after().unwrap(), b"last")];
    let other = Liar::under(files, Lie::TRUTH);
    let (_other, node) = start(&["--peer", &honest.url("")]);
    for node in [&node, &honest] {
        let met = other.meet(node.address);
        assert_eq!(met.status, 200, "{met:?}");
        until_held(node.address, &other.file(1).1, 1);
    }
    until_held(node.address, &file["hash"], 1);
    let hashes = [&file["hash"], &other.file(0).1].map(|it| it.as_str().unwrap().to_owned());
    let (here, id) = (tempfile::tempdir().unwrap(), id_of(&file));
    for command in ["get", "keep"] {
        let (status, told) = failed(here.path(), &node.url(""), &[command, id]);
        assert_eq!(status, 4, "{told}");
        assert!(told.contains("ambiguous"), "{told}");
        assert!(hashes.iter().all(|it| told.contains(it)), "{told}");
    }
    let read = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    let kept = post(
        node.address,
        "/api/p2p/keep",
        &json!({ "file_id": id }).to_string(),
    );
    for answer in [read, kept] {
        let told = answer.json()["message"].as_str().unwrap().to_owned();
        assert_eq!(answer.refusal(), (409, "ambiguous_file".to_owned()));
        assert!(hashes.iter().all(|it| told.contains(it)), "{told}");
    }
    // Who holds it itself knows, and a hash means one content.
    means_the_honest_file(&honest, &file);
    for (hash, bytes) in hashes.iter().zip([HONEST, FORGED]) {
        done(here.path(), &node.url(""), &["get", hash, "-o", hash]);
        assert_eq!(fs::read(here.path().join(hash)).unwrap(), bytes);
    }
}

#[test]
fn every_id_of_files_that_are_one_row_is_found_through_any_node() {
    let (_first_dir, first) = start(&[]);
    let (_second_dir, second) = start(&["--peer", &first.url("")]);
    let nodes = [first, second];
    let files: Vec<_> = nodes
        .iter()
        .map(|node| uploaded(node.address, "both.txt", HONEST))
        .collect();
    let (_dir, third) = start(&["--peer", &nodes[0].url(""), "--peer", &nodes[1].url("")]);
    until_held(third.address, &files[0]["hash"], 2);
    let shown = held(third.address);
    assert_eq!(shown.len(), 1, "{shown:?}");
    for file in &files {
        means_the_honest_file(&third, file);
    }
    // Those that hold one of them see the other's through themselves, too.
    until_held(nodes[0].address, &files[0]["hash"], 3);
    means_the_honest_file(&nodes[0], &files[1]);
}
