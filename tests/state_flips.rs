//! One bit flipped, or an end cut off, in every small file of a running node in turn: who it is,
//! whom it knows, and what is being uploaded stay, or are told to be lost.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

mod common;

use std::fs;
use std::path::Path;

use common::content::content;
use common::forms::uploaded;
use common::peers::{peer_id, until_knows};
use common::process::{Node, larder};
use common::raw_http::get;
use common::tree::Tree;
use common::tus;
use tempfile::TempDir;

const SIZE: usize = 200_000;
const HERE: usize = 100_000;

/// A stopped node that knows a peer, and has a file and an upload that is half there.
struct Stopped {
    tree: Tree,
    upload: String,
    file: String,
    id: String,
}

fn stopped() -> Stopped {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "1"]);
    let file = uploaded(node.address, "a", &content(1, SIZE));
    let upload = tus::created(node.address, SIZE);
    tus::patched(node.address, &upload, 0, &content(2, SIZE)[..HERE]);
    let peer = tempfile::tempdir().unwrap();
    let peers = ["--discover-every", "1", "--peer", &node.url("")];
    let _peer = Node::start(&peer, &peers);
    until_knows(node.address, 1);
    let id = peer_id(node.address);
    node.stop();
    Stopped {
        tree: Tree::read(&dir.path().join("peer_storage")),
        upload,
        file: format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap()),
        id,
    }
}

fn damages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![bytes[..bytes.len() - 1].to_vec(), Vec::new()];
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 4;
        all.push(flipped);
    }
    all
}

impl Stopped {
    /// A copy in which one file has other bytes.
    fn damaged(&self, path: &Path, bytes: &[u8]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("peer_storage");
        fs::create_dir(&storage).unwrap();
        self.tree.write(&storage);
        fs::write(storage.join(path), bytes).unwrap();
        dir
    }

    /// What holds of a node on such a copy that starts.
    fn check(&self, node: &Node, what: &str) {
        assert_eq!(peer_id(node.address), self.id, "{what}");
        let file = get(node.address, &self.file, &[]);
        assert!(file.body == content(1, SIZE), "{what}");
        let told = |log: &str| log.contains(" WARN ") || log.contains("ERROR ");
        let answer = tus::look(node.address, &self.upload);
        if answer.status != 200 {
            assert!(matches!(answer.status, 404 | 410), "{what}: {answer:?}");
            assert!(told(&node.log()), "{what}");
            return;
        }
        let here: usize = answer.header("upload-offset").parse().unwrap();
        // The version before of its state knows of fewer bytes; the rest is sent once more.
        assert!(
            here == HERE || (here == 0 && told(&node.log())),
            "{what}: {here}"
        );
        let rest = &content(2, SIZE)[here..];
        let ended = tus::patched(node.address, &self.upload, here, rest);
        let file = format!("/api/p2p/file/{}", ended.header("larder-file-id"));
        let file = get(node.address, &file, &[]);
        assert!(file.body == content(2, SIZE), "{what}");
    }
}

#[test]
fn no_damage_of_a_small_file_changes_who_a_node_is_or_what_an_upload_becomes() {
    let stopped = stopped();
    let mut count = 0;
    for (path, bytes) in &stopped.tree.0 {
        let name = path.to_str().unwrap();
        let is_small = ["node.", "known-peers", "uploading", "keeping"];
        let Some(bytes) = bytes.as_ref().filter(|it| !it.is_empty()) else {
            continue;
        };
        if !is_small.iter().any(|it| name.starts_with(it)) {
            continue;
        }
        count += 1;
        for (number, damaged) in damages(bytes).into_iter().enumerate() {
            let what = format!("{name}, damage {number}");
            let dir = stopped.damaged(path, &damaged);
            let verify = larder(dir.path()).arg("verify").output().unwrap();
            let found = String::from_utf8(verify.stdout).unwrap();
            assert!(!verify.status.success(), "{what}: {found}");
            // A key of which more than a byte is lost is for its owner to put back.
            if name == "node.key" && damaged.is_empty() {
                let refused = larder(dir.path()).output().unwrap();
                let told = String::from_utf8(refused.stderr).unwrap();
                assert!(!refused.status.success(), "{what}: {told}");
                assert!(told.contains("node.key"), "{what}: {told}");
                continue;
            }
            let node = Node::start(&dir, &[]);
            stopped.check(&node, &what);
            node.stop();
        }
    }
    assert!(count >= 6, "{count}");
}
