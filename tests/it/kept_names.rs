//! A copy is here under the name by which it was wanted, whatever else is here of its content.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::commands::done;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{peer_id, post, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get};
use crate::common::relay::Relay;

/// More than is looked at before an answer.
const LONG: usize = (64 << 20) + 1;

fn start_in(dir: &TempDir, arguments: &[&str]) -> Node {
    Node::start(dir, &[&["--discover-every", "1"], arguments].concat())
}

/// A node, and one that knows it as a peer.
fn pair() -> ([TempDir; 2], Node, Node) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let other = start_in(&dirs[0], &[]);
    let node = start_in(&dirs[1], &["--peer", &other.url("")]);
    (dirs, other, node)
}

fn keep(node: &Node, what: &Value) -> Answer {
    post(node.address, "/api/p2p/keep", &what.to_string())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The names and ids of the files that a node holds itself, sorted.
fn own_files(node: &Node) -> Vec<(String, String)> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    let of = |it: &Value, key: &str| text(&it[key]).to_owned();
    let mut files: Vec<_> = files
        .map(|it| (of(it, "original_name"), of(it, "file_id")))
        .collect();
    files.sort();
    files
}

fn own_names(node: &Node) -> Vec<String> {
    own_files(node).into_iter().map(|it| it.0).collect()
}

/// How far a copy is when it has come to its end.
fn ended(node: &Node, answer: &Answer) -> Value {
    let told = answer.json()["keep"].clone();
    if told["state"] == "kept" {
        return told;
    }
    let target = format!("/api/p2p/keep/{}", text(&told["id"]));
    until("the copy is kept", || {
        let keep = get(node.address, &target, &[]).json()["keep"].clone();
        (keep["state"] == "kept").then_some(keep)
    })
}

#[test]
fn content_that_is_here_under_another_name_gets_the_one_that_is_wanted() {
    let (_dirs, other, node) = pair();
    let holder = peer_id(other.address);
    for (number, length) in [100, 70_000, LONG].into_iter().enumerate() {
        let bytes = content(u32::try_from(number).unwrap(), length);
        let before = own_names(&node);
        let mine = format!("mine-{length}");
        uploaded(node.address, &mine, &bytes);
        let theirs = [1, 2].map(|it| format!("theirs-{length}-{it}"));
        let files = theirs.each_ref().map(|it| {
            let file = uploaded(other.address, it, &bytes);
            until("the node knows of it", || {
                let target = format!("/api/p2p/network?id={}", text(&file["file_id"]));
                let told = get(node.address, &target, &[]).json();
                (told["file_count"] == 1).then_some(())
            });
            file
        });
        let given = |it: &str| format!("given-{length}-{it}");
        let (hash, [first, second]) =
            (&files[0]["hash"], files.each_ref().map(|it| &it["file_id"]));
        for (what, name) in [
            (
                json!({ "hash": hash, "original_name": given("hash") }),
                given("hash"),
            ),
            (json!({ "file_id": first }), theirs[0].clone()),
            (
                json!({ "file_id": second, "peer_id": holder }),
                theirs[1].clone(),
            ),
            (
                json!({ "file_id": second, "peer_id": holder, "original_name": given("id") }),
                given("id"),
            ),
            (json!({ "hash": hash, "original_name": mine }), mine.clone()),
        ] {
            // Once more it is the same file.
            let kept = [(); 2].map(|()| {
                let answer = keep(&node, &what);
                assert_eq!(answer.status, 202, "{what}: {answer:?}");
                ended(&node, &answer)
            });
            let is_there = (name.clone(), text(&kept[0]["file_id"]).to_owned());
            assert!(own_files(&node).contains(&is_there), "{what}: {kept:?}");
            assert_eq!(kept[0]["file_id"], kept[1]["file_id"], "{what}");
            assert_eq!(kept[0]["original_name"], name, "{what}");
            let copy = get(node.address, &format!("/api/p2p/file/{}", is_there.1), &[]);
            assert!(copy.body == bytes, "{what}: {}", copy.status);
        }
        let after: Vec<_> = own_names(&node);
        assert_eq!(after.len(), before.len() + 5, "{after:?}");
        // Of content alone any name will do, and none is told that nothing here has.
        let alone = ended(&node, &keep(&node, &json!({ "hash": hash })));
        let called = text(&alone["original_name"]).to_owned();
        assert!(
            after.contains(&called) || called == text(hash),
            "{alone}: {after:?}"
        );
        assert_eq!(own_names(&node), after);
    }
}

#[test]
fn what_only_this_node_holds_gets_the_name_that_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &[]);
    let file = uploaded(node.address, "mine.png", b"only here");
    let (hash, id, peer) = (&file["hash"], &file["file_id"], peer_id(node.address));
    for (what, name) in [
        (json!({ "hash": hash, "original_name": "a" }), "a"),
        (json!({ "file_id": id, "original_name": "b" }), "b"),
        (
            json!({ "file_id": id, "peer_id": peer, "original_name": "c" }),
            "c",
        ),
        (
            json!({ "file_id": id, "original_name": "mine.png" }),
            "mine.png",
        ),
        (json!({ "file_id": id }), "mine.png"),
    ] {
        let kept = [(); 2].map(|()| {
            let answer = keep(&node, &what);
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
            let kept = answer.json()["keep"].clone();
            let keys: BTreeSet<_> = kept.as_object().unwrap().keys().cloned().collect();
            let usual = [
                "error",
                "fetched",
                "file_id",
                "hash",
                "id",
                "original_name",
                "size",
                "state",
            ];
            assert_eq!(keys, usual.map(str::to_owned).into());
            kept
        });
        assert_eq!(kept[0], kept[1]);
        let is_there = (name.to_owned(), text(&kept[0]["file_id"]).to_owned());
        assert!(own_files(&node).contains(&is_there), "{what}: {kept:?}");
    }
    assert_eq!(own_names(&node), ["a", "b", "c", "mine.png"]);
    let types = get(node.address, "/api/p2p/files", &[]).json();
    let types = types["files"].as_array().unwrap().iter();
    assert!(types.clone().all(|it| it["size"] == 9), "{types:?}");
}

#[test]
fn whoever_wants_a_name_at_the_same_moment_gets_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &[]);
    let file = uploaded(node.address, "mine", b"only here");
    let what = json!({ "hash": file["hash"], "original_name": "new" });
    let ids: BTreeSet<_> = thread::scope(|scope| {
        let asking: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| keep(&node, &what)))
            .collect();
        let answers = asking.into_iter().map(|it| it.join().unwrap());
        answers
            .map(|it| text(&it.json()["keep"]["file_id"]).to_owned())
            .collect()
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(own_names(&node), ["mine", "new"]);
}

#[test]
fn a_content_that_is_under_way_comes_under_every_name_that_is_wanted_also_after_a_kill() {
    for killed in [false, true] {
        let cable = Relay::new();
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let other = start_in(&dirs[0], &["--base-url", &cable.url()]);
        cable.connect(other.address);
        let bytes = content(5, 4 << 20);
        let file = uploaded(other.address, "theirs", &bytes);
        let usual = ["--peer", &cable.url(), "--peer-stall", "1"];
        let node = start_in(&dirs[1], &usual);
        until_sees(node.address, &["theirs"]);
        cable.stall_after(1 << 20);
        let hash = &file["hash"];
        for name in [None, Some("a"), Some("b"), Some("b"), None] {
            let mut what = json!({ "hash": hash });
            if let Some(name) = name {
                what["original_name"] = name.into();
            }
            let answer = keep(&node, &what);
            assert_eq!(answer.status, 202, "{answer:?}");
            let told = answer.json()["keep"].clone();
            assert_ne!(told["state"], "kept");
            if let Some(name) = name {
                assert_eq!(told["original_name"], name);
            }
        }
        let node = if killed {
            node.kill();
            cable.mend();
            start_in(&dirs[1], &usual)
        } else {
            cable.mend();
            node
        };
        until("both names are there", || {
            let names: BTreeSet<_> = own_names(&node).into_iter().collect();
            names
                .is_superset(&["a", "b"].map(str::to_owned).into())
                .then_some(())
        });
        let target = format!("/api/p2p/keep/{}", text(hash));
        until("it is at its end", || {
            let keep = get(node.address, &target, &[]);
            // Of what was kept before it was started a node tells nothing.
            (keep.status == 404 || keep.json()["keep"]["state"] == "kept").then_some(())
        });
        let files = get(node.address, "/api/p2p/files", &[]).json();
        for file in files["files"].as_array().unwrap() {
            assert_eq!(file["hash"], *hash);
        }
        let names = own_names(&node);
        let twice = names.windows(2).any(|two| two[0] == two[1]);
        assert!(!twice && names.len() <= 3, "{names:?}");
    }
}

#[test]
fn each_name_that_a_command_keeps_is_there_and_told_with_its_id() {
    let (_dirs, other, node) = pair();
    let here = tempfile::tempdir().unwrap();
    let url = node.url("");
    let bytes = content(6, 3 << 20);
    let names = ["d/one", "d/two", "three"];
    for name in names {
        uploaded(other.address, name, &bytes);
    }
    until_sees(node.address, &names);
    let lines = |told: &str| {
        let told = told.lines().map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!((words[0], words[2]), ("keeps", "as"), "{line}");
            (words[1].to_owned(), words[3].to_owned())
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    };
    // Of which none is here, of which one is, and of which all are.
    for wanted in [&["d/one", "d/two"][..], &["d", "three"], &["d", "three"]] {
        let told = done(here.path(), &url, &[&["keep"], wanted].concat());
        let told = lines(&told);
        let own = own_files(&node);
        assert!(told.iter().all(|it| own.contains(it)), "{told:?} {own:?}");
        let count = if wanted.contains(&"three") { 3 } else { 2 };
        assert_eq!((told.len(), own.len()), (count, count));
    }
    let by_id = uploaded(other.address, "four", &bytes);
    until_sees(node.address, &["d/one", "d/two", "three", "four"]);
    let told = done(here.path(), &url, &["keep", text(&by_id["file_id"])]);
    assert_eq!(lines(&told)[0].0, "four");
    assert!(own_files(&node).contains(&lines(&told)[0]));
}
