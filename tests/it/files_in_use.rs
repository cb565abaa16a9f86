//! Files that the node writes in place, and that somebody else gets at: what others have made one
//! file with is left alone, and nothing is acknowledged into a file that was cut.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use crate::common;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::content::content;
use common::forms::{file, form, upload, uploaded};
use common::process::{Node, larder};
use common::raw_http::{get, head, send};
use common::tus::{created, offset, patched};
use tempfile::TempDir;

const LONG: usize = 200_000;
const SHORT: usize = 1_000;
/// The length of an upload in parts, of which half comes at first.
const PARTS: usize = 400_000;

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// The id and the content of each file that was taken.
type Kept = Vec<(String, Vec<u8>)>;

fn keep(node: &Node, kept: &mut Kept, seed: u32) {
    for len in [LONG, SHORT] {
        let bytes = content(seed, len);
        let taken = uploaded(node.address, "file", &bytes);
        kept.push((taken["file_id"].as_str().unwrap().to_owned(), bytes));
    }
}

fn remove_last(node: &Node, kept: &mut Kept) {
    let (id, _) = kept.pop().unwrap();
    let request = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!(send(node.address, &request).status, 200);
}

fn check(node: &Node, kept: &Kept, what: &str) {
    for (id, bytes) in kept {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(answer.status, 200, "{what}");
        assert!(answer.body == *bytes, "{what}");
    }
}

fn blob(storage: &Path) -> PathBuf {
    let shards = fs::read_dir(storage.join("blobs")).unwrap();
    let mut shards = shards.map(|it| fs::read_dir(it.unwrap().path()).unwrap());
    let mut blob = shards.find_map(|mut it| it.next());
    blob.take().unwrap().unwrap().path()
}

fn verify(dir: &TempDir) -> (bool, String) {
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    (verified.status.success(), told)
}

/// As a tool does that makes one file of two that are alike, or a backup that is made of links.
#[test]
fn what_has_another_name_outside_is_not_changed_there() {
    let names = [
        "larder.lock",
        "ballast",
        "journal/0000000001.journal",
        "journal/last-batch",
        "packs/0000000001.pack",
        "packs/0000000001.dead",
        "uploading/",
    ];
    for (name, is_link) in names.iter().flat_map(|it| [(*it, false), (*it, true)]) {
        let what = format!("{name}, by a symbolic link: {is_link}");
        let (dir, mut kept) = (tempfile::tempdir().unwrap(), Kept::new());
        let node = Node::start(&dir, &[]);
        keep(&node, &mut kept, 1);
        keep(&node, &mut kept, 2);
        remove_last(&node, &mut kept);
        let parts = created(node.address, PARTS);
        let bytes = content(3, PARTS);
        patched(node.address, &parts, 0, &bytes[..PARTS / 2]);
        node.stop();
        let own = match name.strip_suffix('/') {
            Some(dir_name) => {
                let id = parts.rsplit('/').next().unwrap();
                storage(&dir).join(dir_name).join(id)
            }
            None => storage(&dir).join(name),
        };
        let outside = dir.path().join("outside");
        if is_link {
            fs::rename(&own, &outside).unwrap();
            symlink(&outside, &own).unwrap();
        } else {
            fs::hard_link(&own, &outside).unwrap();
        }
        let before = fs::read(&outside).unwrap();
        for round in 0..2 {
            let node = Node::start(&dir, &[]);
            check(&node, &kept, &what);
            keep(&node, &mut kept, 10 + round);
            keep(&node, &mut kept, 20 + round);
            remove_last(&node, &mut kept);
            if round == 0 {
                assert_eq!(offset(node.address, &parts), PARTS / 2, "{what}");
                let last = patched(node.address, &parts, PARTS / 2, &bytes[PARTS / 2..]);
                kept.push((last.header("larder-file-id").to_owned(), bytes.clone()));
            }
            check(&node, &kept, &what);
            node.stop();
        }
        assert!(fs::read(&outside).unwrap() == before, "{what}");
        let (is_fine, told) = verify(&dir);
        assert!(is_fine, "{what}: {told}");
    }
}

#[test]
fn content_in_the_place_of_a_file_that_only_takes_room_stays_whole() {
    for (name, is_link) in ["ballast", "larder.lock"]
        .iter()
        .flat_map(|it| [(*it, false), (*it, true)])
    {
        let what = format!("{name}, by a symbolic link: {is_link}");
        let (dir, mut kept) = (tempfile::tempdir().unwrap(), Kept::new());
        let node = Node::start(&dir, &[]);
        keep(&node, &mut kept, 1);
        node.stop();
        let (own, blob) = (storage(&dir).join(name), blob(&storage(&dir)));
        fs::remove_file(&own).unwrap();
        if is_link {
            symlink(&blob, &own).unwrap();
        } else {
            fs::hard_link(&blob, &own).unwrap();
        }
        for _ in 0..2 {
            let node = Node::start(&dir, &[]);
            check(&node, &kept, &what);
            node.stop();
        }
        let (is_fine, told) = verify(&dir);
        assert!(is_fine, "{what}: {told}");
    }
}

#[test]
fn nothing_is_acknowledged_once_somebody_has_cut_the_journal() {
    for len in [0, 100] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        keep(&node, &mut Kept::new(), 1);
        let journal = storage(&dir).join("journal/0000000001.journal");
        let cut = File::options().write(true).open(&journal).unwrap();
        assert!(cut.metadata().unwrap().len() > len);
        cut.set_len(len).unwrap();
        for (seed, size) in [(2, SHORT), (3, LONG), (4, SHORT)] {
            let body = form(&[file("file", &content(seed, size))]);
            let answer = upload(node.address, &body);
            assert_eq!(answer.refusal(), (503, "write_failed".to_owned()), "{len}");
        }
        assert_eq!(get(node.address, "/ready", &[]).status, 503, "{len}");
        assert_eq!(cut.metadata().unwrap().len(), len, "it grew again");
        assert!(node.log().contains("somebody has cut it"), "{}", node.log());
        node.kill();
    }
}

/// The time that it takes is that of no look at all: what is read of a terabyte would take minutes.
#[test]
fn content_that_has_become_longer_is_refused_by_its_length() {
    let (dir, mut kept) = (tempfile::tempdir().unwrap(), Kept::new());
    let node = Node::start(&dir, &[]);
    keep(&node, &mut kept, 1);
    let blob = blob(&storage(&dir));
    let longer = File::options().write(true).open(blob).unwrap();
    longer.set_len(1 << 40).unwrap();
    for _ in 0..2 {
        let answer = get(node.address, &format!("/api/p2p/file/{}", kept[0].0), &[]);
        assert_eq!(answer.refusal(), (500, "damaged".to_owned()));
        assert_eq!(get(node.address, "/health", &[]).json()["damaged"], 1);
    }
    uploaded(node.address, "again", &kept[0].1);
    check(&node, &kept, "mended");
}
