//! The page in a browser, headless Chromium, as people use it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

mod common;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use common::content::content;
use common::forms::uploaded;
use common::npm;
use common::peers::until_sees;
use common::process::{Node, until};
use common::raw_http::get;
use larder::hash::BlobHash;
use tempfile::TempDir;

const HOSTILE: &str = "<img src=x onerror=alert(1)>";

/// Runs a script of `tests/browser` against the page of a node.
fn run(script: &str, node: &Node, arguments: &[&dyn AsRef<OsStr>]) {
    ended(started(script, node, arguments));
}

/// Starts such a script.
fn started(script: &str, node: &Node, arguments: &[&dyn AsRef<OsStr>]) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let screenshots = root.join("target/screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let mut command = npm::node();
    command.arg(root.join("tests/browser").join(script));
    command.arg(node.url("/")).args(arguments);
    command.env("SCREENSHOTS", screenshots);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for a script, which must find everything as it expects it.
fn ended(script: Child) {
    let output = script.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// A directory with a file.
fn with_file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

#[test]
fn a_file_is_uploaded_with_progress_and_downloaded_as_it_was() {
    let bytes = content(1, 16 << 20);
    let (dir, path) = with_file("a na\u{ef}ve file.bin", &bytes);
    let node = Node::start(&dir, &[]);
    let downloaded = dir.path().join("downloaded");
    run("upload.mjs", &node, &[&path, &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
}

#[test]
fn an_upload_goes_on_after_a_pause_and_after_a_reload() {
    let bytes = content(2, 64 << 20);
    let (dir, path) = with_file("large.bin", &bytes);
    let node = Node::start(&dir, &[]);
    run("resume.mjs", &node, &[&path]);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 1);
    let id = files["files"][0]["file_id"].as_str().unwrap();
    let stored = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert!(stored.body == bytes);
}

#[test]
fn an_upload_goes_on_by_itself_after_the_node_was_killed() {
    let bytes = content(10, 32 << 20);
    let (dir, path) = with_file("large.bin", &bytes);
    let node = Node::start(&dir, &[]);
    let script = started("killed.mjs", &node, &[&path]);
    until("a part has come", || {
        let entries = std::fs::read_dir(dir.path().join("peer_storage/uploading")).ok()?;
        let mut lengths = entries.filter_map(|it| Some(it.ok()?.metadata().ok()?.len()));
        lengths.find(|len| *len > 4 << 20)
    });
    let address = node.address.to_string();
    node.kill();
    let node = Node::start(&dir, &["--listen", &address]);
    ended(script);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["file_count"], 1);
    assert_eq!(files["files"][0]["hash"], BlobHash::of(&bytes).to_string());
}

#[test]
fn a_name_that_is_markup_is_text_wherever_it_is_shown() {
    let (dir, path) = with_file(HOSTILE, b"harmless");
    let node = Node::start(&dir, &[]);
    run("hostile.mjs", &node, &[&path]);
}

#[test]
fn files_of_other_nodes_are_found_downloaded_kept_and_deleted() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::start(&dirs[0], &[]);
    let other = Node::start(&dirs[1], &["--peer", &node.url("")]);
    let bytes = content(3, 3 << 20);
    uploaded(other.address, "over there.bin", &bytes);
    uploaded(other.address, HOSTILE, b"harmless");
    until_sees(node.address, &["over there.bin", HOSTILE]);
    let downloaded = dirs[0].path().join("downloaded");
    run("network.mjs", &node, &[&"over there.bin", &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
    // The copy there is untouched.
    assert_eq!(common::peers::held(other.address).len(), 2);
}

#[test]
fn a_private_node_asks_for_its_token() {
    const TOKEN: &str = "0123456789abcdef0123";
    let bytes = content(4, 100_000);
    let (dir, path) = with_file("secret.bin", &bytes);
    let node = Node::start(&dir, &["--token", TOKEN, "--private"]);
    let downloaded = dir.path().join("downloaded");
    run("token.mjs", &node, &[&TOKEN, &path, &downloaded]);
    assert!(std::fs::read(downloaded).unwrap() == bytes);
}

#[test]
fn the_page_needs_no_mouse_and_fits_every_screen() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::start(&dirs[0], &[]);
    let other = Node::start(&dirs[1], &["--peer", &node.url("")]);
    for (seed, name) in [
        (5, "Holiday photos.zip"),
        (6, "minutes.pdf"),
        (7, "notes.txt"),
    ] {
        uploaded(node.address, name, &content(seed, 1_800_000));
    }
    uploaded(
        node.address,
        "minutes, once more.pdf",
        &content(6, 1_800_000),
    );
    uploaded(other.address, "lecture.mp4", &content(9, 5_000_000));
    uploaded(other.address, &"a long name ".repeat(20), b"x");
    until_sees(
        node.address,
        &[
            "Holiday photos.zip",
            "minutes.pdf",
            "notes.txt",
            "minutes, once more.pdf",
            "lecture.mp4",
            &"a long name ".repeat(20),
        ],
    );
    run("keyboard.mjs", &node, &[&"notes.txt"]);
}
