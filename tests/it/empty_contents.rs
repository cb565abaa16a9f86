//! A start that finds a directory of contents empty, as where its disk is not mounted: it says so,
//! puts nothing there, takes nothing for lost, and all is as before once the contents are back.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;

const LONG: usize = 70_000;
const SHORT: usize = 1_000;

/// Each directory of contents, and how long contents are that belong there and elsewhere.
const DIRECTORIES: [(&str, usize, usize); 2] = [("blobs", LONG, SHORT), ("packs", SHORT, LONG)];

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// A stopped store with a file of each length, and their targets.
fn stored(dir: &TempDir) -> [(usize, String); 2] {
    let node = Node::start(dir, &[]);
    let files = [LONG, SHORT].map(|len| {
        let file = uploaded(node.address, "file", &content(1, len));
        (
            len,
            format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap()),
        )
    });
    node.stop();
    files
}

fn assert_read(node: &Node, len: usize, target: &str) {
    let answer = get(node.address, target, &[]);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body == content(1, len));
}

#[test]
fn an_empty_directory_of_contents_is_told_and_nothing_is_put_there_or_taken_for_lost() {
    for (name, len, other) in DIRECTORIES {
        let dir = tempfile::tempdir().unwrap();
        let files = stored(&dir);
        let (place, aside) = (storage(&dir).join(name), dir.path().join("aside"));
        fs::rename(&place, &aside).unwrap();
        for is_made in [false, true, true] {
            if is_made {
                // What a start leaves of it is as empty.
                assert_eq!(fs::read_dir(&place).unwrap().count(), 0, "{name}");
            }
            let node = Node::start(&dir, &[]);
            let log = node.log();
            assert!(log.contains("is its disk mounted"), "{name}: {log}");
            let ready = get(node.address, "/ready", &[]).refusal();
            assert_eq!(ready, (503, "write_failed".to_owned()), "{name}");
            let health = get(node.address, "/health", &[]).json();
            assert_eq!(health["status"], "degraded");
            assert_eq!(health["writable"], false);
            assert_eq!(health["empty"], json!([name]));
            let refused = upload(node.address, &form(&[file("more", &content(2, len))]));
            assert_eq!(
                refused.refusal(),
                (503, "write_failed".to_owned()),
                "{name}"
            );
            for (at, target) in &files {
                if *at == other {
                    assert_read(&node, *at, target);
                    continue;
                }
                let answer = get(node.address, target, &[]);
                assert_eq!(answer.refusal(), (503, "unreadable".to_owned()), "{name}");
                assert!(!answer.header("retry-after").is_empty());
            }
            assert_eq!(get(node.address, "/health", &[]).json()["damaged"], 0);
            node.stop();
        }
        fs::remove_dir(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
        let node = Node::start(&dir, &[]);
        for (len, target) in &files {
            assert_read(&node, *len, target);
        }
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["status"], "healthy", "{health}");
        uploaded(node.address, "more", &content(2, len));
        node.stop();
        let verified = larder(dir.path()).arg("verify").output().unwrap();
        let told = String::from_utf8(verified.stdout).unwrap();
        assert!(verified.status.success(), "{told}");
    }
}

#[test]
fn where_contents_are_gone_for_good_a_check_notes_it_and_the_same_contents_mend_it() {
    for (name, len, _) in DIRECTORIES {
        let dir = tempfile::tempdir().unwrap();
        let files = stored(&dir);
        fs::remove_dir_all(storage(&dir).join(name)).unwrap();
        let verified = larder(dir.path()).arg("verify").output().unwrap();
        assert_eq!(verified.status.code(), Some(1));
        let node = Node::start(&dir, &[]);
        assert_eq!(get(node.address, "/ready", &[]).status, 200, "{name}");
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["damaged"], 1, "{name}: {health}");
        uploaded(node.address, "again", &content(1, len));
        for (len, target) in &files {
            assert_read(&node, *len, target);
        }
        assert_eq!(get(node.address, "/health", &[]).json()["damaged"], 0);
        node.stop();
    }
}

#[test]
fn a_store_that_never_had_contents_of_a_kind_starts_as_any_other() {
    for (_, len, _) in DIRECTORIES {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        uploaded(node.address, "file", &content(1, len));
        node.stop();
        let node = Node::start(&dir, &[]);
        assert_eq!(get(node.address, "/ready", &[]).status, 200);
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["status"], "healthy", "{health}");
        assert!(health["empty"].is_null());
    }
}
