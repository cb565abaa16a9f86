//! The scrub looks through what is stored beside contents, too: the journal, what is noted of it,
//! what is known of packs, and the lookup database.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder::blob::BlobBackend;
use larder::blob::local::{LocalBlobs, Options as BlobOptions};
use larder::disk::{Durability, RealDisk};
use larder::index::IndexBackend;
use larder::index::local::{LocalIndex, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::count;
use crate::common::older::{grow, unpack_into};
use crate::common::process::{Node, larder};
use crate::common::raw_http::{get, head, send};
use crate::common::received::keep;
use crate::common::rot::flip;

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// Has the node read everything, and returns what that has printed, and its exit status.
fn verified(dir: &TempDir, node: &Node) -> (String, i32) {
    let arguments = ["verify", "--node", &node.url("")];
    let output = larder(dir.path()).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    (said, output.status.code().unwrap())
}

fn problems(node: &Node) -> Vec<Value> {
    let status = get(node.address, "/api/p2p/status", &[]).json();
    status["scrub"]["last"]["problems"]
        .as_array()
        .unwrap()
        .clone()
}

/// Where bytes are changed, and whether the next changes of files mend that.
const FLIPS: [(&str, &[usize], bool); 4] = [
    ("journal/0000000001.journal", &[64 + 40], false),
    ("journal.reached", &[20], true),
    // Of two records in it either one does.
    ("packs/journal.reached", &[20, 56], true),
    ("journal/last-batch", &[40], true),
];

#[test]
fn what_rots_beside_the_contents_of_a_running_node_is_told_by_its_file() {
    for (file, at, is_mended) in FLIPS {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &["--scrub-every", "off"]);
        for seed in 0..20 {
            uploaded(node.address, "file", &content(seed, 3_000));
        }
        let (said, status) = verified(&dir, &node);
        assert_eq!((status, problems(&node)), (0, Vec::new()), "{said}");
        for at in at {
            flip(&storage(&dir).join(file), *at);
        }
        let (said, status) = verified(&dir, &node);
        assert_eq!(status, 1, "{file}: {said}");
        assert!(said.contains(&format!("{file}: ")), "{said}");
        let told = problems(&node);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(count(node.address, "larder_scrub_problems"), 1);
        let log = node.complaints();
        assert!(log.contains(file), "{log}");
        uploaded(node.address, "file", &content(99, 3_000));
        let (said, status) = verified(&dir, &node);
        assert_eq!(status, i32::from(!is_mended), "{file}: {said}");
    }
}

#[test]
fn a_node_that_changes_all_the_time_has_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--scrub-every", "off", "--durability", "relaxed"]);
    let address = node.address;
    let (ends, ended) = std::sync::mpsc::channel::<()>();
    let changing = std::thread::spawn(move || {
        let mut seed = 0;
        while ended.try_recv().is_err() {
            let file = uploaded(address, "file", &content(seed, 500));
            let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
            assert_eq!(send(address, &head("DELETE", &path, &[])).status, 200);
            seed += 1;
        }
        seed
    });
    for _ in 0..10 {
        let (said, status) = verified(&dir, &node);
        assert_eq!(status, 0, "{said}");
    }
    ends.send(()).unwrap();
    assert!(changing.join().unwrap() > 10);
}

#[tokio::test]
async fn what_is_known_of_packs_is_looked_through_while_they_are_used() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(BlobOptions {
        reserve: 0,
        pack_bytes: 10_000,
        ..BlobOptions::new(dir.path())
    });
    let blobs = blobs.unwrap();
    for seed in 0..30 {
        keep(&blobs, &content(seed, 1_000)).await.unwrap();
    }
    let medium = blobs.medium().unwrap();
    assert_eq!(medium.problems().unwrap(), []);
    let index = dir.path().join("packs/0000000001.index");
    flip(&index, 20);
    let found = medium.problems().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, index);
}

/// Writes zeros over the middle of the records of a lookup database.
fn spoil(index: &Path) {
    let newest = fs::read_dir(index)
        .unwrap()
        .map(|it| it.unwrap().path())
        .max();
    let path = newest.unwrap().join("db");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 8..bytes.len() * 7 / 8;
    bytes[middle].fill(0);
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_database_that_rots_while_it_is_used_is_made_anew_and_that_is_told() {
    const FILES: u32 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(storage(&dir)).unwrap();
    unpack_into("format-1.tar.gz", &storage(&dir));
    grow(&storage(&dir), FILES).await;
    let mut options = Options::new(storage(&dir), Arc::new(RealDisk), Durability::Always);
    options.cache_bytes = 1 << 20;
    let index = LocalIndex::open(&options).unwrap().index;
    assert_eq!(index.problems().await.unwrap(), []);
    spoil(&storage(&dir).join("index"));
    let found = index.problems().await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("made anew"), "{found:?}");
    assert_eq!(index.problems().await.unwrap(), []);
    assert_eq!(index.page(None, 10).await.unwrap().len(), 10);
    assert_eq!(index.totals().files, u64::from(FILES) + 5);
    index.close().await.unwrap();
}
