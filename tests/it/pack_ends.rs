//! Damage of a pack that nobody has read yet: whatever an acknowledged file needs is told to be
//! lost, remembered, and mended by the same content; a write that was cut off is none of that; and
//! what was removed stays removed.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::packs::blobs_in_packs;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::common::tree::Tree;

/// The lengths of a pack's header and of that of an entry, in bytes.
const PACK_HEADER: usize = 32;
const ENTRY_HEADER: usize = 44;
const LEN: usize = 3_000;
const COUNT: usize = 3;

fn storage(dir: &Path) -> PathBuf {
    dir.join("peer_storage")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// What a node has taken: ids and hashes, in their order in the pack.
struct Taken {
    tree: Tree,
    files: Vec<(String, String)>,
}

impl Taken {
    fn by_a_node(is_killed: bool, removed: Range<usize>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let mut files = Vec::new();
        for seed in 0..COUNT {
            let file = uploaded(node.address, "file", &bytes(seed));
            files.push((text(&file["file_id"]), text(&file["hash"])));
        }
        for (id, _) in &files[removed] {
            let request = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
            assert_eq!(send(node.address, &request).status, 200);
        }
        if is_killed {
            node.kill();
        } else {
            node.stop();
        }
        Self {
            tree: Tree::read(&storage(dir.path())),
            files,
        }
    }

    /// A copy in which the file with this name is changed.
    fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(storage(dir.path())).unwrap();
        self.tree.write(&storage(dir.path()));
        let path = storage(dir.path()).join("packs").join(name);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
        dir
    }

    fn read(&self, node: &Node, at: usize) -> crate::common::raw_http::Answer {
        get(
            node.address,
            &format!("/api/p2p/file/{}", self.files[at].0),
            &[],
        )
    }
}

fn bytes(seed: usize) -> Vec<u8> {
    content(u32::try_from(seed).unwrap(), LEN)
}

/// Where an entry begins.
fn entry(at: usize) -> usize {
    PACK_HEADER + at * (ENTRY_HEADER + LEN)
}

fn damaged(node: &Node) -> Value {
    get(node.address, "/health", &[]).json()["damaged"].clone()
}

fn verify(dir: &TempDir) -> (bool, String) {
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    (verified.status.success(), told)
}

#[test]
fn an_acknowledged_file_whose_entry_is_damaged_is_told_before_anybody_reads_it() {
    for is_killed in [false, true] {
        let taken = Taken::by_a_node(is_killed, 0..0);
        // In the magic, the length, the hash, the checksum and the content; the last entry and
        // one before it.
        let places = [0, 5, 20, 41, ENTRY_HEADER, ENTRY_HEADER + LEN - 1];
        let flips = [COUNT - 1, 1].map(|at| places.map(|place| (at, entry(at) + place, true)));
        let last = COUNT - 1;
        let cuts = [1, LEN, LEN + 1, LEN + ENTRY_HEADER - 1]
            .map(|less| (last, entry(COUNT) - less, false));
        for (at, place, is_flip) in flips.into_iter().flatten().chain(cuts) {
            let what = format!("killed: {is_killed}, entry {at}, byte {place}, flip: {is_flip}");
            let dir = taken.with("0000000001.pack", |bytes| {
                if is_flip {
                    bytes[place] ^= 8;
                } else {
                    bytes.truncate(place);
                }
            });
            let node = Node::start(&dir, &[]);
            assert_eq!(damaged(&node), 1, "{what}");
            assert!(node.log().contains(&taken.files[at].1), "{what}");
            node.stop();
            // Nothing of it shows in the pack any more.
            let node = Node::start(&dir, &[]);
            assert_eq!(damaged(&node), 1, "{what}");
            for other in 0..COUNT {
                let answer = taken.read(&node, other);
                if other == at {
                    assert_eq!(answer.refusal(), (500, "damaged".to_owned()), "{what}");
                } else {
                    assert!(answer.body == bytes(other), "{what}");
                }
            }
            uploaded(node.address, "again", &bytes(at));
            assert_eq!(damaged(&node), 0, "{what}");
            assert!(taken.read(&node, at).body == bytes(at), "{what}");
            node.stop();
            let (is_fine, told) = verify(&dir);
            assert!(is_fine, "{what}: {told}");
        }
    }
}

#[test]
fn a_write_that_was_cut_off_is_no_damage() {
    let taken = Taken::by_a_node(true, 0..0);
    for is_zeros in [false, true] {
        let dir = taken.with("0000000001.pack", |bytes| {
            let entry = bytes[entry(0)..entry(1)].to_vec();
            if is_zeros {
                bytes.extend([0; 4096]);
            } else {
                bytes.extend(&entry[..ENTRY_HEADER + 100]);
            }
        });
        let node = Node::start(&dir, &[]);
        assert_eq!(damaged(&node), 0);
        assert!(!node.log().contains("ERROR"), "{}", node.log());
        for at in 0..COUNT {
            assert!(taken.read(&node, at).body == bytes(at));
        }
        node.stop();
        let pack = fs::metadata(storage(dir.path()).join("packs/0000000001.pack"));
        assert_eq!(pack.unwrap().len(), entry(COUNT) as u64);
    }
}

#[test]
fn removed_content_stays_removed_whatever_becomes_of_what_tells_so() {
    let taken = Taken::by_a_node(false, 0..2);
    let flips = [0, 3, 7, 8, 15].map(|at| (at, true));
    for (place, is_flip) in flips
        .into_iter()
        .chain([0, 1, 7, 15].map(|len| (len, false)))
    {
        let what = format!("byte {place}, flip: {is_flip}");
        let mut damaged = Vec::new();
        let dir = taken.with("0000000001.dead", |bytes| {
            assert_eq!(bytes.len(), 16);
            if is_flip {
                bytes[place] ^= 8;
            } else {
                bytes.truncate(place);
            }
            damaged.clone_from(bytes);
        });
        let (is_fine, told) = verify(&dir);
        assert!(
            !is_fine && told.contains("0000000001.dead") || is_fine && told.contains("orphan"),
            "{what}: {told}"
        );
        let node = Node::start(&dir, &[]);
        for (_, hash) in &taken.files[..2] {
            let answer = get(node.address, &format!("/api/p2p/blob/{hash}"), &[]);
            assert_eq!(answer.status, 404, "{what}");
        }
        until(&what, || {
            // It may tell by chance of the right entries where nothing was mended yet, and it goes
            // with the pack, which is compacted soon.
            let told = fs::read(storage(dir.path()).join("packs/0000000001.dead"));
            let is_mended = told.map_or(true, |told| told.len() == 16 && told != damaged);
            (is_mended && blobs_in_packs(&storage(dir.path())).len() == 1).then_some(())
        });
        assert!(taken.read(&node, 2).body == bytes(2), "{what}");
        node.stop();
        let node = Node::start(&dir, &[]);
        node.stop();
        let told = fs::read_to_string(dir.path().join("log")).unwrap();
        assert_eq!(told.matches("0000000001.dead").count(), 1, "{what}: {told}");
        let (is_fine, told) = verify(&dir);
        assert!(is_fine, "{what}: {told}");
    }
}

/// Where it is cut between two of what it tells, nothing shows that, but nobody gets it.
#[test]
fn removed_content_that_is_stored_again_is_nobodys() {
    let taken = Taken::by_a_node(false, 0..2);
    let dir = taken.with("0000000001.dead", |bytes| bytes.truncate(8));
    let node = Node::start(&dir, &[]);
    for (_, hash) in &taken.files[..2] {
        for route in ["", "/bao"] {
            let target = format!("/api/p2p/blob/{hash}{route}");
            assert_eq!(get(node.address, &target, &[]).status, 404, "{target}");
        }
    }
    node.stop();
}

/// Nothing that comes later is taken for content that was removed, and of which the end of the pack
/// was damaged or lost: what tells of it stays.
#[test]
fn what_is_uploaded_after_removed_content_was_lost_is_there_after_the_next_starts() {
    type Change = (&'static str, fn(&mut Vec<u8>));
    const CHANGES: [Change; 6] = [
        ("its last byte", |pack| pack[entry(COUNT) - 1] ^= 1),
        ("its hash", |pack| pack[entry(COUNT - 1) + 20] ^= 1),
        ("cut by a byte", |pack| pack.truncate(entry(COUNT) - 1)),
        ("cut off", |pack| pack.truncate(entry(COUNT - 1))),
        ("two cut off", |pack| pack.truncate(entry(COUNT - 2))),
        ("zeros", |pack| pack[entry(COUNT - 1)..].fill(0)),
    ];
    for is_killed in [false, true] {
        let taken = Taken::by_a_node(is_killed, 1..COUNT);
        for (what, change) in CHANGES {
            let dir = taken.with("0000000001.pack", change);
            let mut node = Node::start(&dir, &[]);
            let mut files = vec![(taken.files[0].0.clone(), bytes(0))];
            for round in 0..2 {
                for (seed, len) in [(10, 1_000), (20, LEN), (30, 2 * LEN)] {
                    let bytes = content(seed + round, len);
                    let file = uploaded(node.address, "later", &bytes);
                    files.push((text(&file["file_id"]), bytes));
                }
                if is_killed {
                    node.kill();
                } else {
                    node.stop();
                }
                node = Node::start(&dir, &[]);
                for (id, bytes) in &files {
                    let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
                    assert_eq!(answer.status, 200, "{what}, round {round}");
                    assert!(answer.body == *bytes, "{what}, round {round}");
                }
                assert_eq!(damaged(&node), 0, "{what}");
            }
            node.stop();
            let (is_fine, told) = verify(&dir);
            assert!(is_fine, "{what}: {told}");
        }
    }
}

/// A hole of gigabytes behind what a pack has does not keep a start from its end.
#[test]
fn a_pack_that_has_become_longer_than_any_is_opened() {
    let taken = Taken::by_a_node(false, 0..0);
    for is_header_damaged in [false, true] {
        let dir = taken.with("0000000001.pack", |bytes| {
            bytes[20] ^= u8::from(is_header_damaged);
        });
        let pack = storage(dir.path()).join("packs/0000000001.pack");
        let file = fs::File::options().write(true).open(pack).unwrap();
        file.set_len(1 << 40).unwrap();
        for round in 0..2 {
            let node = Node::start(&dir, &[]);
            for at in 0..COUNT {
                assert!(taken.read(&node, at).body == bytes(at));
            }
            uploaded(node.address, "later", &content(50 + round, LEN));
            node.stop();
        }
    }
}
