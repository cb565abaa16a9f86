//! `larder verify`: what it finds, and what it puts in order by itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;

/// More than an outboard is needed for.
const LONG: usize = 200_000;

/// A storage directory that no node uses, with one file.
struct Stored {
    dir: TempDir,
    hash: String,
}

impl Stored {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let file = uploaded(node.address, "a", &content(1, LONG));
        node.stop();
        let hash = file["hash"].as_str().unwrap().to_owned();
        Self { dir, hash }
    }

    fn path(&self, dir: &str, name: &str) -> PathBuf {
        let shard = self.dir.path().join("peer_storage").join(dir);
        shard.join(&self.hash[..2]).join(name)
    }

    fn blob(&self) -> PathBuf {
        self.path("blobs", &self.hash)
    }

    fn outboard(&self) -> PathBuf {
        self.path("outboards", &self.hash)
    }

    /// What verify finds to be damaged or missing, and nothing else; its last line counts that. Of
    /// which files it is comes behind it, and is told of none that are whole.
    fn findings(&self) -> Vec<String> {
        let (lines, counts, status) = self.verified();
        let (files, lines): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|it| it.starts_with("file "));
        let not_whole = format!("(a): its content {} is not whole", self.hash);
        let is_damaged = lines.iter().any(|it| it.starts_with("blob "));
        assert_eq!(files.len(), usize::from(is_damaged), "{files:?}");
        assert!(files.iter().all(|it| it.ends_with(&not_whole)), "{files:?}");
        let problems = match lines.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        assert_eq!(counts, problems);
        assert_eq!(status, i32::from(!lines.is_empty()));
        lines
    }

    /// What verify finds to be left over, and nothing else.
    fn left_over(&self) -> Vec<String> {
        let (lines, counts, status) = self.verified();
        assert_eq!(counts, format!("0 problems, {} left over", lines.len()));
        assert_eq!(status, 0, "nothing is damaged or missing");
        lines
    }

    /// What verify tells, how it counts that, and its exit status.
    fn verified(&self) -> (Vec<String>, String, i32) {
        let output = larder(self.dir.path()).arg("verify").output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = said.lines().map(str::to_owned).collect();
        let summary = lines.pop().unwrap();
        let counts = summary.strip_prefix(&format!("1 file, 1 blob of {LONG} bytes: "));
        let status = output.status.code().unwrap();
        (lines, counts.unwrap().to_owned(), status)
    }
}

fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_outboard_is_told_once_and_removed() {
    let stored = Stored::new();
    assert_eq!(stored.findings(), [""; 0]);
    let sound = fs::read(stored.outboard()).unwrap();
    let told = format!(
        "outboard of {}: damaged, removed (the node derives it anew)",
        stored.hash
    );
    let put = |bytes: &[u8]| fs::write(stored.outboard(), bytes).unwrap();
    let damages: [&dyn Fn(); 6] = [
        &|| put(b""),
        &|| put(&sound[..sound.len() - 1]),
        &|| put(&[&sound[..], b"x"].concat()),
        &|| damage(&stored.outboard(), 0),
        &|| damage(&stored.outboard(), sound.len() / 2),
        &|| damage(&stored.outboard(), sound.len() - 1),
    ];
    for damage in damages {
        put(&sound);
        assert_eq!(stored.findings(), [""; 0]);
        damage();
        assert_eq!(stored.findings(), [told.as_str()]);
        assert!(!stored.outboard().exists());
        assert_eq!(stored.findings(), [""; 0]);
    }
}

#[test]
fn outboards_of_blobs_that_are_gone_are_told_once_and_removed() {
    let stored = Stored::new();
    let other = format!("{}{}", &stored.hash[..2], "0".repeat(62));
    let left = stored.path("outboards", &other);
    fs::copy(stored.outboard(), &left).unwrap();
    assert_eq!(
        stored.left_over(),
        ["1 outboard of blobs that are gone: removed"]
    );
    assert!(!left.exists() && stored.outboard().exists());
    assert_eq!(stored.findings(), [""; 0]);
}

#[test]
fn a_damaged_blob_is_told_and_its_outboard_is_left() {
    let stored = Stored::new();
    damage(&stored.blob(), LONG / 2);
    let told = format!("blob {}: damaged, its bytes have another hash", stored.hash);
    for _ in 0..2 {
        assert_eq!(stored.findings(), [told.as_str()]);
    }
    assert!(stored.outboard().exists());
}

#[test]
fn what_programs_read_is_json() {
    let stored = Stored::new();
    damage(&stored.blob(), LONG / 2);
    fs::write(stored.dir.path().join("peer_storage/note.txt"), b"").unwrap();
    let output = larder(stored.dir.path())
        .args(["verify", "--json"])
        .output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    let said: Vec<Value> = said
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let told = format!("blob {}: damaged, its bytes have another hash", stored.hash);
    let counts = json!({ "files": 1, "blobs": 1, "blob_bytes": LONG, "problems": 1,
        "left_over": 1 });
    let left = json!({ "left_over": "peer_storage/note.txt: does not belong there" });
    let of = said[2]["file"].as_str().unwrap();
    let not_whole = format!("(a): its content {} is not whole", stored.hash);
    assert!(of.ends_with(&not_whole), "{of}");
    let file = json!({ "file": of });
    assert_eq!(said, [left, json!({ "problem": told }), file, counts]);
}

#[test]
fn what_does_not_belong_there_is_told_and_left() {
    let stored = Stored::new();
    let storage = stored.dir.path().join("peer_storage");
    let strays = [
        storage.join("note.txt"),
        stored.path("blobs", "note.txt"),
        storage.join("blobs/note.txt"),
        storage.join("spool/note.txt"),
        stored.path("outboards", "note.txt"),
    ];
    for stray in &strays {
        fs::write(stray, b"").unwrap();
    }
    for _ in 0..2 {
        let found = stored.left_over();
        assert_eq!(found.len(), strays.len(), "{found:?}");
        for (told, stray) in found.iter().zip(&strays) {
            let path = stray.strip_prefix(stored.dir.path()).unwrap();
            assert_eq!(*told, format!("{}: does not belong there", path.display()));
        }
    }
}

#[test]
fn content_that_no_file_needs_is_left_over_and_no_damage() {
    let stored = Stored::new();
    let bytes = content(2, LONG);
    let hash = larder::hash::BlobHash::of(&bytes).to_string();
    let path = stored.dir.path().join("peer_storage/blobs");
    fs::write(path.join(&hash[..2]).join(&hash), bytes).unwrap();
    let told = format!("blob {hash}: orphan, no file needs its {LONG} bytes (the node deletes it)");
    assert_eq!(stored.left_over(), [told]);
}

#[test]
fn what_cannot_be_checked_at_all_has_a_status_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    fs::create_dir(dir.path().join("other")).unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    for (storage, told) in [
        ("peer_storage", "is in use by another larder"),
        ("other", "larder: other is no storage directory of larder\n"),
        (
            "nowhere",
            "nowhere does not exist; --storage names the directory",
        ),
        (
            "file",
            "file is no directory; --storage names the directory",
        ),
    ] {
        for verb in ["verify", "rebuild-index"] {
            let mut command = larder(dir.path());
            let output = command.args([verb, "--storage", storage]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{verb} {storage}: {said}");
            assert!(said.contains(told), "{verb} {storage}: {said}");
        }
    }
    node.stop();
}

/// It would take hours to read, and more than any limit of time that the test has.
#[test]
fn content_that_has_become_longer_is_told_without_reading_it() {
    let stored = Stored::new();
    let longer = 1 << 42;
    let file = fs::File::options().write(true).open(stored.blob());
    file.unwrap().set_len(longer).unwrap();
    let damaged = format!("blob {}: damaged, its bytes have another hash", stored.hash);
    assert_eq!(stored.findings(), [damaged]);
    // Nobody knows how long content has to be that no file needs.
    let orphan = "0".repeat(64);
    let path = stored
        .dir
        .path()
        .join("peer_storage/blobs/00")
        .join(&orphan);
    fs::File::create(path).unwrap().set_len(longer).unwrap();
    let told =
        format!("blob {orphan}: orphan, no file needs its {longer} bytes (the node deletes it)");
    let (found, counts, status) = stored.verified();
    assert_eq!(found[0], told);
    assert_eq!((&*counts, status), ("1 problem, 1 left over", 1));
    // It was remembered: what comes again takes its place.
    let node = Node::start(&stored.dir, &[]);
    let again = uploaded(node.address, "again", &content(1, LONG));
    assert_eq!(again["hash"], stored.hash.as_str());
    let path = format!("/api/p2p/file/{}", again["file_id"].as_str().unwrap());
    let answer = get(node.address, &path, &[]);
    assert!(answer.status == 200 && answer.body == content(1, LONG));
}
