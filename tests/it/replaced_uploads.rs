//! The files of an unfinished upload in whose place something else is put, while the node runs or
//! while it does not: an upload goes on with what came of it, or is given up, and is never another.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;
use crate::common::tus::{create, created, look, offset, patch, patched, path_of};

/// How many bytes of an upload come at first.
const FIRST: usize = 2_000;
/// Uploads that are kept in memory at their end, and longer ones.
const SIZES: [usize; 2] = [3_000, 400_000];

/// What is put in the place of a file.
type Replace = fn(own: &Path, other: &Path, outside: &Path);

const REPLACED: [(&str, Replace); 9] = [
    ("a link to where it was moved", |own, _, outside| {
        fs::rename(own, outside).unwrap();
        symlink(outside, own).unwrap();
    }),
    ("a link that leads nowhere", |own, _, outside| {
        fs::remove_file(own).unwrap();
        symlink(outside, own).unwrap();
    }),
    ("a link to a device", |own, _, _| {
        fs::remove_file(own).unwrap();
        symlink("/dev/null", own).unwrap();
    }),
    ("a link to another upload", |own, other, _| {
        fs::remove_file(own).unwrap();
        symlink(other, own).unwrap();
    }),
    ("another name of another upload", |own, other, _| {
        fs::remove_file(own).unwrap();
        fs::hard_link(other, own).unwrap();
    }),
    ("a copy of another upload", |own, other, outside| {
        fs::copy(other, outside).unwrap();
        fs::rename(outside, own).unwrap();
    }),
    ("a directory", |own, _, _| {
        fs::remove_file(own).unwrap();
        fs::create_dir(own).unwrap();
        fs::write(own.join("notes"), "somebody's").unwrap();
    }),
    ("a pipe", |own, _, _| {
        fs::remove_file(own).unwrap();
        mknodat(CWD, own, FileType::Fifo, Mode::RWXU, 0).unwrap();
    }),
    ("its own beginning", |own, _, _| {
        let file = fs::OpenOptions::new().write(true).open(own).unwrap();
        file.set_len(FIRST as u64 / 2 + 100).unwrap();
    }),
];

struct Upload {
    path: String,
    name: &'static str,
    bytes: Vec<u8>,
}

impl Upload {
    fn begun(node: &Node, name: &'static str, of_name: &str, seed: u32, size: usize) -> Self {
        let metadata = format!("Upload-Metadata: filename {of_name}");
        let begun = create(node.address, size, &[&metadata]);
        let path = path_of(&begun);
        let bytes = content(seed, size);
        // In two requests, so that there is a version of the state before the last.
        patched(node.address, &path, 0, &bytes[..FIRST / 2]);
        patched(node.address, &path, FIRST / 2, &bytes[FIRST / 2..FIRST]);
        Self { path, name, bytes }
    }

    fn file(&self, dir: &TempDir) -> PathBuf {
        let id = self.path.rsplit('/').next().unwrap();
        dir.path().join("peer_storage/uploading").join(id)
    }

    fn state(&self, dir: &TempDir) -> PathBuf {
        self.file(dir).with_extension("state")
    }

    /// Goes on as a client does, which asks where after each failure; tells whether it came to
    /// its end, and fails where what it has become is not its own.
    fn ends(&self, node: &Node, what: &str) -> bool {
        for _ in 0..5 {
            let looked = look(node.address, &self.path);
            if matches!(looked.status, 404 | 410) {
                return false;
            }
            assert_eq!(looked.status, 200, "{what}: {looked:?}");
            let length = looked.header("upload-length");
            assert_eq!(length, self.bytes.len().to_string(), "{what}");
            let at: usize = looked.header("upload-offset").parse().unwrap();
            let answer = patch(node.address, &self.path, at, &self.bytes[at..]);
            if answer.status == 204 {
                let file = format!("/api/p2p/file/{}", answer.header("larder-file-id"));
                let read = get(node.address, &file, &[]);
                assert_eq!(read.status, 200, "{what}: {}", node.log());
                assert!(read.body == self.bytes, "{what}");
                let told = read.header("content-disposition");
                assert!(told.contains(self.name), "{what}: {told}");
                return true;
            }
            assert!(
                [410, 500, 503].contains(&answer.status),
                "{what}: {answer:?}"
            );
        }
        panic!("{what}: it neither ends nor is given up: {}", node.log());
    }
}

/// Two uploads, of which the files of the first are replaced; tells whether that one ended.
fn first_ends(
    what: &str,
    size: usize,
    live: bool,
    replace: impl Fn(&Upload, &Upload, &TempDir),
) -> bool {
    let what = format!("{what}, {size} bytes, while it runs: {live}");
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    // "first.bin" and "second.bin".
    let first = Upload::begun(&node, "first.bin", "Zmlyc3QuYmlu", 1, size);
    let second = Upload::begun(&node, "second.bin", "c2Vjb25kLmJpbg==", 2, size + 5);
    if live {
        replace(&first, &second, &dir);
    } else {
        node.stop();
        replace(&first, &second, &dir);
        node = Node::start(&dir, &[]);
    }
    let ended = first.ends(&node, &what);
    assert!(second.ends(&node, &what), "{what}: the other is given up");
    let listed = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(listed["total_files"], if ended { 2 } else { 1 }, "{what}");
    // Others are not concerned.
    let third = created(node.address, 3);
    patched(node.address, &third, 0, b"abc");
    assert_eq!(offset(node.address, &third), 3);
    node.stop();
    let node = Node::start(&dir, &[]);
    let listed = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(listed["total_files"], if ended { 3 } else { 2 }, "{what}");
    node.stop();
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let told = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(!told.contains("blob "), "{what}: {told}");
    ended
}

#[test]
fn whatever_takes_the_place_of_what_came_an_upload_is_whole_or_given_up() {
    for (what, replace) in REPLACED {
        for (size, live) in SIZES.iter().flat_map(|it| [(*it, false), (*it, true)]) {
            let ended = first_ends(what, size, live, |own, other, dir| {
                let outside = dir.path().join("outside");
                replace(&own.file(dir), &other.file(dir), &outside);
            });
            if what.contains("moved") {
                assert!(ended, "{what}: all of it is there");
            } else if !live {
                assert!(!ended, "{what}: nothing of it is there");
            }
        }
    }
}

#[test]
fn the_state_of_one_upload_in_the_place_of_another_is_not_taken_for_that_ones() {
    let copied = |own: &Upload, other: &Upload, dir: &TempDir| {
        fs::copy(other.state(dir), own.state(dir)).unwrap();
    };
    let swapped = |own: &Upload, other: &Upload, dir: &TempDir| {
        let between = dir.path().join("between");
        fs::rename(own.state(dir), &between).unwrap();
        fs::rename(other.state(dir), own.state(dir)).unwrap();
        fs::rename(&between, other.state(dir)).unwrap();
    };
    let before_copied = |own: &Upload, other: &Upload, dir: &TempDir| {
        let before = |upload: &Upload| {
            let file = upload.file(dir);
            let id = file.file_name().unwrap();
            dir.path().join("peer_storage/uploading.before").join(id)
        };
        fs::copy(before(other), before(own)).unwrap();
        fs::write(own.state(dir), "damaged").unwrap();
    };
    for size in SIZES {
        // The version before is its own.
        assert!(first_ends("a copied state", size, false, copied));
        assert!(first_ends("swapped states", size, false, swapped));
        assert!(!first_ends(
            "a copied version before",
            size,
            false,
            before_copied
        ));
        for live in [true, false] {
            first_ends("a copied state", size, live, copied);
            let directory = |own: &Upload, _: &Upload, dir: &TempDir| {
                fs::remove_file(own.state(dir)).unwrap();
                fs::create_dir(own.state(dir)).unwrap();
            };
            assert!(first_ends("a directory for a state", size, live, directory));
        }
    }
}
