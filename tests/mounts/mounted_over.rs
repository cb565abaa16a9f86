//! Something is mounted over a directory of the store while the node runs: what is acknowledged is
//! there when that is gone again.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // A test fails by panicking.

use crate::common;
use crate::mounted::Mounted;

use std::fs;

use common::content::content;
use common::forms::{file, form, upload, uploaded};
use common::process::{Node, until};
use common::raw_http::get;
use common::tus::{create, look, patch, path_of};
use tempfile::TempDir;

const LONG: usize = 200_000;
const SHORT: usize = 1_000;

/// Mounts an empty file system, or another directory of the same one. Some directories are made
/// when something has to go into them.
fn mounted(dir: &TempDir, name: &str, is_bound: bool) -> Mounted {
    let place = dir.path().join("peer_storage").join(name);
    if !is_bound {
        return Mounted::tmpfs("mode=0700", &place);
    }
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    Mounted::by(&["--bind", other.to_str().unwrap()], &place)
}

const DIRECTORIES: [&str; 10] = [
    "packs",
    "blobs",
    "spool",
    "journal",
    "uploading",
    "outboards",
    "damaged",
    "keeping",
    "index",
    "",
];

/// Uploads what a node takes: in each way, short and long. The id and the content of each file.
fn taken(node: &Node) -> Vec<(String, Vec<u8>)> {
    let mut taken = Vec::new();
    for (seed, len) in [(10, SHORT), (11, LONG), (12, SHORT)] {
        let bytes = content(seed, len);
        let answer = upload(node.address, &form(&[file("file", &bytes)]));
        if answer.status == 200 {
            let id = answer.json()["file"]["file_id"]
                .as_str()
                .unwrap()
                .to_owned();
            taken.push((id, bytes));
        }
    }
    taken
}

/// Begins an upload in parts: where it goes on, and how much of it was acknowledged.
fn begun(node: &Node) -> Option<(String, usize)> {
    let answer = create(node.address, LONG, &[]);
    if answer.status != 201 {
        return None;
    }
    let upload = path_of(&answer);
    let patched = patch(node.address, &upload, 0, &content(20, SHORT));
    Some((upload, if patched.status == 204 { SHORT } else { 0 }))
}

#[test]
fn what_is_acknowledged_while_something_is_mounted_over_a_directory_is_not_lost() {
    for (name, is_bound) in DIRECTORIES
        .iter()
        .flat_map(|it| [(*it, false), (*it, true)])
    {
        for is_used in [false, true] {
            println!("over {name:?}, bound: {is_bound}, used before: {is_used}");
            let dir = tempfile::tempdir().unwrap();
            let node = Node::start(&dir, &[]);
            if is_used {
                uploaded(node.address, "before", &content(1, SHORT));
                uploaded(node.address, "before", &content(2, LONG));
                assert!(begun(&node).is_some());
            }
            let over = mounted(&dir, name, is_bound);
            let files = taken(&node);
            let parts = begun(&node);
            if ["packs", "journal", "spool", "uploading", ""].contains(&name) {
                until("it is not ready", || {
                    (get(node.address, "/ready", &[]).status == 503).then_some(())
                });
            }
            node.kill();
            drop(over);
            let node = Node::start(&dir, &[]);
            for (id, bytes) in files {
                let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
                assert_eq!(answer.status, 200, "{} bytes are lost", bytes.len());
                assert!(answer.body == bytes);
            }
            if let Some((upload, acknowledged)) = parts {
                let found = look(node.address, &upload);
                assert_eq!(found.status, 200, "{found:?}");
                let offset: usize = found.header("upload-offset").parse().unwrap();
                assert!(offset >= acknowledged, "{offset}");
            }
        }
    }
}

#[test]
fn a_node_goes_on_when_what_was_mounted_over_a_directory_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let over = mounted(&dir, "packs", false);
    assert_eq!(taken(&node).len(), 1, "only the long one has a place");
    assert_eq!(fs::read_dir(&over.0).unwrap().count(), 0);
    drop(over);
    assert_eq!(taken(&node).len(), 3);
    until("it is ready", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
}
