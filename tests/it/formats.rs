//! Storage directories of every released format, as the larder of that time left them,
//! are opened by this one: every file is there, and verify finds nothing.
//!
//! `tests/fixtures/make` made each archive: `format-2-first` with the first larder that wrote that
//! format, before it kept outboards and what the index is looked up by in places of their own.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::encoded::verified;
use crate::common::forms::uploaded;
use crate::common::http_client::http_client;
use crate::common::older::unpack_into;
use crate::common::process::{Node, larder};
use crate::common::raw_http::{head, send};

/// Each archive, and the id that belongs to the key in it.
const ARCHIVES: [(&str, &str); 3] = [
    ("format-1.tar.gz", "dcd16ee8-5c1a-8b13-bd5a-c7b78b4da9c9"),
    (
        "format-2-first.tar.gz",
        "8014b984-74f0-8f1f-9c39-121fdd8df712",
    ),
    ("format-2.tar.gz", "806c4738-c4ca-84c3-a844-d6238c38cc99"),
];

/// Name, type, description and content of the files in an archive, in their order.
fn expected() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    let small = b"small\n".to_vec();
    let bytes = "application/octet-stream";
    vec![
        ("small.txt", "text/plain", "a small file", small.clone()),
        ("large.bin", bytes, "", vec![b'z'; 100_000]),
        ("again.txt", "text/plain", "", small.clone()),
        ("empty", bytes, "", Vec::new()),
        ("../näme \"quoted\".txt", "text/plain", "", small),
    ]
}

fn unpack(archive: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let storage = dir.path().join("peer_storage");
    std::fs::create_dir(&storage).unwrap();
    unpack_into(archive, &storage);
    dir
}

async fn get(node: &Node, path: &str) -> reqwest::Response {
    http_client()
        .get(node.url(path))
        .send()
        .await
        .unwrap()
        .error_for_status()
        .unwrap()
}

#[tokio::test]
async fn every_format_opens_with_every_file() {
    for (archive, peer_id) in ARCHIVES {
        let dir = unpack(archive);
        let node = Node::start(&dir, &[]);
        expect_files(&node, peer_id).await;
        node.stop();
        expect_nothing_to_mend(&dir);
        // What was written by this larder is read by it, too.
        let node = Node::start(&dir, &[]);
        expect_files(&node, peer_id).await;
    }
}

async fn expect_files(node: &Node, peer_id: &str) {
    let listing: Value = get(node, "/api/p2p/files").await.json().await.unwrap();
    assert_eq!(listing["peer_id"], peer_id);
    let files = listing["files"].as_array().unwrap();
    assert_eq!(files.len(), expected().len());
    for (file, (name, content_type, description, content)) in files.iter().zip(expected()) {
        assert_eq!(file["original_name"], name);
        assert_eq!(file["content_type"], content_type, "{name}");
        assert_eq!(file["description"], description, "{name}");
        let id = file["file_id"].as_str().unwrap();
        let bytes = get(node, &format!("/api/p2p/file/{id}")).await.bytes();
        let bytes = bytes.await.unwrap();
        assert!(bytes == content, "{name}");
        let hash = file["hash"].as_str().unwrap();
        let answer = get(node, &format!("/api/p2p/blob/{hash}/bao")).await;
        let (size, answer) = (bytes.len() as u64, answer.bytes().await.unwrap());
        let (proven, ended) = verified(hash.parse().unwrap(), size, 0..size, [answer]);
        assert_eq!(ended, Ok(()), "{name}");
        assert!(proven == content, "{name}");
    }
    // Only the large one needs one; format 1 had none.
    assert_eq!(node.outboard_files().len(), 1);
}

fn expect_nothing_to_mend(dir: &TempDir) {
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}");
    assert_eq!(said, "5 files, 3 blobs of 100006 bytes: 0 problems\n");
}

/// Small contents of format 1 are files: an upload of one writes nothing, and with the
/// last file of it the blob goes.
#[tokio::test]
async fn blobs_of_format_1_stay_where_they_are_until_they_are_removed() {
    let dir = unpack("format-1.tar.gz");
    let node = Node::start(&dir, &[]);
    let before = node.content_files();
    uploaded(node.address, "again", b"small\n");
    assert_eq!(node.content_files(), before);
    let listing: Value = get(&node, "/api/p2p/files").await.json().await.unwrap();
    for file in listing["files"].as_array().unwrap() {
        let id = file["file_id"].as_str().unwrap();
        let request = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(send(node.address, &request).status, 200);
    }
    assert_eq!(node.content_files(), Vec::<PathBuf>::new());
    let format = dir.path().join("peer_storage/larder.format");
    assert_eq!(std::fs::read_to_string(format).unwrap(), "larder 2\n");
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    let dir = unpack("format-1.tar.gz");
    let format = dir.path().join("peer_storage/larder.format");
    std::fs::write(&format, "larder 99\n").unwrap();
    let started = larder(dir.path()).output().unwrap();
    assert_eq!(started.status.code(), Some(1));
    let said = String::from_utf8(started.stderr).unwrap();
    assert!(
        said.contains("peer_storage was written by a newer larder (format 99"),
        "{said}"
    );
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "larder 99\n");
}
