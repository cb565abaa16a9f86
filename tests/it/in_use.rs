//! A storage directory is used by one process at a time, whatever becomes of its lock file.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, start};
use crate::common::raw_http::get;

/// Whatever else opens the directory is refused, and says why.
fn assert_refused(dir: &Path, what: &str) {
    for (command, status) in [("serve", 1), ("verify", 2), ("rebuild-index", 2)] {
        let refused = larder(dir).arg(command).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(
            refused.status.code(),
            Some(status),
            "{what} {command}: {told}"
        );
        let cause = "peer_storage is in use by another larder";
        assert!(told.contains(cause), "{what} {command}: {told}");
    }
}

#[test]
fn a_lock_file_that_is_gone_lets_nobody_else_in() {
    let (dir, node) = start();
    let lock = dir.path().join("peer_storage/larder.lock");
    assert_refused(dir.path(), "there");
    fs::remove_file(&lock).unwrap();
    assert_refused(dir.path(), "removed");
    fs::write(&lock, "").unwrap();
    assert_refused(dir.path(), "replaced");
    fs::rename(&lock, dir.path().join("moved")).unwrap();
    assert_refused(dir.path(), "moved");
    let file = uploaded(node.address, "a", b"one");
    node.stop();
    let node = Node::start(&dir, &[]);
    let id = file["file_id"].as_str().unwrap();
    let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"one"[..]));
}
