//! Whatever is asked of a node, or of a command, on a full disk says what is short, loses nothing
//! and leaves nothing behind.
//!
//! The disk is a tmpfs that the test mounts, which takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::small_disk::{SmallDisk, storage};

const LENS: [usize; 2] = [5_000, 2 << 20];

fn run(disk: &SmallDisk, arguments: &[&str]) -> (Output, String) {
    let output = larder(disk.dir.path()).args(arguments).output().unwrap();
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    (output, told)
}

/// What was being written below a directory when something failed.
fn unfinished(dir: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|it| it == "unfinished") {
                found.push(path);
            }
        }
    }
    found
}

/// A node with a file of each kind, whose disk is full, and the ids of the files.
fn full(disk: &SmallDisk, arguments: &[&str]) -> (Node, [String; 2], PathBuf) {
    let node = Node::start(&disk.dir, arguments);
    let ids = LENS.map(|len| {
        let file = uploaded(node.address, "file", &content(1, len));
        file["file_id"].as_str().unwrap().to_owned()
    });
    (node, ids, disk.fill())
}

fn check(node: &Node, ids: &[String; 2]) {
    for (id, len) in ids.iter().zip(LENS) {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!((answer.status, answer.body), (200, content(1, len)));
    }
}

#[test]
fn an_index_that_is_made_anew_on_a_full_disk_is_whole_or_was_never_touched() {
    let disk = SmallDisk::mount();
    let (node, ids, filler) = full(&disk, &[]);
    node.stop();
    let again = disk.fill_by("again");
    for _ in 0..2 {
        let (output, told) = run(&disk, &["rebuild-index"]);
        let said = told.lines().last().unwrap_or_default();
        let is_told = said.starts_with("larder: no room is left for");
        assert!(output.status.success() || is_told, "{told}");
        assert_eq!(unfinished(&storage(&disk.dir)), Vec::<PathBuf>::new());
    }
    let node = Node::start(&disk.dir, &[]);
    check(&node, &ids);
    node.stop();
    fs::remove_file(again).unwrap();
    fs::remove_file(filler).unwrap();
    let (output, told) = run(&disk, &["rebuild-index"]);
    assert!(output.status.success(), "{told}");
    let (output, told) = run(&disk, &["verify"]);
    assert!(output.status.success(), "{told}");
}

#[test]
fn a_token_for_which_there_is_no_room_is_not_added_and_those_before_it_stay() {
    let disk = SmallDisk::mount();
    let [old, new] = ["old tokens", "new tokens"].map(|it| storage(&disk.dir).join(it));
    let add = |file: &Path, name: &str| {
        let file = file.to_str().unwrap();
        run(
            &disk,
            &["token", name, "--rights", "write", "--tokens", file],
        )
    };
    let (output, told) = add(&old, "one");
    assert!(output.status.success(), "{told}");
    // The page that the file is in has room for more, until its end.
    let mut text = fs::read_to_string(&old).unwrap();
    let rest = "-".repeat(4096 - text.len() - 2);
    text = format!("{text}#{rest}\n");
    fs::write(&old, &text).unwrap();
    let filler = disk.fill();
    for file in [&old, &new] {
        let (output, told) = add(file, "two");
        assert!(!output.status.success(), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
        assert!(told.contains("No space left"), "{told}");
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), text);
    assert!(!new.exists());
    fs::remove_file(filler).unwrap();
    let (output, told) = add(&old, "two");
    assert!(output.status.success(), "{told}");
}

#[test]
fn a_copy_for_which_there_is_no_room_is_refused_and_comes_once_there_is() {
    let disk = SmallDisk::mount();
    let arguments = ["--min-free", "0"];
    let holder_dir = tempfile::tempdir().unwrap();
    let holder = Node::start(&holder_dir, &[]);
    let wanted = uploaded(holder.address, "wanted", &content(9, 1 << 20));
    let url = format!("http://{}", holder.address);
    let peer = ["--peer", &url, "--discover-every", "1"];
    let (node, ids, filler) = full(&disk, &[&arguments[..], &peer].concat());
    let wanted = wanted["hash"].as_str().unwrap();
    until("the holder is known", || {
        let list = get(node.address, "/api/p2p/network", &[]);
        String::from_utf8(list.body)
            .unwrap()
            .contains(wanted)
            .then_some(())
    });
    let body = format!(r#"{{"hash":"{wanted}"}}"#);
    let length = format!("Content-Length: {}", body.len());
    let lines = ["Content-Type: application/json", &length];
    let keep = [head("POST", "/api/p2p/keep", &lines), body.into_bytes()].concat();
    let refused = send(node.address, &keep);
    assert_eq!(refused.refusal(), (507, "disk_full".to_owned()));
    assert!(!refused.header("retry-after").is_empty());
    // What is read again at a SIGHUP needs no room.
    let pid = Pid::from_raw(node.id().cast_signed()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
    assert_eq!(get(node.address, "/health", &[]).status, 200);
    check(&node, &ids);
    assert_eq!(unfinished(&storage(&disk.dir)), Vec::<PathBuf>::new());
    node.stop();
    let node = Node::start(&disk.dir, &[&arguments[..], &peer].concat());
    check(&node, &ids);
    fs::remove_file(filler).unwrap();
    until("there is room again", || {
        (send(node.address, &keep).status == 202).then_some(())
    });
    until("the copy is here", || {
        let answer = get(
            node.address,
            &format!("/api/p2p/blob/{wanted}/bao?end=1"),
            &[],
        );
        (answer.status == 200).then_some(())
    });
    node.stop();
    let (output, told) = run(&disk, &["verify"]);
    assert!(output.status.success(), "{told}");
}
