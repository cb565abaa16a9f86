//! `larder put`, typed again after a run in which something failed or which was killed, stores no
//! file twice.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::commands::{command, done, run};
use crate::common::content::content;
use crate::common::process::{Node, start, until};
use crate::common::random::Random;
use crate::common::raw_http::get;
use crate::common::relay::Relay;

/// How often a node holds a file of each name.
fn counts(node: SocketAddr) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let files = get(node, "/api/p2p/files?limit=1000", &[]).json();
    for file in files["files"].as_array().unwrap() {
        let name = file["original_name"].as_str().unwrap().to_owned();
        *counts.entry(name).or_default() += 1;
    }
    counts
}

/// A folder of so many files.
fn folder(here: &Path, count: u32, length: usize) {
    fs::create_dir(here.join("d")).unwrap();
    for number in 0..count {
        let bytes = content(number, length);
        fs::write(here.join(format!("d/{number}")), bytes).unwrap();
    }
}

#[test]
fn what_was_stored_before_a_quota_was_reached_is_not_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--quota", "1MB"]);
    let here = tempfile::tempdir().unwrap();
    folder(here.path(), 6, 300_000);
    let address = node.address.to_string();
    let full = run(here.path(), &node.url(""), &["put", "d"]);
    assert_eq!(full.status.code(), Some(1), "{full:?}");
    let before = counts(node.address);
    assert!((1..6).contains(&before.len()), "{before:?}");
    node.stop();
    let node = Node::start(&dir, &["--listen", &address]);
    let told = done(here.path(), &node.url(""), &["put", "d"]);
    assert_eq!(told.lines().count(), 6, "{told}");
    let counts = counts(node.address);
    assert_eq!(counts.len(), 6, "{counts:?}");
    assert!(counts.values().all(|&count| count == 1), "{counts:?}");
}

#[test]
fn a_run_in_which_a_file_fails_stores_the_others_once_however_often_it_is_typed() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    folder(here.path(), 3, 1000);
    symlink("/nowhere", here.path().join("d/link")).unwrap();
    let put = |arguments: &[&str]| {
        let output = run(here.path(), &node.url(""), arguments);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let told = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = told.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let first = put(&["put", "d"]);
    assert_eq!(put(&["put", "d"]), first);
    // Other files beside it make no difference.
    fs::write(here.path().join("more"), "more").unwrap();
    assert_eq!(put(&["put", "more", "d"]).len(), 4);
    fs::remove_file(here.path().join("d/link")).unwrap();
    let told = done(here.path(), &node.url(""), &["put", "d", "more"]);
    assert_eq!(told.lines().count(), 4, "{told}");
    assert!(counts(node.address).values().all(|&count| count == 1));
    // That one has ended: the next is another upload of each.
    done(here.path(), &node.url(""), &["put", "d"]);
    assert_eq!(counts(node.address)["d/0"], 2);
    assert!(!here.path().join("state/larder/sent").exists());
}

#[test]
fn a_file_that_was_removed_meanwhile_is_stored_again() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    folder(here.path(), 2, 1000);
    symlink("/nowhere", here.path().join("d/link")).unwrap();
    run(here.path(), &node.url(""), &["put", "d"]);
    done(here.path(), &node.url(""), &["rm", "d/0"]);
    run(here.path(), &node.url(""), &["put", "d"]);
    run(here.path(), &node.url(""), &["put", "d"]);
    let all = counts(node.address);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(all.values().all(|&count| count == 1), "{all:?}");
}

#[test]
fn a_run_that_is_killed_at_its_end_has_ended_for_all_its_files_or_for_none() {
    const FILES: u32 = 150;
    let mut random = Random::from_environment();
    let (_dir, node) = start();
    let url = node.url("");
    for round in 0..6 {
        let here = tempfile::tempdir().unwrap();
        folder(here.path(), FILES, 10);
        let mut put = command(here.path(), &url, &["put", "d"]);
        let put = put.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut put = put.spawn().unwrap();
        let mut lines = BufReader::new(put.stdout.take().unwrap()).lines();
        for _ in 0..FILES {
            lines.next().unwrap().unwrap();
        }
        // The last file is told, and what comes behind that takes a few milliseconds.
        let moment = Instant::now() + Duration::from_micros(random.below(4000));
        while Instant::now() < moment {}
        let _ = put.kill();
        put.wait().unwrap();
        done(here.path(), &url, &["put", "d"]);
        let counts = counts(node.address);
        assert_eq!(counts.len(), FILES as usize);
        let first = counts["d/0"];
        assert!(
            counts.values().all(|&count| count == first) && first <= 2,
            "round {round}: {counts:?}"
        );
        done(here.path(), &url, &["rm", "d", "--all"]);
    }
}

/// Makes an empty file and puts it by a cable that carries back only so many bytes. Then that
/// breaks and is mended, and the command goes on; or else it stands still, and the command is
/// killed. One that fails is typed again.
fn put_with_lost_answers(node: SocketAddr, here: &Path, carries: u64, goes_on: bool) {
    let name = format!("{carries:05} {}", u8::from(goes_on));
    fs::write(here.join(&name), b"").unwrap();
    let cable = Relay::new();
    cable.connect(node);
    if goes_on {
        cable.cut_after(carries);
    } else {
        cable.stall_after(carries);
    }
    let mut put = command(here, &cable.url(), &["put", &name]);
    let put = put.stdout(Stdio::null()).stderr(Stdio::null());
    let mut put = put.spawn().unwrap();
    until("the cable has carried that", || {
        (cable.carried() == carries).then_some(())
    });
    if !goes_on {
        put.kill().unwrap();
    }
    cable.mend();
    // Whether it was killed, or could not learn where others download the file.
    if !put.wait().unwrap().success() {
        done(here, &cable.url(), &["put", &name]);
    }
    assert_eq!(counts(node).get(&name), Some(&1), "{name}");
}

#[test]
fn an_empty_file_is_stored_once_whichever_answer_is_lost() {
    let (_dir, node) = start();
    let here = tempfile::tempdir().unwrap();
    let whole = Relay::new();
    whole.connect(node.address);
    // Names of one length, so that answers have one, too.
    fs::write(here.path().join("00000 0"), b"").unwrap();
    done(here.path(), &whole.url(), &["put", "00000 0"]);
    let all = whole.carried();
    for carries in (1..all).step_by(usize::try_from(all / 12).unwrap()) {
        put_with_lost_answers(node.address, here.path(), carries, false);
        put_with_lost_answers(node.address, here.path(), carries, true);
    }
}
