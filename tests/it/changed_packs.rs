//! Packs that somebody changes behind the back of the node: what is acknowledged after that
//! is there after a restart, and what was whole stays so.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use larder::hash::BlobHash;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

const SIZE: usize = 5_000;
const PACK: &str = "0000000001.pack";

/// What can become of the pack, given the directory of packs, and whether all entries stay
/// where the next start looks for them.
type Change = (&'static str, fn(&Path), bool);

const CHANGES: [Change; 13] = [
    ("magic", |packs| flip(packs, 0), true),
    ("version", |packs| flip(packs, 8), true),
    ("id", |packs| flip(packs, 20), true),
    ("checksum", |packs| flip(packs, 31), true),
    ("no header", |packs| overwrite(packs, 32), true),
    ("zeros", |packs| overwrite(packs, 3 * (44 + SIZE)), false),
    ("cut to nothing", |packs| cut(packs, 0), false),
    ("cut to a part of its header", |packs| cut(packs, 4), false),
    ("cut in an entry", |packs| cut(packs, 6_000), false),
    (
        "removed",
        |packs| fs::remove_file(packs.join(PACK)).unwrap(),
        false,
    ),
    (
        "a link to nothing",
        |packs| {
            fs::remove_file(packs.join(PACK)).unwrap();
            symlink("nowhere", packs.join(PACK)).unwrap();
        },
        false,
    ),
    (
        "a directory",
        |packs| {
            fs::remove_file(packs.join(PACK)).unwrap();
            fs::create_dir(packs.join(PACK)).unwrap();
        },
        false,
    ),
    (
        "a copy",
        |packs| {
            fs::copy(packs.join(PACK), packs.join("copy")).unwrap();
            fs::rename(packs.join("copy"), packs.join(PACK)).unwrap();
        },
        true,
    ),
];

fn flip(packs: &Path, at: u64) {
    let mut options = File::options();
    let file = options.read(true).write(true).open(packs.join(PACK));
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

fn overwrite(packs: &Path, len: usize) {
    let file = File::options().write(true).open(packs.join(PACK)).unwrap();
    file.write_all_at(&vec![0; len], 0).unwrap();
}

fn cut(packs: &Path, len: u64) {
    let file = File::options().write(true).open(packs.join(PACK)).unwrap();
    file.set_len(len).unwrap();
}

/// Uploads a content; its id.
fn stored(node: &Node, seed: u32) -> String {
    let name = format!("{seed}.bin");
    let file = uploaded(node.address, &name, &content(seed, SIZE));
    file["file_id"].as_str().unwrap().to_owned()
}

fn assert_whole(node: &Node, id: &str, seed: u32, what: &str) {
    let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!(answer.status, 200, "{what}: {seed}");
    assert!(answer.body == content(seed, SIZE), "{what}: {seed}");
}

/// A node with the contents 0, 1 and 2, and their ids.
fn filled(dir: &TempDir) -> (Node, Vec<String>) {
    let node = Node::start(dir, &[]);
    let ids = (0..3).map(|seed| stored(&node, seed)).collect();
    (node, ids)
}

#[test]
fn what_is_acknowledged_after_a_pack_was_changed_is_there_after_a_restart() {
    for (what, change, is_all_there) in CHANGES {
        let dir = tempfile::tempdir().unwrap();
        let (node, before) = filled(&dir);
        change(&dir.path().join("peer_storage/packs"));
        // The same content first, which may be taken for stored, and then others.
        let after = [1, 10, 11, 0, 10].map(|seed| (stored(&node, seed), seed));
        for (id, seed) in &after {
            assert_whole(&node, id, *seed, what);
        }
        assert!(node.log().contains("a new one begun"), "{what}");
        node.stop();
        let node = Node::start(&dir, &[]);
        for (id, seed) in &after {
            assert_whole(&node, id, *seed, what);
        }
        // These came again, so they are whole under their first names, too.
        for seed in 0..if is_all_there { 3 } else { 2 } {
            assert_whole(&node, &before[seed as usize], seed, what);
        }
        let id = stored(&node, 2);
        assert_whole(&node, &id, 2, what);
    }
}

#[test]
fn what_is_whole_in_a_pack_stays_so_when_its_header_is_damaged_between_two_runs() {
    for (what, change, is_all_there) in CHANGES {
        let dir = tempfile::tempdir().unwrap();
        let (node, before) = filled(&dir);
        node.stop();
        change(&dir.path().join("peer_storage/packs"));
        let node = Node::start(&dir, &[]);
        if is_all_there {
            for (seed, id) in (0..).zip(&before) {
                assert_whole(&node, id, seed, what);
            }
        }
        let after = [1, 10].map(|seed| (stored(&node, seed), seed));
        node.stop();
        let node = Node::start(&dir, &[]);
        for (id, seed) in &after {
            assert_whole(&node, id, *seed, what);
        }
        assert_whole(&node, &before[1], 1, what);
    }
}

#[test]
fn nothing_is_acknowledged_into_what_has_come_in_the_place_of_contents() {
    for (name, size, is_copy) in [
        ("packs", SIZE, false),
        ("packs", SIZE, true),
        ("blobs", 100_000, false),
        ("blobs", 100_000, true),
        ("journal", SIZE, true),
    ] {
        let what = format!("{name}, a copy: {is_copy}");
        let dir = tempfile::tempdir().unwrap();
        let (node, before) = filled(&dir);
        let place = dir.path().join("peer_storage").join(name);
        let aside = dir.path().join("aside");
        fs::rename(&place, &aside).unwrap();
        if is_copy {
            let mut copy = Command::new("cp");
            let copied = copy.arg("-a").args([&aside, &place]).status().unwrap();
            assert!(copied.success());
        } else {
            fs::create_dir(&place).unwrap();
        }
        let offer = || upload(node.address, &form(&[file("more.bin", &content(20, size))]));
        assert_eq!(offer().status, 503, "{what}");
        let ready = get(node.address, "/ready", &[]);
        assert_eq!(ready.status, 503, "{what}");
        fs::remove_dir_all(&place).unwrap();
        fs::rename(&aside, &place).unwrap();
        until(&what, || (offer().status == 200).then_some(()));
        node.stop();
        let node = Node::start(&dir, &[]);
        for (seed, id) in (0..).zip(&before) {
            assert_whole(&node, id, seed, &what);
        }
        let hash = BlobHash::of(&content(20, size));
        let more = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
        assert!(more.body == content(20, size), "{what}");
    }
}

#[test]
fn the_last_content_of_a_pack_stays_when_it_is_damaged_and_is_there_once_that_is_mended() {
    // In its header, and in its bytes.
    for at in [9, 44 + 9] {
        let dir = tempfile::tempdir().unwrap();
        let (node, ids) = filled(&dir);
        node.stop();
        let packs = dir.path().join("peer_storage/packs");
        let whole = fs::read(packs.join(PACK)).unwrap();
        let place = 32 + 2 * (44 + SIZE as u64) + at;
        flip(&packs, place);
        for command in ["verify", "verify"] {
            let output = larder(dir.path()).arg(command).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{at}");
        }
        let node = Node::start(&dir, &[]);
        let answer = get(node.address, &format!("/api/p2p/file/{}", ids[2]), &[]);
        assert_eq!(answer.refusal(), (500, "damaged".to_owned()), "{at}");
        let other = stored(&node, 30);
        node.stop();
        flip(&packs, place);
        // What is known to be damaged is gone on behind.
        let now = fs::read(packs.join(PACK)).unwrap();
        assert!(now.starts_with(&whole), "{at}");
        let node = Node::start(&dir, &[]);
        for (seed, id) in (0..).zip(&ids).chain([(30, &other)]) {
            assert_whole(&node, id, seed, "mended");
        }
    }
}

#[test]
fn a_whole_pack_that_takes_the_place_of_a_damaged_one_is_read_without_a_restart() {
    // In the header of its content, in the content, and all of it.
    for damage in [9, 44 + 9, 0] {
        let dir = tempfile::tempdir().unwrap();
        let (node, _) = filled(&dir);
        let packs = dir.path().join("peer_storage/packs");
        let (pack, backup) = (packs.join(PACK), dir.path().join("backup"));
        fs::copy(&pack, &backup).unwrap();
        node.stop();
        let node = Node::start(&dir, &[]);
        match damage {
            0 => cut(&packs, 40),
            at => flip(&packs, 32 + 44 + SIZE as u64 + at),
        }
        let blob = format!("/api/p2p/blob/{}", BlobHash::of(&content(1, SIZE)));
        let read = || get(node.address, &blob, &[]);
        assert_eq!(read().refusal(), (500, "damaged".to_owned()), "{damage}");
        fs::rename(&backup, &pack).unwrap();
        assert!(read().body == content(1, SIZE), "{damage}");
        assert_eq!(get(node.address, "/health", &[]).json()["damaged"], 0);
        stored(&node, 30);
        node.stop();
        let node = Node::start(&dir, &[]);
        for seed in [1, 30] {
            let blob = format!("/api/p2p/blob/{}", BlobHash::of(&content(seed, SIZE)));
            assert!(get(node.address, &blob, &[]).body == content(seed, SIZE));
        }
    }
}

#[test]
fn verify_calls_damaged_what_is_known_to_be_damaged_at_the_end_of_a_pack() {
    let dir = tempfile::tempdir().unwrap();
    let (node, ids) = filled(&dir);
    let packs = dir.path().join("peer_storage/packs");
    flip(&packs, 32 + 2 * (44 + SIZE as u64) + 44 + 9);
    let answer = get(node.address, &format!("/api/p2p/file/{}", ids[2]), &[]);
    assert_eq!(answer.refusal(), (500, "damaged".to_owned()));
    node.stop();
    let output = larder(dir.path()).arg("verify").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("damaged, its bytes have another hash"),
        "{said}"
    );
    assert!(!said.contains("missing"), "{said}");
    let node = Node::start(&dir, &[]);
    stored(&node, 2);
    assert_whole(&node, &ids[2], 2, "mended");
}
