//! `larder put` sends no storage directory: the key in it makes the node the one it is.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use serde_json::Value;

use crate::common::commands::{command, failed, run};
use crate::common::process::{Node, start};
use crate::common::raw_http::get;

/// The names of the files that a node holds, sorted.
fn held(node: &Node) -> Vec<String> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let name = |it: &Value| it["original_name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = files["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect();
    names.sort();
    names
}

#[test]
fn a_walk_leaves_a_storage_directory_out_and_says_so() {
    let (dir, own) = start();
    let here = dir.path();
    fs::write(here.join("a"), "a").unwrap();
    // Of one that runs the log grows, which is in the folder, too.
    own.stop();
    let (_other, node) = start();
    let name = here.file_name().unwrap().to_str().unwrap();
    let above = here.parent().unwrap();
    let below = tempfile::tempdir().unwrap();
    let ways = [
        (here, ".", "./peer_storage"),
        (above, name, &format!("{name}/peer_storage")),
    ];
    for (at, what, told) in ways {
        let mut put = command(at, &node.url(""), &["put", what]);
        let output = put.env("XDG_STATE_HOME", below.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let left_out =
            format!("larder: {told} is the storage directory of a node, and is left out\n");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), left_out);
    }
    let mut names = held(&node);
    names.dedup();
    assert_eq!(names, [format!("{name}/a"), format!("{name}/log")]);
}

#[test]
fn a_storage_directory_is_known_whatever_its_version_is() {
    let (_dir, node) = start();
    for version in ["larder 1\n", "larder 2\n", "larder 99\n", "damaged", ""] {
        let here = tempfile::tempdir().unwrap();
        let storage = here.path().join("d/deep/store");
        fs::create_dir_all(&storage).unwrap();
        fs::write(storage.join("larder.format"), version).unwrap();
        fs::write(storage.join("node.key"), "secret").unwrap();
        symlink("deep/store/node.key", here.path().join("d/link")).unwrap();
        let output = run(here.path(), &node.url(""), &["put", "d"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        for left_out in [
            "larder: d/deep/store is the storage directory of a node, and is left out\n",
            "larder: d/link is a link into the storage directory of a node, and is left out\n",
        ] {
            assert!(told.contains(left_out), "{version:?}: {told}");
        }
    }
    assert_eq!(held(&node), Vec::<String>::new());
}

#[test]
fn what_is_of_a_storage_directory_is_refused_by_whatever_way_it_is_named() {
    let (dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    symlink(dir.path().join("peer_storage"), here.join("folder")).unwrap();
    symlink(dir.path().join("peer_storage/node.key"), here.join("key")).unwrap();
    fs::create_dir(here.join("d")).unwrap();
    fs::write(here.join("d/a"), "a").unwrap();
    for what in [
        "folder",
        "folder/",
        "folder/node.key",
        "folder/journal",
        "d/../folder/node.key",
        "key",
    ] {
        let (status, told) = failed(here, &node.url(""), &["put", what]);
        let refused =
            format!("larder: {what} is the storage directory of a node, or is in it, and");
        assert_eq!(status, 2, "{what}: {told}");
        assert!(told.starts_with(&refused), "{what}: {told}");
    }
    let named = failed(here, &node.url(""), &["put", "key", "--name", "photo"]);
    assert_eq!(named.0, 2, "{}", named.1);
    // From within, nothing is named of it.
    for (at, what) in [
        ("", "."),
        ("", "node.key"),
        ("journal", ".."),
        ("packs", "."),
    ] {
        let at = dir.path().join("peer_storage").join(at);
        let mut put = command(&at, &node.url(""), &["put", what]);
        let output = put.env("XDG_STATE_HOME", here).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{what}: {output:?}");
    }
    let mut given = command(here, &node.url(""), &["put", "-", "--name", "photo"]);
    let key = fs::File::open(here.join("key")).unwrap();
    let output = given.stdin(Stdio::from(key)).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(held(&node), Vec::<String>::new());
    // The others that the line names are sent.
    let output = run(here, &node.url(""), &["put", "key", "d"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(held(&node), ["d/a"]);
}

#[test]
fn a_walk_leaves_out_where_commands_remember_what_they_send() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let here = here.path();
    let name = here.file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(here.join("a"), "a").unwrap();
    fs::create_dir(here.join("state")).unwrap();
    fs::write(here.join("state/note"), "of another program").unwrap();
    // The first makes what the second finds.
    for what in ["a", ".", "state/larder"] {
        let output = run(here, &node.url(""), &["put", what]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{what}: {told}");
        let left_out = "state/larder is where larder remembers what it sends, and is left out";
        assert_eq!(told.contains(left_out), what != "a", "{what}: {told}");
    }
    let mut names = held(&node);
    names.dedup();
    let walked = [format!("{name}/a"), format!("{name}/state/note")];
    assert_eq!(names, [&walked[..], &["a".to_owned()]].concat());
}
