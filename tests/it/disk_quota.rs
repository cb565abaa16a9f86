//! A quota of the system that is used up is told as that: nothing is lost, nothing is left behind,
//! and all goes on once there is room.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::disk_quota::DiskQuota;
use crate::common::forms::{file, form, upload_request, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::tus::{TUS, created, offset, patch_request, patched, request};

const LONG: usize = 300_000;

struct World {
    dir: TempDir,
    quota: DiskQuota,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().canonicalize().unwrap().join("peer_storage");
        let quota = DiskQuota::of(&dir, &storage);
        Self { dir, quota }
    }

    fn start(&self) -> Node {
        let mut command = larder(&self.dir.path().canonicalize().unwrap());
        self.quota.rules(&mut command);
        command.arg("--storage");
        command.arg(self.storage());
        Node::spawn(&self.dir, command)
    }

    fn storage(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join("peer_storage")
    }

    /// Every file that was being written when something failed.
    fn left(&self) -> Vec<PathBuf> {
        let (mut left, mut dirs) = (Vec::new(), vec![self.storage()]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                let is_spooled = dir.ends_with("spool");
                let is_unfinished = path.extension().is_some_and(|it| it == "unfinished");
                if path.is_dir() {
                    dirs.push(path);
                } else if is_spooled || is_unfinished {
                    left.push(path);
                }
            }
        }
        left
    }
}

fn put(name: &str, bytes: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", bytes.len());
    let path = format!("/api/p2p/upload/{name}");
    [head("PUT", &path, &[&length]), bytes.to_vec()].concat()
}

fn assert_told(answer: &Answer, what: &str) {
    assert_eq!(answer.refusal(), (507, "disk_full".to_owned()), "{what}");
    assert!(!answer.header("retry-after").is_empty(), "{what}");
    let message = answer.json()["message"].to_string();
    assert!(message.contains("quota of the system"), "{what}: {message}");
}

/// What a node is asked that changes something, and what it is called here.
fn changes(begun: &str, gone: &str) -> [(&'static str, Vec<u8>); 7] {
    let of_form = |bytes: &[u8]| upload_request(&form(&[file("a", bytes)]), &[]);
    let create = request("POST", TUS, &["Upload-Length: 9"], b"");
    [
        ("a short form", of_form(b"short")),
        ("a long form", of_form(&content(4, LONG))),
        ("short bytes", put("a", b"bytes")),
        ("long bytes", put("a", &content(5, LONG))),
        ("an upload in parts", create),
        ("a part", patch_request(begun, 100, &content(6, 100), &[])),
        ("a removal", head("DELETE", gone, &[])),
    ]
}

/// The path of a file that is uploaded.
fn path_of(node: &Node, bytes: &[u8]) -> String {
    let file = uploaded(node.address, "file", bytes);
    format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
}

#[test]
fn a_quota_of_the_system_that_is_used_up_loses_nothing_and_leaves_nothing() {
    let world = World::new();
    let node = world.start();
    let kept = [content(1, 100), content(1, LONG), b"gone".to_vec()];
    let kept = kept.map(|bytes| (path_of(&node, &bytes), bytes));
    let [.., (gone, _)] = &kept;
    let begun = created(node.address, 1000);
    patched(node.address, &begun, 0, &content(2, 100));
    let damaged = uploaded(node.address, "damaged", &content(3, LONG));
    let hash = damaged["hash"].as_str().unwrap();
    let blob = world.storage().join("blobs").join(&hash[..2]).join(hash);
    world.quota.use_up(true);
    for (what, request) in changes(&begun, gone) {
        assert_told(&send(node.address, &request), what);
    }
    let ready = get(node.address, "/ready", &[]);
    assert_eq!(ready.refusal(), (503, "disk_full".to_owned()));
    let health = get(node.address, "/health", &[]).json();
    assert_eq!(health["writable"], false);
    // What is found damaged cannot be written down, and is known all the same.
    fs::write(&blob, content(7, LONG)).unwrap();
    let answer = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
    assert_eq!(answer.refusal(), (500, "damaged".to_owned()));
    let check = |node: &Node| {
        for (path, bytes) in &kept {
            let answer = get(node.address, path, &[]);
            assert_eq!((answer.status, &answer.body), (200, bytes));
        }
    };
    check(&node);
    until("nothing is left behind", || {
        world.left().is_empty().then_some(())
    });
    node.kill();
    world.quota.use_up(false);
    let node = world.start();
    check(&node);
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
    assert_eq!(offset(node.address, &begun), 100);
    patched(node.address, &begun, 100, &content(2, 1000)[100..]);
    uploaded(node.address, "damaged", &content(3, LONG));
    let removed = send(node.address, &head("DELETE", gone, &[]));
    assert_eq!(removed.status, 200, "{removed:?}");
    node.stop();
    verify(world.dir.path());
}

#[test]
fn a_node_goes_on_by_itself_when_a_quota_of_the_system_leaves_room_again() {
    let world = World::new();
    let node = world.start();
    let gone = path_of(&node, b"gone");
    let begun = created(node.address, 1000);
    patched(node.address, &begun, 0, &content(2, 100));
    world.quota.use_up(true);
    for (what, request) in changes(&begun, &gone) {
        assert_told(&send(node.address, &request), what);
    }
    world.quota.use_up(false);
    until("it is ready", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
    for (what, request) in changes(&begun, &gone) {
        let answer = send(node.address, &request);
        assert_eq!(answer.status / 100, 2, "{what}: {answer:?}");
    }
    node.stop();
    verify(world.dir.path());
}

fn verify(dir: &Path) {
    let verified = larder(dir).arg("verify").output().unwrap();
    let told = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{told}");
}
