//! Backups of a running node: made, made again, given up, checked and restored.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::commands::{done, failed, json, run};
use crate::common::content::content;
use crate::common::forms::{field, file, form, upload, uploaded};
use crate::common::process::{Node, larder, start};
use crate::common::raw_http::{get, head, send};
use crate::common::rot::flip;

/// Long enough for a file of its own.
const LONG: usize = 300_000;

/// All that a node tells of its files, but for who and where it is.
fn files(node: &Node) -> Vec<Value> {
    let listing = get(node.address, "/api/p2p/files", &[]).json();
    let files = listing["files"].as_array().unwrap().iter().cloned();
    let own = files.map(|mut it| {
        let object = it.as_object_mut().unwrap();
        object.remove("download_url");
        object.remove("peer_id");
        it
    });
    own.collect()
}

fn remove(node: &Node, file: &Value) {
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert_eq!(send(node.address, &head("DELETE", &path, &[])).status, 200);
}

/// A node over the storage directory that was restored in `dir`.
fn restored(dir: &TempDir) -> Node {
    Node::start(dir, &["--storage", "restored"])
}

/// What a check of the backups says at its end.
fn verified(dir: &Path) -> Value {
    json(dir, "", &["verify", "B"]).pop().unwrap()
}

#[test]
fn a_node_is_restored_as_it_was() {
    let (dir, node) = start();
    let url = node.url("");
    uploaded(node.address, "photos/a.bin", &content(1, LONG));
    uploaded(node.address, "photos/b.bin", &content(1, LONG));
    uploaded(node.address, "empty", b"");
    let odd = form(&[
        field("description", "line\nline \u{202e}"),
        file("a\u{fffd}FF\u{301}", &content(2, 5_000)),
    ]);
    assert_eq!(upload(node.address, &odd).status, 200);
    let before = files(&node);
    let told = json(dir.path(), &url, &["backup", "B"]);
    assert_eq!(told[0]["files"], 4, "{told:?}");
    assert_eq!(told[0]["new_contents"], 3, "{told:?}");
    assert_eq!(verified(dir.path())["problems"], 0);
    node.stop();
    done(dir.path(), "", &["restore", "B", "--storage", "restored"]);
    let again = restored(&dir);
    assert_eq!(files(&again), before);
    let hash = before[0]["hash"].as_str().unwrap();
    let answer = get(again.address, &format!("/api/p2p/blob/{hash}"), &[]);
    assert_eq!(answer.body, content(1, LONG));
    // It is a node of its own, which goes on where the other one was.
    let new = uploaded(again.address, "new", b"new");
    assert!(new["file_id"].as_str() > before[3]["file_id"].as_str());
}

#[test]
fn only_what_is_new_is_written_and_what_no_backup_needs_goes_with_the_older_ones() {
    let (dir, node) = start();
    let url = node.url("");
    let old = uploaded(node.address, "old", &content(1, LONG));
    let short = uploaded(node.address, "short", &content(2, 900));
    done(dir.path(), &url, &["backup", "B"]);
    remove(&node, &old);
    remove(&node, &short);
    uploaded(node.address, "new", &content(3, LONG));
    let told = json(dir.path(), &url, &["backup", "B"]);
    assert_eq!(told[0]["new_contents"], 1, "{told:?}");
    // Both are whole, and each is as it was.
    for (number, name) in [("1", "old"), ("2", "new")] {
        let line = ["restore", "B", "--backup", number, "-o", number];
        done(dir.path(), "", &line);
        assert!(dir.path().join(number).join(name).exists());
    }
    assert!(!dir.path().join("2/old").exists());
    let told = json(dir.path(), &url, &["backup", "B", "--keep", "2"]);
    assert_eq!(told[0]["new_contents"], 0, "{told:?}");
    assert_eq!(told[0]["given_up"], json!([1]), "{told:?}");
    // The piece of the list, too.
    assert_eq!(told[0]["removed_contents"], 3, "{told:?}");
    let summary = verified(dir.path());
    assert_eq!(
        (&summary["problems"], &summary["left_over"]),
        (&json!(0), &json!(0))
    );
    let listed = json(dir.path(), &url, &["backup", "B", "--list"]);
    let numbers: Vec<_> = listed.iter().map(|it| it["backup"].clone()).collect();
    assert_eq!(numbers, [2, 3]);
    let (status, told) = failed(
        dir.path(),
        "",
        &["restore", "B", "--backup", "1", "-o", "x"],
    );
    assert_eq!(status, 3, "{told}");
}

#[test]
fn files_are_restored_by_name_and_what_is_there_is_not_replaced() {
    let (dir, node) = start();
    for (n, name) in ["a/b/one.txt", "a/two.txt", "three.txt"].iter().enumerate() {
        uploaded(node.address, name, &content(u32::try_from(n).unwrap(), 100));
    }
    done(dir.path(), &node.url(""), &["backup", "B"]);
    let restore = |more: &[&str]| run(dir.path(), "", &[&["restore", "B"], more].concat());
    assert!(restore(&["a/**", "-o", "o"]).status.success());
    assert!(dir.path().join("o/a/b/one.txt").exists());
    assert_eq!(
        fs::read(dir.path().join("o/a/two.txt")).unwrap(),
        content(1, 100)
    );
    assert!(!dir.path().join("o/three.txt").exists());
    // The same once more; and not over what is another one by now.
    assert!(restore(&["a/", "-o", "o"]).status.success());
    fs::write(dir.path().join("o/a/two.txt"), "mine").unwrap();
    let told = restore(&["a/two.txt", "-o", "o"]);
    assert_eq!(told.status.code(), Some(1), "{told:?}");
    assert_eq!(fs::read(dir.path().join("o/a/two.txt")).unwrap(), b"mine");
    assert_eq!(restore(&["nope*", "-o", "o"]).status.code(), Some(3));
    assert!(
        restore(&["*.txt", "--storage", "restored"])
            .status
            .success()
    );
    let again = restored(&dir);
    assert_eq!(files(&again).len(), 1);
}

#[test]
fn what_nobody_has_whole_is_told_and_what_is_damaged_in_a_backup_comes_anew() {
    let (dir, node) = start();
    let url = node.url("");
    let lost = uploaded(node.address, "lost", &content(1, LONG));
    uploaded(node.address, "kept", &content(2, LONG));
    let (lost, kept) = (&lost["hash"], files(&node)[1]["hash"].clone());
    let path = |storage: &str, hash: &Value| {
        let hash = hash.as_str().unwrap();
        dir.path()
            .join(storage)
            .join("blobs")
            .join(&hash[..2])
            .join(hash)
    };
    flip(&path("peer_storage", lost), LONG / 2);
    let made = run(dir.path(), &url, &["backup", "B", "--json"]);
    assert_eq!(made.status.code(), Some(7), "{made:?}");
    let told: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&told["files"], &told["lacking"]), (&json!(2), &json!(1)));
    assert!(String::from_utf8_lossy(&made.stderr).contains("lost: its content is not"));
    let checked = run(dir.path(), "", &["verify", "B"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("lacks the content of 1 of its 2"));
    let restored = run(dir.path(), "", &["restore", "B", "-o", "o"]);
    assert_eq!(restored.status.code(), Some(7), "{restored:?}");
    assert_eq!(
        fs::read(dir.path().join("o/kept")).unwrap(),
        content(2, LONG)
    );
    assert!(!dir.path().join("o/lost").exists());
    // Once the node has it again, so has the backup.
    uploaded(node.address, "again", &content(1, LONG));
    done(dir.path(), &url, &["backup", "B"]);
    flip(&path("B/contents", &kept), LONG / 3);
    let checked = run(dir.path(), "", &["verify", "B", "--json"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(told.contains("(kept)"), "{told}");
    let made = json(dir.path(), &url, &["backup", "B"]);
    assert_eq!(made[0]["new_contents"], 1, "{made:?}");
    assert_eq!(verified(dir.path())["problems"], 0);
}

#[test]
fn a_content_that_the_disk_does_not_give_costs_the_backup_no_other() {
    let (dir, node) = start();
    let url = node.url("");
    let lost = uploaded(node.address, "lost", &content(1, LONG));
    uploaded(node.address, "kept", &content(2, LONG));
    let hash = lost["hash"].as_str().unwrap();
    let blobs = dir.path().join("peer_storage/blobs").join(&hash[..2]);
    let blob = blobs.join(hash);
    let aside = dir.path().join("aside");
    fs::rename(&blob, &aside).unwrap();
    // What cannot be opened, by root either.
    std::os::unix::fs::symlink("loop", blobs.join("loop")).unwrap();
    std::os::unix::fs::symlink("loop", &blob).unwrap();
    let made = run(dir.path(), &url, &["backup", "B", "--json"]);
    assert_eq!(made.status.code(), Some(7), "{made:?}");
    let told: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&told["files"], &told["lacking"]), (&json!(2), &json!(1)));
    assert!(String::from_utf8_lossy(&made.stderr).contains("lost: its content is not"));
    // Where the disk gives it again it comes with the next one.
    fs::rename(&aside, &blob).unwrap();
    let made = json(dir.path(), &url, &["backup", "B"]);
    assert_eq!(made[0]["lacking"], 0, "{made:?}");
}

#[test]
fn a_read_token_is_enough_and_without_one_nothing_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let add = ["token", "backup", "--rights", "read", "--tokens", "tokens"];
    let token = larder(dir.path()).args(add).output().unwrap().stdout;
    let token = String::from_utf8(token).unwrap();
    let node = Node::start(&dir, &["--tokens", "tokens", "--private"]);
    let url = node.url("");
    let (status, told) = failed(dir.path(), &url, &["backup", "B"]);
    assert_eq!(status, 6, "{told}");
    done(dir.path(), &url, &["backup", "B", "--token", token.trim()]);
    // Whose files they are, and nothing by which somebody could speak for that node.
    let key = fs::read(dir.path().join("peer_storage/node.key")).unwrap();
    for entry in fs::read_dir(dir.path().join("B/moments")).unwrap() {
        let moment = fs::read(entry.unwrap().path()).unwrap();
        assert!(!moment.windows(key.len()).any(|it| it == key));
    }
    assert!(!dir.path().join("B/node.key").exists());
}

#[test]
fn a_directory_of_backups_is_nothing_else_and_of_one_node() {
    let (dir, node) = start();
    let url = node.url("");
    for (dest, word) in [
        ("peer_storage", "storage directory"),
        ("peer_storage/x", "storage directory"),
        (".", "something else is in"),
    ] {
        let (status, told) = failed(dir.path(), &url, &["backup", dest]);
        assert_eq!(status, 2, "{told}");
        assert!(told.contains(word), "{told}");
    }
    done(dir.path(), &url, &["backup", "B"]);
    let held = fs::File::open(dir.path().join("B")).unwrap();
    held.try_lock().unwrap();
    for line in [
        &["backup", "B"][..],
        &["verify", "B"],
        &["restore", "B", "-o", "o"],
    ] {
        let (status, told) = failed(dir.path(), &url, line);
        assert_eq!(status, 2, "{told}");
        assert!(told.contains("in use"), "{told}");
    }
    drop(held);
    let (_other, other) = start();
    let (status, told) = failed(dir.path(), &other.url(""), &["backup", "B"]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("--another-node"), "{told}");
    done(
        dir.path(),
        &other.url(""),
        &["backup", "B", "--another-node"],
    );
    fs::write(dir.path().join("B/larder.backups"), "larder-backups 2\n").unwrap();
    let (status, told) = failed(dir.path(), &url, &["backup", "B"]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("newer larder"), "{told}");
    for line in [
        &["verify", "nowhere"][..],
        &["restore", "nowhere", "-o", "o"],
    ] {
        assert_eq!(failed(dir.path(), &url, line).0, 2);
    }
}
