//! Nodes that keep everything: what they hold is one file to people, what a user removes stays
//! removed, and no stranger keeps them from it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie, Sends};
use crate::common::peers::{held, peer_id, post};
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};

const FILES: u32 = 200;

fn start_in(dir: &TempDir, arguments: &[&str]) -> Node {
    let usual = ["--discover-every", "1", "--keep", "all"];
    Node::start(dir, &[&usual, arguments].concat())
}

/// The hashes of the files that a node itself has.
fn own(node: &Node) -> BTreeSet<String> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    files
        .map(|it| it["hash"].as_str().unwrap().to_owned())
        .collect()
}

fn until_has(node: &Node, file: &Value) {
    let hash = file["hash"].as_str().unwrap();
    until("the file is kept", || {
        own(node).contains(hash).then_some(())
    });
}

#[test]
fn what_all_keep_is_one_row_and_a_removal_is_not_undone() {
    let dirs = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let first = start_in(&dirs[0], &[]);
    let url = first.url("");
    let by_first = ["--peer", &url];
    let [mut second, third, fourth] = [1, 2, 3].map(|it| start_in(&dirs[it], &by_first));
    let file = uploaded(first.address, "a", &content(1, 100_000));
    for node in [&first, &second, &third, &fourth] {
        until_has(node, &file);
        until("all hold it", || {
            let rows = held(node.address);
            let peers = rows.first()?["peers"].as_array()?.len();
            (peers == 4).then_some(())
        });
        let answer = get(node.address, "/api/p2p/network", &[]).json();
        assert_eq!(answer["files"].as_array().unwrap().len(), 1, "{answer}");
        // A node that holds it calls it as it does among its own.
        let own = get(node.address, "/api/p2p/files", &[]).json();
        assert_eq!(answer["files"][0]["file_id"], own["files"][0]["file_id"]);
        assert_eq!(
            (&answer["total_files"], &answer["next"]),
            (&json!(1), &Value::Null)
        );
        // However small the pages are.
        let page = get(node.address, "/api/p2p/network?limit=1", &[]).json();
        let names = page["files"].as_array().unwrap().len();
        assert_eq!((names, &page["next"]), (1, &Value::Null));
    }

    let listed = get(second.address, "/api/p2p/files", &[]).json();
    let copy = listed["files"][0]["file_id"].as_str().unwrap().to_owned();
    let removal = head("DELETE", &format!("/api/p2p/file/{copy}"), &[]);
    assert_eq!(send(second.address, &removal).status, 200);
    // What came later is kept, so it has looked at all that it could keep, also after a crash.
    for number in 2..6 {
        let later = uploaded(first.address, "later", &content(number, 1000));
        until_has(&second, &later);
        assert!(!own(&second).contains(file["hash"].as_str().unwrap()));
        if number == 3 {
            second.kill();
            second = start_in(&dirs[1], &by_first);
        }
    }
    until("three hold it", || {
        let rows = held(first.address);
        let row = rows.iter().find(|it| it["hash"] == file["hash"])?;
        (row["peers"].as_array()?.len() == 3).then_some(())
    });
    // A withdrawal of the one that took the upload takes back its own copy.
    let removal = head(
        "DELETE",
        &format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap()),
        &[],
    );
    assert_eq!(send(first.address, &removal).status, 200);
    let later = uploaded(fourth.address, "later", &content(9, 1000));
    until_has(&first, &later);
    assert!(!own(&first).contains(file["hash"].as_str().unwrap()));
    assert!(own(&third).contains(file["hash"].as_str().unwrap()));
    // Who asks for it has it.
    let what = json!({ "hash": file["hash"] }).to_string();
    assert_eq!(post(second.address, "/api/p2p/keep", &what).status, 202);
    until_has(&second, &file);
}

/// A stranger that holds these files, as it says, and never sends one.
fn silent(seed: u32) -> Liar {
    let contents: Vec<_> = (0..FILES).map(|it| content(seed + it, 64)).collect();
    let contents: Vec<_> = contents.iter().map(Vec::as_slice).collect();
    Liar::start(&contents, Lie::at_once(Sends::Nothing))
}

#[test]
fn silent_strangers_keep_no_honest_file_waiting() {
    let dir = tempfile::tempdir().unwrap();
    // Nobody is given up for being silent as long as the test lasts.
    let by = start_in(&dir, &["--peer-stall", "3600"]);
    let strangers = [10_000, 20_000, 30_000].map(silent);
    for stranger in &strangers {
        let told = post(by.address, "/api/peers", &stranger.registration());
        assert_eq!(told.status, 200);
    }
    until("they keep it waiting", || {
        strangers.iter().all(Liar::is_answering).then_some(())
    });
    let other = tempfile::tempdir().unwrap();
    let honest = Node::start(&other, &["--discover-every", "1", "--peer", &by.url("")]);
    let file = uploaded(honest.address, "honest", &content(1, 300_000));
    until_has(&by, &file);
    assert!(strangers.iter().any(Liar::is_answering));
}

#[test]
fn a_stranger_fills_a_part_of_the_room_and_others_have_theirs() {
    let contents: Vec<_> = (0..40).map(|it| content(50_000 + it, 64 << 10)).collect();
    let slices: Vec<_> = contents.iter().map(Vec::as_slice).collect();
    let stranger = Liar::start(&slices, Lie::TRUTH);
    let dir = tempfile::tempdir().unwrap();
    let by = start_in(&dir, &["--quota", "2MiB"]);
    assert_eq!(
        post(by.address, "/api/peers", &stranger.registration()).status,
        200
    );
    until("some is kept", || (own(&by).len() >= 5).then_some(()));
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for dir in &dirs {
        let honest = Node::start(dir, &["--discover-every", "1", "--peer", &by.url("")]);
        let file = uploaded(
            honest.address,
            &peer_id(honest.address),
            &content(1, 64 << 10),
        );
        until_has(&by, &file);
    }
    // A quarter of 2 MiB are eight of these, and there is less room for each that is kept.
    assert!(own(&by).len() <= 8 + 1, "{}", own(&by).len());
}

#[test]
fn what_the_quota_has_no_room_for_is_told_once_and_the_rest_is_kept() {
    let (holder_dir, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let holder = Node::start(&holder_dir, &["--discover-every", "1"]);
    let large = uploaded(holder.address, "large", &content(1, 300_000));
    let url = holder.url("");
    let node = start_in(&dir, &["--peer", &url, "--quota", "100kB"]);
    let told = "makes no copy of files for which the quota";
    until("it is told", || node.log().contains(told).then_some(()));
    let small = uploaded(holder.address, "small", &content(2, 10_000));
    until_has(&node, &small);
    // Several looks later.
    let last = uploaded(holder.address, "last", &content(3, 10_000));
    until_has(&node, &last);
    assert!(!own(&node).contains(large["hash"].as_str().unwrap()));
    assert_eq!(node.log().matches(told).count(), 1);
}
