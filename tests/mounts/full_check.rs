//! `larder verify` of a storage directory on a full disk: it checks everything, tells what it tells
//! elsewhere, and changes nothing.
//!
//! The disk is a tmpfs that the test mounts, which takes root.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::tree::Tree;
use crate::small_disk::{SmallDisk, storage};

const LONG: usize = 2 << 20;
const SHORT: usize = 5_000;

/// What the check printed.
struct Verified {
    is_fine: bool,
    lines: Vec<String>,
    /// On standard error.
    said: String,
}

/// Checks with this directory for temporary files, in which nothing is left.
fn verified(disk: &SmallDisk, passing: &Path) -> Verified {
    let mut command = larder(disk.dir.path());
    let output = command.arg("verify").env("TMPDIR", passing).output();
    let output = output.unwrap();
    assert_eq!(fs::read_dir(passing).unwrap().count(), 0);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let printed = text(output.stdout);
    // What fills the disk is left over.
    let lines = printed
        .lines()
        .filter(|it| !it.ends_with(": does not belong there"));
    Verified {
        is_fine: output.status.success(),
        lines: lines.map(str::to_owned).collect(),
        said: text(output.stderr),
    }
}

/// A disk with some files whose node has ended, and where one of the long ones is.
fn stored(is_killed: bool) -> (SmallDisk, PathBuf) {
    let disk = SmallDisk::mount();
    let node = Node::start(&disk.dir, &[]);
    for seed in 0..20 {
        uploaded(node.address, "short", &content(seed, SHORT));
    }
    uploaded(node.address, "long", &content(50, LONG));
    let blob = uploaded(node.address, "damaged", &content(51, LONG));
    if is_killed {
        node.kill();
    } else {
        node.stop();
    }
    let hash = blob["hash"].as_str().unwrap();
    let blob = storage(&disk.dir).join("blobs").join(&hash[..2]).join(hash);
    (disk, blob)
}

#[test]
fn a_check_on_a_full_disk_checks_everything_and_changes_nothing() {
    for is_killed in [false, true] {
        let (disk, blob) = stored(is_killed);
        let passing = tempfile::tempdir().unwrap();
        let _filler = disk.fill();
        let before = Tree::read(&storage(&disk.dir));
        let found = verified(&disk, passing.path());
        assert!(found.is_fine, "{:?} {}", found.lines, found.said);
        let summary = "22 files, 22 blobs of 4294304 bytes: 0 problems, 1 left over";
        assert_eq!(found.lines, [summary]);
        let told = found.said.contains("is full, and nothing is changed there");
        assert!(told, "{}", found.said);
        assert!(
            Tree::read(&storage(&disk.dir)) == before,
            "something has changed"
        );
        // A byte in its middle is another one.
        let mut bytes = fs::read(&blob).unwrap();
        bytes[LONG / 2] ^= 1;
        fs::write(&blob, bytes).unwrap();
        let hash = blob.file_name().unwrap().to_str().unwrap();
        let damaged = format!("blob {hash}: damaged, its bytes have another hash");
        let found = verified(&disk, passing.path());
        assert!(!found.is_fine);
        assert_eq!(found.lines[0], damaged);
        // Behind it the file that it concerns, and the summary.
        assert!(found.lines[1].contains(hash), "{:?}", found.lines);
        assert_eq!(found.lines.len(), 3, "{:?}", found.lines);
    }
}

/// Nothing is concluded from what could not be looked at, and all else is.
#[test]
fn a_check_that_finds_no_room_anywhere_checks_all_but_the_lookup_database() {
    let (disk, blob) = stored(false);
    let passing = storage(&disk.dir).join("passing");
    fs::create_dir(&passing).unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    bytes[0] ^= 1;
    fs::write(&blob, bytes).unwrap();
    disk.fill();
    let found = verified(&disk, &passing);
    assert!(!found.is_fine);
    let [index, damaged, file, summary] = &found.lines[..] else {
        panic!("{:?}", found.lines);
    };
    assert!(
        index.starts_with("index: not checked: no room is left for "),
        "{index}"
    );
    assert!(
        damaged.ends_with("damaged, its bytes have another hash"),
        "{damaged}"
    );
    assert!(
        file.starts_with("file ") && file.ends_with("is not whole"),
        "{file}"
    );
    assert!(summary.starts_with("22 files, 22 blobs of "), "{summary}");
}
