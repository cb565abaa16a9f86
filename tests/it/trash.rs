//! The trash: what is removed can be brought back for a while, and is gone then.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::clock::ShiftedClock;
use crate::common::commands::{self, done, failed};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::count;
use crate::common::process::{Node, larder, until};
use crate::common::random::Random;
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::rot::flip;

/// Long enough for a file of its own.
const LONG: usize = 300_000;

fn start_with(dir: &TempDir, keeps: &str) -> Node {
    Node::start(dir, &["--trash", keeps])
}

fn ask(node: &Node, method: &str, path: &str) -> Answer {
    send(node.address, &head(method, path, &[]))
}

fn id(file: &Value) -> &str {
    file["file_id"].as_str().unwrap()
}

fn remove(node: &Node, id: &str) {
    let path = format!("/api/p2p/file/{id}");
    assert_eq!(ask(node, "DELETE", &path).status, 200);
}

fn bring_back(node: &Node, id: &str) {
    let path = format!("/api/p2p/trash/{id}");
    assert_eq!(ask(node, "POST", &path).status, 200);
}

fn listed(node: &Node, path: &str) -> Vec<String> {
    let answer = get(node.address, path, &[]).json();
    let files = answer["files"].as_array().unwrap().iter();
    files
        .map(|it| it["original_name"].as_str().unwrap().to_owned())
        .collect()
}

fn files(node: &Node) -> Vec<String> {
    listed(node, "/api/p2p/files")
}

fn trash(node: &Node) -> Vec<String> {
    listed(node, "/api/p2p/trash")
}

fn status(node: &Node) -> Value {
    get(node.address, "/api/p2p/status", &[]).json()
}

#[test]
fn a_file_that_is_removed_is_nowhere_but_in_the_trash_and_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, "24h");
    let older = uploaded(node.address, "same", b"older");
    let long = uploaded(node.address, "same", &content(1, LONG));
    uploaded(node.address, "other", b"other");
    let before = get(node.address, "/api/p2p/files", &[]).json();
    let answer = ask(&node, "DELETE", &format!("/api/p2p/file/{}", id(&long)));
    let told = answer.json();
    assert_eq!(
        (&told["status"], &told["message"]),
        (&json!("success"), &json!("File deleted"))
    );
    assert_eq!(told["file"]["hash"], long["hash"]);
    assert_eq!(files(&node), ["same", "other"]);
    assert_eq!(trash(&node), ["same"]);
    let hash = long["hash"].as_str().unwrap();
    for path in [
        format!("/api/p2p/file/{}", id(&long)),
        format!("/api/p2p/blob/{hash}"),
        format!("/api/p2p/blob/{hash}/bao"),
    ] {
        assert_eq!(get(node.address, &path, &[]).status, 404, "{path}");
    }
    for (method, path) in [
        ("DELETE", "file"),
        ("POST", "trash/00000000-0000-0000-0000"),
    ] {
        let path = format!("/api/p2p/{path}/{}", id(&long));
        assert_eq!(ask(&node, method, &path).status, 404, "{path}");
    }
    // A name means the newest that is there.
    let peer = status(&node)["peer"]["peer_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let named = format!("/api/p2p/download/{peer}/same");
    assert_eq!(get(node.address, &named, &[]).body, b"older");
    let told = status(&node);
    assert_eq!(
        (&told["local_files"], &told["file_bytes"]),
        (&json!(2), &json!(10))
    );
    assert_eq!(told["blob_bytes"], LONG + 10);
    let there = json!({ "keeps_seconds": 86_400, "files": 1, "bytes": LONG });
    assert_eq!(told["trash"], there);
    assert_eq!(count(node.address, "larder_trash_files"), 1);
    bring_back(&node, id(&long));
    assert_eq!(get(node.address, "/api/p2p/files", &[]).json(), before);
    assert!(trash(&node).is_empty());
    let path = format!("/api/p2p/file/{}", id(&long));
    assert_eq!(get(node.address, &path, &[]).body, content(1, LONG));
    assert_eq!(get(node.address, &named, &[]).body, content(1, LONG));
    // What was brought back can be removed again, and what is forced is gone at once.
    remove(&node, id(&long));
    remove(&node, id(&older));
    for file in [&long, &older] {
        let forced = format!("/api/p2p/file/{}?force=1", id(file));
        assert_eq!(ask(&node, "DELETE", &forced).status, 200);
        assert_eq!(ask(&node, "DELETE", &forced).status, 404);
    }
    assert!(trash(&node).is_empty());
    assert_eq!(status(&node)["blob_bytes"], 5);
    // What is left is a pack, and none of the long content.
    let len = |it: &std::path::PathBuf| it.metadata().map_or(0, |it| it.len());
    let all: Vec<_> = node.content_files().iter().map(len).collect();
    assert!(all.iter().all(|it| *it < LONG as u64), "{all:?}");
}

#[test]
fn without_it_a_removal_is_one_and_what_was_in_it_before_keeps_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let first = uploaded(node.address, "first", b"first");
    remove(&node, id(&first));
    assert!(trash(&node).is_empty());
    assert_eq!(status(&node)["trash"]["keeps_seconds"], Value::Null);
    node.stop();
    assert!(!dir.path().join("peer_storage/trash").exists());
    let format = || fs::read_to_string(dir.path().join("peer_storage/larder.format")).unwrap();
    assert_eq!(format(), "larder 2\n");
    let node = start_with(&dir, "24h");
    let second = uploaded(node.address, "second", b"second");
    remove(&node, id(&second));
    node.stop();
    // So that no older larder lists it again.
    assert_eq!(format(), "larder 3\n");
    let node = Node::start(&dir, &[]);
    let third = uploaded(node.address, "third", b"third");
    remove(&node, id(&third));
    assert_eq!(trash(&node), ["second"]);
    bring_back(&node, id(&second));
    assert_eq!(files(&node), ["second"]);
}

#[test]
fn what_is_in_the_trash_is_gone_after_its_time_and_counts_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--trash", "3s", "--quota", "400000"]);
    let file = uploaded(node.address, "a", &content(1, LONG));
    remove(&node, id(&file));
    let removed = Instant::now();
    let form = crate::common::forms::form(&[crate::common::forms::file("b", &content(2, LONG))]);
    let refused = crate::common::forms::upload(node.address, &form);
    assert_eq!(refused.json()["code"], "over_quota");
    until("it is gone", || trash(&node).is_empty().then_some(()));
    assert!(removed.elapsed() >= Duration::from_secs(3));
    until("its content is gone", || {
        node.content_files().is_empty().then_some(())
    });
    uploaded(node.address, "b", &content(2, LONG));
    assert_eq!(status(&node)["blob_bytes"], LONG);
}

#[test]
fn whatever_the_clock_does_nothing_goes_before_its_time_nor_stays_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ShiftedClock::new(&dir, "0");
    let start = |keeps: &str| {
        let mut command = larder(dir.path());
        clock.rules(&mut command);
        command.args(["--trash", keeps]);
        Node::spawn(&dir, command)
    };
    let node = start("1h");
    let kept = uploaded(node.address, "kept", b"kept");
    remove(&node, id(&kept));
    clock.set("315360000");
    // Longer than between two looks at what is due.
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(trash(&node), ["kept"]);
    node.stop();
    clock.set("630720000");
    let node = start("1h");
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(trash(&node), ["kept"]);
    node.stop();
    let node = start("2s");
    let file = uploaded(node.address, "goes", b"goes");
    remove(&node, id(&file));
    clock.set("-315360000");
    until("it is gone", || (trash(&node) == ["kept"]).then_some(()));
    bring_back(&node, id(&kept));
    assert_eq!(files(&node), ["kept"]);
}

#[test]
fn what_is_acknowledged_is_so_after_a_kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(21);
    let mut node = start_with(&dir, "24h");
    let names: Vec<_> = (0..24).map(|n| n.to_string()).collect();
    let ids: Vec<_> = names
        .iter()
        .map(|name| id(&uploaded(node.address, name, name.as_bytes())).to_owned())
        .collect();
    // Whether each is in the trash; None where nobody knows.
    let mut trashed = vec![Some(false); ids.len()];
    for _ in 0..8 {
        let address = node.address;
        let (ids, before) = (&ids, &trashed);
        let kill_after = Duration::from_millis(random.below(60));
        let after: Vec<_> = thread::scope(|scope| {
            let changing: Vec<_> = (0..ids.len())
                .map(|at| {
                    scope.spawn(move || {
                        let is_there = before[at] == Some(true);
                        let (method, path) = if is_there {
                            ("POST", format!("/api/p2p/trash/{}", ids[at]))
                        } else {
                            ("DELETE", format!("/api/p2p/file/{}", ids[at]))
                        };
                        let asked = std::panic::catch_unwind(|| {
                            send(address, &head(method, &path, &[])).status
                        });
                        (asked.ok() == Some(200)).then_some(!is_there)
                    })
                })
                .collect();
            thread::sleep(kill_after);
            node.kill();
            changing.into_iter().map(|it| it.join().unwrap()).collect()
        });
        trashed = after;
        node = start_with(&dir, "24h");
        let (files, trash) = (files(&node), trash(&node));
        assert_eq!(files.len() + trash.len(), names.len());
        for (name, trashed) in names.iter().zip(&mut trashed) {
            let is_there = trash.contains(name);
            assert_ne!(is_there, files.contains(name), "{name}");
            assert!(trashed.is_none_or(|it| it == is_there), "{name}");
            *trashed = Some(is_there);
        }
    }
    node.stop();
    done(dir.path(), "", &["verify", "--storage", "peer_storage"]);
}

#[test]
fn peers_hear_of_a_removal_at_once_and_of_what_comes_back() {
    let [dir, other_dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let node = Node::start(&dir, &["--trash", "24h", "--discover-every", "1"]);
    let file = uploaded(node.address, "shared", &content(1, 5_000));
    let peer = node.url("");
    let other = Node::start(&other_dir, &["--discover-every", "1", "--peer", &peer]);
    let network = || listed(&other, "/api/p2p/network");
    until("the other knows it", || {
        (network() == ["shared"]).then_some(())
    });
    remove(&node, id(&file));
    until("the other knows it no more", || {
        network().is_empty().then_some(())
    });
    bring_back(&node, id(&file));
    until("the other knows it again", || {
        (network() == ["shared"]).then_some(())
    });
    let path = format!("/api/p2p/file/{}", id(&file));
    assert_eq!(get(other.address, &path, &[]).body, content(1, 5_000));
}

#[test]
fn commands_list_the_trash_restore_from_it_and_empty_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, "24h");
    let url = node.url("");
    for (name, bytes) in [("a/x", "1"), ("a/y", "2"), ("twice", "3"), ("twice", "4")] {
        let file = uploaded(node.address, name, bytes.as_bytes());
        done(dir.path(), &url, &["rm", id(&file)]);
    }
    let listed = done(dir.path(), &url, &["trash"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert_eq!(listed.matches("stays    23h").count(), 4, "{listed}");
    let told = done(dir.path(), &url, &["trash", "restore", "a"]);
    assert_eq!(told.lines().count(), 2, "{told}");
    assert_eq!(files(&node), ["a/x", "a/y"]);
    let (status, told) = failed(dir.path(), &url, &["trash", "restore", "twice"]);
    assert_eq!(status, 4, "{told}");
    done(dir.path(), &url, &["trash", "restore", "twice", "--newest"]);
    assert_eq!(done(dir.path(), &url, &["get", "twice", "-o", "-"]), "4");
    done(dir.path(), &url, &["trash", "restore", "twice", "--all"]);
    assert_eq!(files(&node).len(), 4);
    for action in ["restore", "list", "empty"] {
        assert_eq!(failed(dir.path(), &url, &["trash", action, "none"]).0, 3);
    }
    done(dir.path(), &url, &["rm", "--yes", "a/"]);
    done(dir.path(), &url, &["rm", "--force", "--all", "twice"]);
    let told = done(dir.path(), &url, &["trash", "empty", "a/x"]);
    assert!(told.contains("removed for good a/x"), "{told}");
    let told = commands::json(dir.path(), &url, &["trash", "empty"]);
    assert_eq!(told, [json!({ "removed": 1 })]);
    assert_eq!(status_of(&node), (0, 0));
    let told = done(dir.path(), &url, &["status"]);
    assert!(told.contains("`larder trash`"), "{told}");
}

/// How many files there are, and how many are in the trash.
fn status_of(node: &Node) -> (u64, u64) {
    let told = status(node);
    let trash = told["trash"]["files"].as_u64();
    (told["local_files"].as_u64().unwrap(), trash.unwrap())
}

#[test]
fn damage_of_what_is_written_down_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, "24h");
    for name in ["a", "b", "c"] {
        let file = uploaded(node.address, name, name.as_bytes());
        remove(&node, id(&file));
    }
    node.stop();
    let path = dir.path().join("peer_storage/trash");
    // Before each removal stands how far the trash's clock is.
    flip(&path, 16 + 3 * 80 + 20);
    let checked = commands::run(dir.path(), "", &["verify", "--storage", "peer_storage"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("trash: 1 changes"));
    let node = start_with(&dir, "24h");
    assert_eq!(
        (files(&node), trash(&node)),
        (vec!["b".into()], vec!["a".into(), "c".into()])
    );
    node.stop();
    // What a power cut tears off at the end was acknowledged to nobody; behind it two stops have
    // written down how far the clock was.
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 2 * 80 - 3]).unwrap();
    let node = start_with(&dir, "24h");
    assert_eq!(trash(&node), ["a"]);
}

#[test]
fn what_is_damaged_or_missing_in_the_trash_is_found_before_it_is_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, "1h");
    let contents = [content(1, LONG), content(2, LONG), content(3, 2_000)];
    let blob = |bytes: &[u8]| {
        let hash = larder::hash::BlobHash::of(bytes).to_string();
        let blobs = dir.path().join("peer_storage/blobs");
        blobs.join(&hash[..2]).join(hash)
    };
    let removed = contents.each_ref().map(|bytes| {
        let file = uploaded(node.address, "file", bytes);
        remove(&node, id(&file));
        id(&file).to_owned()
    });
    let verified = || {
        let output = commands::run(
            dir.path(),
            &node.url(""),
            &["verify", "--node", &node.url("")],
        );
        (
            String::from_utf8(output.stdout).unwrap(),
            output.status.code(),
        )
    };
    assert_eq!(verified().1, Some(0));
    flip(&blob(&contents[0]), LONG - 1_000);
    fs::remove_file(blob(&contents[1])).unwrap();
    let (told, status) = verified();
    assert_eq!(status, Some(1), "{told}");
    for bytes in &contents[..2] {
        let hash = larder::hash::BlobHash::of(bytes).to_string();
        assert!(told.contains(&hash), "{told}");
    }
    for bytes in &contents[..2] {
        uploaded(node.address, "again", bytes);
    }
    assert_eq!(verified().1, Some(0));
    for (id, bytes) in removed.iter().zip(&contents) {
        bring_back(&node, id);
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert!(answer.status == 200 && answer.body == *bytes);
    }
}

#[test]
fn a_long_trash_is_listed_in_pages_and_a_backup_has_none_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, "24h");
    for n in 0..600_u32 {
        let file = uploaded(node.address, &format!("{n:03}"), &n.to_le_bytes());
        if n % 300 != 299 {
            remove(&node, id(&file));
        }
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/p2p/trash?limit=250{after}");
        let page = get(node.address, &path, &[]).json();
        assert_eq!(page["total_files"], 598);
        let files = page["files"].as_array().unwrap().iter();
        seen.extend(files.map(|it| it["original_name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 598);
    // Pages of what is left, from either end.
    for order in ["oldest", "newest"] {
        let path = format!("/api/p2p/files?limit=1&order={order}");
        let page = get(node.address, &path, &[]).json();
        assert_eq!(
            (&page["file_count"], &page["total_files"]),
            (&json!(1), &json!(2))
        );
        assert!(page["next"].is_string(), "{page}");
    }
    let url = node.url("");
    let told = commands::json(dir.path(), &url, &["backup", "B"]);
    assert_eq!(told[0]["files"], 2);
    let emptied = ask(&node, "DELETE", "/api/p2p/trash").json();
    assert_eq!(emptied["removed"], 598);
    assert_eq!(status_of(&node), (2, 0));
}

#[test]
fn a_kill_has_nothing_stay_for_longer_than_it_was_to_when_it_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(&dir, "1h");
    let file = uploaded(node.address, "a", b"a");
    // The trash's own clock goes on, and was not written down by then.
    thread::sleep(Duration::from_millis(2500));
    remove(&node, id(&file));
    node.kill();
    let node = start_with(&dir, "1h");
    let told = get(node.address, "/api/p2p/trash", &[]).json();
    let stays = told["files"][0]["stays_seconds"].as_u64().unwrap();
    assert!((3500..=3600).contains(&stays), "{stays}");
}
