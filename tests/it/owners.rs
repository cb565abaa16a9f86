//! Files that a node may not read, as after somebody has run larder once as root: what is in them
//! is not known yet, and nothing of it is given up; and root leaves no such files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::peer_id;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::common::tus::{created, look, offset, patched};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The user whom every system has beside root.
const NOBODY: u32 = 65_534;

/// A directory of a user who is not root, and may not read everything.
fn of_user() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    if is_root() {
        chown(dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    dir
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Larder, run by the user of the directory.
fn by_user(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = larder(dir);
    command.args(arguments);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn start(dir: &TempDir, arguments: &[&str]) -> Node {
    Node::spawn(dir, by_user(dir.path(), &[&["serve"], arguments].concat()))
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Takes away the right to read files, or gives it back.
fn allow(files: &[PathBuf], allowed: bool) {
    assert!(!files.is_empty());
    for file in files {
        let mode = if allowed { 0o600 } else { 0 };
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
}

#[test]
fn an_upload_whose_state_cannot_be_read_goes_on_where_it_was_once_it_can() {
    let (dir, bytes) = (of_user(), content(1, 400_000));
    let storage = dir.path().join("peer_storage");
    let node = start(&dir, &[]);
    let upload = created(node.address, bytes.len());
    let ended = created(node.address, 3);
    patched(node.address, &ended, 0, b"end");
    patched(node.address, &upload, 0, &bytes[..300_000]);
    node.stop();
    let is_state = |it: &PathBuf| it.to_string_lossy().ends_with(".state");
    let states: Vec<_> = files(&storage).into_iter().filter(is_state).collect();
    allow(&states, false);
    let node = start(&dir, &[]);
    for upload in [&upload, &ended] {
        let answer = look(node.address, upload);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "5");
    }
    // Others go on.
    let other = created(node.address, 3);
    patched(node.address, &other, 0, b"abc");
    allow(&states, true);
    assert_eq!(offset(node.address, &upload), 300_000);
    assert_eq!(offset(node.address, &ended), 3);
    node.stop();
    allow(&states, false);
    start(&dir, &[]).stop();
    allow(&states, true);
    let node = start(&dir, &[]);
    patched(node.address, &upload, 300_000, &bytes[300_000..]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["total_files"], 3, "{files}");
}

/// Long content, each of which is a file of its own.
#[test]
fn content_that_cannot_be_read_is_out_of_reach_and_not_damaged_nor_lost() {
    let (dir, bytes) = (of_user(), content(1, 400_000));
    let storage = dir.path().join("peer_storage");
    let mut node = start(&dir, &[]);
    let file = uploaded(node.address, "a.bin", &bytes);
    let text = |key: &str| file[key].as_str().unwrap().to_owned();
    let me = peer_id(node.address);
    let targets = [
        format!("/api/p2p/file/{}", text("file_id")),
        format!("/api/p2p/download/{me}/a.bin"),
        format!("/api/p2p/blob/{}", text("hash")),
        format!("/api/p2p/blob/{}/bao", text("hash")),
    ];
    let blobs = files(&storage.join("blobs"));
    for restarts in [false, true] {
        allow(&blobs, false);
        if restarts {
            node.kill();
            node = start(&dir, &[]);
        }
        for target in &targets {
            for (method, range) in [("GET", ""), ("HEAD", ""), ("GET", "Range: bytes=5-9")] {
                let lines = if range.is_empty() {
                    vec![]
                } else {
                    vec![range]
                };
                let answer = send(node.address, &head(method, target, &lines));
                let what = format!("{method} {target} {range}");
                assert_eq!(answer.status, 503, "{what}");
                assert_eq!(answer.header("retry-after"), "5", "{what}");
            }
        }
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["damaged"], 0, "{health}");
        allow(&blobs, true);
        for target in &targets {
            assert_eq!(get(node.address, target, &[]).status, 200, "{target}");
        }
    }
    allow(&blobs, false);
    // What is sent once more can be read back.
    let again = uploaded(node.address, "b.bin", &bytes);
    let again = format!("/api/p2p/file/{}", again["file_id"].as_str().unwrap());
    for target in [&targets[0], &again] {
        let read = get(node.address, target, &[]);
        assert!(read.status == 200 && read.body == bytes, "{target}");
    }
}

#[test]
fn what_was_removed_stays_removed_where_the_list_of_it_cannot_be_read_for_a_while() {
    let (of_first, dir) = (tempfile::tempdir().unwrap(), of_user());
    let first = Node::start(&of_first, &[]);
    let url = first.url("");
    let usual = ["--discover-every", "1", "--keep", "all", "--peer", &url];
    let node = start(&dir, &usual);
    let listed = |node: &Node| {
        let files = get(node.address, "/api/p2p/files", &[]).json();
        files["files"].as_array().unwrap().clone()
    };
    let keeps = |node: &Node, name: &str, bytes: &[u8]| {
        uploaded(first.address, name, bytes);
        until("the file is kept", || {
            let mut files = listed(node).into_iter();
            files.find(|it| it["original_name"] == name)
        })
    };
    let secret = keeps(&node, "secret", b"secret");
    let id = secret["file_id"].as_str().unwrap();
    let removal = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!(send(node.address, &removal).status, 200);
    let later = keeps(&node, "later", b"later");
    node.stop();
    let lists = files(&dir.path().join("peer_storage/keeping"));
    allow(&lists, false);
    let node = start(&dir, &usual);
    until("it says that it waits", || {
        let told = "the list of wanted copies cannot be read yet";
        node.log().contains(told).then_some(())
    });
    // What is removed meanwhile is remembered, too.
    let id = later["file_id"].as_str().unwrap();
    let removal = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
    assert_eq!(send(node.address, &removal).status, 200);
    assert_eq!(listed(&node).len(), 0);
    allow(&lists, true);
    keeps(&node, "last", b"last");
    assert_eq!(listed(&node).len(), 1, "{:?}", listed(&node));
}

/// Starts a node, and stops it where it serves; what it says where it does not.
fn try_to_start(dir: &TempDir) -> Option<String> {
    let mut command = by_user(dir.path(), &["serve"]);
    let mut node = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stdout = BufReader::new(node.stdout.take().unwrap());
    stdout.read_line(&mut said).unwrap();
    if !said.is_empty() {
        kill_process(Pid::from_child(&node), Signal::TERM).unwrap();
    }
    let output = node.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.success(), !said.is_empty(), "{told}");
    said.is_empty().then_some(told)
}

#[test]
fn whichever_file_cannot_be_read_nothing_is_lost_and_a_start_that_needs_it_says_what_helps() {
    if !is_root() {
        return;
    }
    let (dir, long) = (of_user(), content(2, 100_000));
    let node = start(&dir, &[]);
    let kept = [&b"short"[..], &long].map(|bytes| uploaded(node.address, "kept", bytes));
    let upload = created(node.address, 400_000);
    patched(node.address, &upload, 0, &content(3, 300_000));
    let key = peer_id(node.address);
    node.stop();
    let storage = dir.path().join("peer_storage");
    let spare = |it: &PathBuf| it.starts_with(storage.join("spare-files"));
    let mut refused = BTreeSet::new();
    for path in files(&storage).into_iter().filter(|it| !spare(it)) {
        // What the start before has made anew is of another name.
        if chown(&path, Some(0), Some(0)).is_err() {
            continue;
        }
        let name = path.strip_prefix(&storage).unwrap().to_str().unwrap();
        if let Some(told) = try_to_start(&dir) {
            let remedy = format!(
                "peer_storage/{name} belongs to root (uid 0), and nobody (uid {NOBODY}) runs this: \
                 `sudo chown -R nobody 'peer_storage'` gives all of it back"
            );
            assert!(told.contains(&remedy), "{name}: {told}");
            refused.insert(name.to_owned());
        }
        // It may have been replaced.
        let _ = chown(&path, Some(NOBODY), Some(NOBODY));
    }
    for name in ["larder.format", "larder.lock", "node.key"] {
        assert!(refused.contains(name), "{refused:?}");
    }
    let node = start(&dir, &[]);
    assert_eq!(peer_id(node.address), key);
    assert_eq!(offset(node.address, &upload), 300_000);
    for (file, bytes) in kept.iter().zip([&b"short"[..], &long]) {
        let id = file["file_id"].as_str().unwrap();
        let got = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert!(got.status == 200 && got.body == bytes, "{id}");
    }
    let health = get(node.address, "/health", &[]).json();
    assert_eq!(health["status"], "healthy", "{health}");
}

#[test]
fn root_leaves_no_files_in_the_directory_of_another_user() {
    if !is_root() {
        return;
    }
    let dir = of_user();
    let node = start(&dir, &[]);
    uploaded(node.address, "a", b"one");
    node.stop();
    let storage = dir.path().join("peer_storage");
    for arguments in [
        &["verify"][..],
        &["rebuild-index"],
        &["rebuild-index", "--skip-damage", "--forget-loss"],
    ] {
        let before = files(&storage);
        let refused = larder(dir.path()).args(arguments).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("belongs to nobody (uid 65534)"), "{told}");
        assert!(told.contains("`sudo -u nobody larder …`"), "{told}");
        assert_eq!(files(&storage), before, "nothing was touched");
        let done = by_user(dir.path(), arguments).status().unwrap();
        assert!(done.success(), "{arguments:?}");
    }
    let of_root = |it: &PathBuf| fs::metadata(it).unwrap().uid() == 0;
    assert_eq!(files(&storage).iter().find(|it| of_root(it)), None);
    start(&dir, &[]).stop();
    // A node may be run so on purpose, as in a container.
    let node = Node::start(&dir, &[]);
    assert!(node.log().contains("is another user's, and root runs this"));
    node.stop();
}

#[test]
fn a_directory_that_may_not_be_entered_is_told_as_that() {
    let dir = of_user();
    start(&dir, &[]).stop();
    let storage = dir.path().join("peer_storage");
    fs::set_permissions(&storage, Permissions::from_mode(0o000)).unwrap();
    for command in ["verify", "rebuild-index", "serve"] {
        let refused = by_user(dir.path(), &[command]).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        let expected = if command == "serve" { 1 } else { 2 };
        assert_eq!(refused.status.code(), Some(expected), "{told}");
        assert!(told.contains("Permission denied"), "{command}: {told}");
    }
}
