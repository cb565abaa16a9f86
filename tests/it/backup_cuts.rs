//! Backups while files come and go, and where one is cut off at any moment.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::common::commands::{command, done, json, run};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, limited, start, until};
use crate::common::random::Random;
use crate::common::raw_http::{get, head, send};

/// How many backups are made while others are at work.
const BACKUPS: usize = 12;
/// How often one is killed.
const KILLS: u64 = 12;

fn remove(node: std::net::SocketAddr, file: &Value) {
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert_eq!(send(node, &head("DELETE", &path, &[])).status, 200);
}

/// The names of all that was restored of a backup.
fn restored(dir: &Path, number: &Value) -> BTreeSet<String> {
    let number = number.to_string();
    let to = format!("o{number}");
    done(dir, "", &["restore", "B", "--backup", &number, "-o", &to]);
    let entries = fs::read_dir(dir.join(&to)).unwrap();
    entries
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn problems(dir: &Path) -> Value {
    let verified = run(dir, "", &["verify", "B", "--json"]);
    let told = String::from_utf8(verified.stdout).unwrap();
    serde_json::from_str::<Value>(told.lines().last().unwrap()).unwrap()["problems"].clone()
}

/// Each one who writes has one file at every moment, or two: the next one is there before the one
/// before it goes. So a moment without any would be none.
#[test]
fn every_backup_is_of_one_moment_whatever_comes_and_goes_meanwhile() {
    let (dir, node) = start();
    for n in 0..300_u32 {
        uploaded(node.address, &format!("still-{n}"), &content(n, 1_000));
    }
    let (address, ended) = (node.address, &AtomicBool::new(false));
    let made = thread::scope(|scope| {
        for writer in 0..3_u32 {
            scope.spawn(move || {
                let mut before = None;
                for n in 0.. {
                    let seed = 1_000_000 * (writer + 1) + n;
                    let length = if n % 8 == 0 { 200_000 } else { 2_000 };
                    let name = format!("{writer}-{n}");
                    let next = uploaded(address, &name, &content(seed, length));
                    if let Some(before) = before.replace(next) {
                        remove(address, &before);
                    }
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let backup = |_| json(dir.path(), &node.url(""), &["backup", "B"])[0].clone();
        let made: Vec<_> = (0..BACKUPS).map(backup).collect();
        ended.store(true, Ordering::Relaxed);
        made
    });
    assert_eq!(problems(dir.path()), 0);
    for made in made {
        assert_eq!(
            (&made["lacking"], &made["left_out"]),
            (&json!(0), &json!(0)),
            "{made}"
        );
        let names = restored(dir.path(), &made["backup"]);
        assert_eq!(
            names.iter().filter(|it| it.starts_with("still-")).count(),
            300
        );
        for writer in 0..3 {
            let prefix = format!("{writer}-");
            let there = names.iter().filter(|it| it.starts_with(&prefix)).count();
            assert!((1..=2).contains(&there), "{there} of {writer}: {made}");
        }
    }
}

#[test]
fn a_backup_that_is_killed_at_any_moment_leaves_those_before_whole() {
    let (dir, node) = start();
    let url = node.url("");
    let mut random = Random(15);
    let mut whole = 0;
    for round in 0..KILLS {
        for n in 0..20_u64 {
            let seed = u32::try_from(100 * round + n).unwrap();
            let length = if n % 4 == 0 { 500_000 } else { 3_000 };
            uploaded(
                node.address,
                &format!("{round}-{n}"),
                &content(seed, length),
            );
        }
        let mut backup = command(dir.path(), &url, &["backup", "B", "--keep", "2"]);
        let mut backup = backup.spawn().unwrap();
        thread::sleep(Duration::from_millis(random.below(160)));
        backup.kill().unwrap();
        backup.wait().unwrap();
        if !dir.path().join("B/larder.backups").exists() {
            continue;
        }
        let listed = json(dir.path(), &url, &["backup", "B", "--list"]);
        // That there is none yet is one.
        assert_eq!(problems(dir.path()), u32::from(listed.is_empty()));
        if round % 3 == 2 {
            let made = json(dir.path(), &url, &["backup", "B", "--keep", "2"]);
            assert_eq!(made[0]["files"], 20 * (round + 1));
            whole += 1;
        }
        if let Some(last) = listed.last() {
            let files = usize::try_from(last["files"].as_u64().unwrap()).unwrap();
            if whole == 1 {
                assert_eq!(restored(dir.path(), &last["backup"]).len(), files);
            }
        }
    }
    is_in_order(dir.path());
}

/// The backups are whole, and nothing is left of what was cut off.
fn is_in_order(dir: &Path) {
    let summary = json(dir, "", &["verify", "B"]).pop().unwrap();
    assert_eq!(
        (&summary["problems"], &summary["left_over"]),
        (&json!(0), &json!(0))
    );
}

#[test]
fn a_node_that_is_killed_meanwhile_is_gone_on_with_once_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let port = node.address.port().to_string();
    for n in 0..200_u32 {
        uploaded(node.address, &n.to_string(), &content(n, 100_000));
    }
    let url = node.url("");
    let backup = command(dir.path(), &url, &["backup", "B", "--json"]);
    let mut backup = backup;
    let backup = backup.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let contents = dir.path().join("B/contents/blobs");
    until("some have come", || {
        let mut shards = fs::read_dir(&contents).ok()?.filter_map(Result::ok);
        let some =
            |it: fs::DirEntry| fs::read_dir(it.path()).is_ok_and(|mut it| it.next().is_some());
        shards.any(some).then_some(())
    });
    node.kill();
    let _node = Node::start(&dir, &["--port", &port]);
    let output = backup.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["files"], &made["lacking"]), (&json!(200), &json!(0)));
    assert_eq!(problems(dir.path()), 0);
}

#[test]
fn where_there_is_no_room_the_backups_before_stay_and_nothing_else_is_left_in_the_end() {
    let (dir, node) = start();
    let url = node.url("");
    uploaded(node.address, "short", b"short");
    done(dir.path(), &url, &["backup", "B"]);
    uploaded(node.address, "long", &content(1, 3 << 20));
    let mut full = limited(dir.path(), "-f 1024");
    full.env("LARDER_NODE", &url).args(["backup", "B"]);
    let output = full.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("a limit of the lengths of files"), "{told}");
    assert_eq!(problems(dir.path()), 0);
    assert_eq!(json(dir.path(), &url, &["backup", "B", "--list"]).len(), 1);
    done(dir.path(), &url, &["backup", "B", "--keep", "1"]);
    is_in_order(dir.path());
}

#[test]
fn a_restoring_that_is_killed_goes_on_and_no_node_serves_half_of_it() {
    let (dir, node) = start();
    for n in 0..400_u32 {
        uploaded(node.address, &n.to_string(), &content(n, 20_000));
    }
    done(dir.path(), &node.url(""), &["backup", "B"]);
    let line = ["restore", "B", "--storage", "restored", "--json"];
    let mut random = Random(7);
    for _ in 0..6 {
        let mut restoring = command(dir.path(), "", &line).spawn().unwrap();
        thread::sleep(Duration::from_millis(random.below(250)));
        restoring.kill().unwrap();
        restoring.wait().unwrap();
        if dir.path().join("restored/moving-in").exists() {
            let served = crate::common::process::larder(dir.path())
                .args(["--storage", "restored"])
                .output()
                .unwrap();
            assert!(String::from_utf8_lossy(&served.stderr).contains("larder restore"));
        }
    }
    // One that has come to its end is not gone on with.
    let again = run(dir.path(), "", &line);
    assert!(
        [Some(0), Some(2)].contains(&again.status.code()),
        "{again:?}"
    );
    let restored = Node::start(&dir, &["--storage", "restored"]);
    let listing = get(restored.address, "/api/p2p/files", &[]).json();
    assert_eq!(listing["file_count"], 400);
    let before = get(node.address, "/api/p2p/files", &[]).json();
    let ids = |it: &Value| -> Vec<Value> {
        let files = it["files"].as_array().unwrap().iter();
        files.map(|it| json!([it["file_id"], it["hash"]])).collect()
    };
    assert_eq!(ids(&listing), ids(&before));
}
