//! A part of a store that is of another time, or of another store, as after a part of a backup was
//! put back: that is told, and nothing is deleted that may be needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{keep, peer_id, until_held};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

/// More than packs hold, so that each is a file.
const LONG: usize = 70_000;

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

fn copied(dir: &TempDir) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    copy(&storage(dir), to.path());
    to
}

/// Puts a part of one storage directory in its place in another.
fn put(part: &str, from: &TempDir, into: &TempDir) {
    let place = storage(into).join(part);
    if place.is_dir() {
        fs::remove_dir_all(&place).unwrap();
    } else if place.exists() {
        fs::remove_file(&place).unwrap();
    }
    copy(&storage(from).join(part), &place);
}

/// Uploads contents of the numbers, long ones and short ones in turn; their ids.
fn upload_all(node: &Node, numbers: std::ops::Range<u32>) -> Vec<String> {
    let upload = |number: u32| {
        let len = if number.is_multiple_of(2) { LONG } else { 100 };
        let file = uploaded(node.address, &format!("{number}"), &content(number, len));
        file["file_id"].as_str().unwrap().to_owned()
    };
    numbers.map(upload).collect()
}

fn are_there(node: &Node, ids: &[String]) -> Vec<bool> {
    let status = |id| get(node.address, &format!("/api/p2p/file/{id}"), &[]).status;
    ids.iter().map(|id| status(id) == 200).collect()
}

fn lost(node: &Node) -> u64 {
    let health = get(node.address, "/health", &[]).json();
    health["lost_changes"].as_u64().unwrap()
}

fn run(dir: &TempDir, command: &str) -> (Option<i32>, String) {
    let output = larder(dir.path()).arg(command).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// A store of 6 files after a stop, and the same of 13 after a kill, with the ids of all.
struct Times {
    earlier: TempDir,
    later: TempDir,
    ids: Vec<String>,
}

impl Times {
    fn with(arguments: &[&str]) -> Self {
        let later = tempfile::tempdir().unwrap();
        let node = Node::start(&later, arguments);
        let mut ids = upload_all(&node, 0..6);
        node.stop();
        let earlier = copied(&later);
        let node = Node::start(&later, arguments);
        ids.extend(upload_all(&node, 6..13));
        node.kill();
        Self {
            earlier,
            later,
            ids,
        }
    }
}

#[test]
fn a_journal_of_an_earlier_time_is_told_and_content_that_it_does_not_know_is_kept() {
    let Times {
        earlier,
        later,
        ids,
    } = Times::with(&[]);
    let without_database = |dir: &TempDir| fs::remove_dir_all(storage(dir).join("index")).unwrap();
    let changes: [&dyn Fn(&TempDir); 2] = [&|_| {}, &without_database];
    for (at, change) in changes.into_iter().enumerate() {
        let dir = copied(&later);
        put("journal", &earlier, &dir);
        change(&dir);
        let (status, said) = run(&dir, "verify");
        assert_eq!(status, Some(1), "{said}");
        let told = "it ends before entry 7, and 14 was reached once";
        assert!(said.contains(told), "{at}: {said}");
        assert!(!said.contains("the node deletes it"), "{at}: {said}");
        for start in 0..3 {
            let node = Node::start(&dir, &[]);
            assert!(node.log().contains("of an earlier time"), "{at}");
            assert_eq!(lost(&node), 7, "{at}, start {start}");
            assert_eq!(are_there(&node, &ids[..6]), [true; 6]);
            // A collection would have been ended before the stop.
            if start == 1 {
                node.kill();
            } else {
                node.stop();
            }
        }
        let node = Node::start(&dir, &[]);
        assert_eq!(node.content_files().len(), 13, "{at}");
        // What comes later is not mistaken for what was lost.
        let more = upload_all(&node, 20..30);
        node.kill();
        let node = Node::start(&dir, &[]);
        assert_eq!(lost(&node), 7, "{at}");
        assert_eq!(are_there(&node, &more), [true; 10]);
    }
}

/// What a storage directory has beside its contents that tells which files there are.
const ALL_RECORDS: [&str; 4] = ["journal", "journal.reached", "index", "index.seal"];

fn put_back(parts: &[&str], from: &TempDir, into: &TempDir) {
    for part in parts {
        let place = storage(into).join(part);
        if storage(from).join(part).exists() {
            put(part, from, into);
        } else if place.is_dir() {
            fs::remove_dir_all(place).unwrap();
        } else if place.exists() {
            fs::remove_file(place).unwrap();
        }
    }
}

fn settle(dir: &TempDir) {
    let arguments = ["rebuild-index", "--forget-loss"];
    let output = larder(dir.path()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn whatever_parts_of_an_earlier_day_are_put_back_nothing_is_deleted_that_a_later_record_needs() {
    let times = Times::with(&[]);
    let with = |contents: &[&'static str]| [&ALL_RECORDS[..], contents].concat();
    // The last content is a long one, of which nothing is noted with the short ones.
    for (parts, missing) in [
        (ALL_RECORDS[..2].to_vec(), 7),
        (ALL_RECORDS[..3].to_vec(), 7),
        (ALL_RECORDS.to_vec(), 7),
        // What is left to tell of it is with the other contents alone.
        (with(&["blobs", "outboards"]), 6),
        (with(&["packs"]), 7),
        (vec!["journal", "journal.reached", "blobs"], 6),
        (vec!["journal", "packs"], 7),
    ] {
        let dir = copied(&times.later);
        put_back(&parts, &times.earlier, &dir);
        let (_, said) = run(&dir, "verify");
        let told = format!("{} was reached once", 7 + missing);
        assert!(said.contains(&told), "{parts:?}: {said}");
        assert!(!said.contains("the node deletes it"), "{parts:?}: {said}");
        let node = Node::start(&dir, &[]);
        let before = node.content_files();
        node.kill();
        for start in 0..3 {
            let node = Node::start(&dir, &[]);
            assert_eq!(lost(&node), missing, "{parts:?}, start {start}");
            assert_eq!(are_there(&node, &times.ids[..6]), [true; 6], "{parts:?}");
            // A collection would have been ended before the stop.
            if start == 1 {
                node.kill();
            } else {
                node.stop();
            }
        }
        let node = Node::start(&dir, &[]);
        assert_eq!(node.content_files(), before, "{parts:?}");
        node.kill();
        // What belongs together is put back, and nothing was lost of it.
        put_back(&parts, &times.later, &dir);
        put_back(&ALL_RECORDS, &times.later, &dir);
        let node = Node::start(&dir, &[]);
        assert_eq!(are_there(&node, &times.ids), [true; 13], "{parts:?}");
    }
}

#[test]
fn a_backup_that_is_copied_over_a_later_store_is_told_by_what_it_does_not_replace() {
    let Times { earlier, later, .. } = Times::with(&[]);
    for part in ALL_RECORDS.iter().chain(&["blobs", "packs"]) {
        copy(&storage(&earlier).join(part), &storage(&later));
    }
    let node = Node::start(&later, &[]);
    let before = node.content_files();
    assert_eq!(lost(&node), 7);
    node.kill();
    Node::start(&later, &[]).stop();
    assert_eq!(Node::start(&later, &[]).content_files(), before);
}

#[test]
fn putting_the_same_earlier_day_back_once_more_makes_nothing_of_what_was_kept() {
    let Times { earlier, later, .. } = Times::with(&[]);
    put_back(&ALL_RECORDS, &earlier, &later);
    Node::start(&later, &[]).kill();
    // By a tool that also removes what the backup has not.
    put_back(&ALL_RECORDS, &earlier, &later);
    fs::remove_file(storage(&later).join("journal.loss")).unwrap();
    Node::start(&later, &[]).kill();
    Node::start(&later, &[]).stop();
    let node = Node::start(&later, &[]);
    assert!(lost(&node) > 0);
    assert_eq!(node.content_files().len(), 13);
    node.kill();
    settle(&later);
    until_collected(&later, 6);
}

#[test]
fn what_was_kept_of_a_later_time_goes_once_that_is_settled() {
    let Times { earlier, later, .. } = Times::with(&[]);
    put_back(&ALL_RECORDS, &earlier, &later);
    let node = Node::start(&later, &[]);
    assert_eq!((lost(&node), node.content_files().len()), (7, 13));
    node.stop();
    settle(&later);
    let node = Node::start(&later, &[]);
    until("what no file needs is deleted", || {
        (node.content_files().len() == 6).then_some(())
    });
    assert_eq!(lost(&node), 0);
}

#[test]
fn records_and_contents_of_two_stores_are_refused_and_taken_together_lose_nothing() {
    let own = Times::with(&[]);
    let other = tempfile::tempdir().unwrap();
    let node = Node::start(&other, &[]);
    upload_all(&node, 100..106);
    node.stop();
    let cases: [(&[&str], usize); 5] = [
        (&ALL_RECORDS[..2], 13),
        (&ALL_RECORDS, 13),
        (&["packs"], 7 + 3),
        (&["blobs", "outboards"], 3 + 6),
        (&["blobs", "packs"], 6),
    ];
    for (parts, contents) in cases {
        let dir = copied(&own.later);
        put_back(parts, &other, &dir);
        for command in ["serve", "rebuild-index", "verify"] {
            let (status, said) = run(&dir, command);
            assert_eq!(status, Some(1), "{parts:?} {command}: {said}");
            assert!(said.contains("another store"), "{command}: {said}");
        }
        let undone = copied(&dir);
        put_back(parts, &own.later, &undone);
        let node = Node::start(&undone, &[]);
        assert_eq!(are_there(&node, &own.ids), [true; 13], "{parts:?}");
        node.kill();
        let arguments = ["rebuild-index", "--skip-damage"];
        let output = larder(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{parts:?}: {output:?}");
        let node = Node::start(&dir, &[]);
        let before = node.content_files();
        assert_eq!(before.len(), contents, "{parts:?}");
        assert!(lost(&node) > 0, "{parts:?}");
        node.kill();
        Node::start(&dir, &[]).stop();
        let node = Node::start(&dir, &[]);
        assert_eq!(node.content_files(), before, "{parts:?}");
        node.kill();
    }
}

/// Content that a crash has left without a record, and where.
fn leave_content(dir: &TempDir) -> PathBuf {
    let bytes = content(77, LONG);
    let hash = blake3::hash(&bytes).to_hex();
    let path = storage(dir).join("blobs").join(&hash[..2]).join(&*hash);
    fs::write(&path, bytes).unwrap();
    path
}

fn until_collected(dir: &TempDir, left: usize) {
    let node = Node::start(dir, &[]);
    until("what the crash left is deleted", || {
        (node.content_files().len() == left).then_some(())
    });
    assert_eq!(lost(&node), 0);
    node.kill();
}

/// The empty directory whose name tells how far the journal had come.
fn named_note(dir: &TempDir) -> PathBuf {
    let names = fs::read_dir(storage(dir).join("blobs")).unwrap();
    let names = names.map(|name| name.unwrap().path());
    let is_note = |path: &PathBuf| path.to_string_lossy().contains("reached-");
    let notes: Vec<_> = names.filter(is_note).collect();
    assert_eq!(notes.len(), 1);
    notes[0].clone()
}

/// Removes all that tells how far the journal had come: an older larder leaves no more.
fn forget_reached(dir: &TempDir) {
    for file in ["journal.reached", "packs/journal.reached"] {
        fs::remove_file(storage(dir).join(file)).unwrap();
    }
    fs::remove_dir(named_note(dir)).unwrap();
}

#[test]
fn who_clears_away_what_is_empty_makes_a_node_neither_stop_nor_miss_anything() {
    let Times {
        later: dir, ids, ..
    } = Times::with(&[]);
    fs::remove_dir(named_note(&dir)).unwrap();
    let node = Node::start(&dir, &[]);
    assert_eq!((lost(&node), are_there(&node, &ids)), (0, vec![true; 13]));
    fs::remove_dir(named_note(&dir)).unwrap();
    let more = upload_all(&node, 20..22);
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
    named_note(&dir);
    node.kill();
    leave_content(&dir);
    until_collected(&dir, 15);
    // Whatever is put there makes no difference.
    let noted = named_note(&dir);
    fs::remove_dir(&noted).unwrap();
    fs::write(&noted, "mine").unwrap();
    let node = Node::start(&dir, &[]);
    assert_eq!((lost(&node), are_there(&node, &more)), (0, vec![true; 2]));
    node.kill();
    assert_eq!(fs::read(&noted).unwrap(), b"mine");
}

#[test]
fn what_a_kill_leaves_is_deleted_at_the_next_start_also_of_an_older_larder() {
    let dir = Times::with(&[]).later;
    leave_content(&dir);
    until_collected(&dir, 13);
    leave_content(&dir);
    forget_reached(&dir);
    until_collected(&dir, 13);
}

#[test]
fn contents_about_which_nothing_is_noted_any_more_are_kept_until_that_is_settled() {
    let dir = Times::with(&[]).later;
    leave_content(&dir);
    let noted = storage(&dir).join("packs/journal.reached");
    fs::remove_file(&noted).unwrap();
    let (status, said) = run(&dir, "verify");
    assert_eq!(status, Some(1), "{said}");
    let told = said
        .lines()
        .find(|line| line.contains("packs/journal.reached"));
    assert!(told.is_some_and(|it| it.contains("keeps")), "{said}");
    for _ in 0..3 {
        let node = Node::start(&dir, &[]);
        assert_eq!((lost(&node), node.content_files().len()), (1, 14));
        node.kill();
    }
    settle(&dir);
    until_collected(&dir, 13);
}

#[test]
fn a_damaged_note_with_contents_has_them_kept_for_one_start_and_is_made_anew() {
    let times = Times::with(&[]);
    for bytes in [&b""[..], b"no such thing", &[7; 72], &[0; 5_000]] {
        let dir = copied(&times.later);
        let left = leave_content(&dir);
        let noted = storage(&dir).join("packs/journal.reached");
        fs::write(&noted, bytes).unwrap();
        let (_, said) = run(&dir, "verify");
        assert!(said.contains("packs/journal.reached"), "{said}");
        let node = Node::start(&dir, &[]);
        // A collection would have been ended before the stop.
        node.stop();
        assert!(left.exists());
        let node = Node::start(&dir, &[]);
        assert_eq!(are_there(&node, &times.ids), [true; 13]);
        node.kill();
        until_collected(&dir, 13);
    }
}

#[test]
fn a_relaxed_journal_of_an_earlier_time_is_missed_as_far_as_it_was_durable() {
    let arguments = ["--durability", "relaxed"];
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &arguments);
    upload_all(&node, 0..6);
    node.stop();
    let earlier = copied(&dir);
    let node = Node::start(&dir, &arguments);
    upload_all(&node, 6..13);
    let reached = || fs::read(storage(&dir).join("journal.reached")).unwrap();
    until("the last change is durable", || {
        (reached()[24..32] == 14u64.to_le_bytes()).then_some(())
    });
    node.kill();
    put("journal", &earlier, &dir);
    let node = Node::start(&dir, &arguments);
    assert_eq!(lost(&node), 7);
    assert_eq!(node.content_files().len(), 13);
}

#[test]
fn an_earlier_segment_beside_the_copy_of_the_last_change_is_told_like_an_earlier_journal() {
    let Times {
        earlier,
        later,
        ids,
    } = Times::with(&[]);
    put("journal/0000000001.journal", &earlier, &later);
    let node = Node::start(&later, &[]);
    // The copy has the last of the seven.
    assert_eq!(lost(&node), 6);
    assert_eq!(are_there(&node, &ids[..6]), [true; 6]);
    assert_eq!(are_there(&node, &ids[12..]), [true]);
    node.kill();
    let node = Node::start(&later, &[]);
    let files = node.content_files();
    assert_eq!((lost(&node), files.len()), (6, 13), "{files:?}");
}

#[test]
fn a_journal_of_another_store_is_refused_and_the_own_one_put_back_loses_nothing() {
    let Times {
        earlier: stopped,
        later: killed,
        ids,
    } = Times::with(&[]);
    for files in [0..2, 0..40] {
        let other = tempfile::tempdir().unwrap();
        let node = Node::start(&other, &[]);
        upload_all(&node, files.clone());
        node.stop();
        for (own, count) in [(&stopped, 6), (&killed, 13)] {
            for parts in [&["journal"][..], &["journal", "index", "index.seal"]] {
                let dir = copied(own);
                for part in parts {
                    put(part, &other, &dir);
                }
                for command in ["serve", "rebuild-index", "verify"] {
                    let (status, said) = run(&dir, command);
                    assert_eq!(status, Some(1), "{parts:?} {command}: {said}");
                    assert!(said.contains("another store"), "{command}: {said}");
                }
                put("journal", own, &dir);
                for part in &parts[1..] {
                    fs::remove_dir_all(storage(&dir).join(part))
                        .or_else(|_| fs::remove_file(storage(&dir).join(part)))
                        .unwrap();
                }
                let node = Node::start(&dir, &[]);
                assert_eq!(lost(&node), 0);
                assert_eq!(are_there(&node, &ids[..count]), vec![true; count]);
            }
        }
    }
}

#[test]
fn a_segment_of_another_store_among_the_own_ones_is_refused() {
    let Times { later, .. } = Times::with(&[]);
    let other = Times::with(&[]).later;
    let segment =
        |dir: &TempDir, number: u32| storage(dir).join(format!("journal/{number:010}.journal"));
    copy(&segment(&other, 1), &segment(&later, 2));
    let (status, said) = run(&later, "serve");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(".journal at byte"), "{said}");
}

#[test]
fn what_tells_of_the_journal_is_no_reason_to_refuse_where_it_is_of_less_or_damaged() {
    let Times {
        earlier,
        later,
        ids,
    } = Times::with(&[]);
    for part in [
        "index.seal",
        "journal/last-batch",
        "index",
        "journal.reached",
    ] {
        let dir = copied(&later);
        put(part, &earlier, &dir);
        let node = Node::start(&dir, &[]);
        assert_eq!(are_there(&node, &ids), [true; 13], "{part}");
        assert_eq!(lost(&node), 0, "{part}");
        node.stop();
        Node::start(&dir, &[]).stop();
        let (status, said) = run(&dir, "verify");
        assert_eq!(status, Some(0), "{part}: {said}");
    }
    let dir = copied(&later);
    let reached = storage(&dir).join("journal.reached");
    for bytes in [&b""[..], b"no such thing", &[7; 5_000]] {
        fs::write(&reached, bytes).unwrap();
        let (status, said) = run(&dir, "verify");
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("journal.reached"), "{said}");
        let node = Node::start(&dir, &[]);
        assert_eq!(
            (lost(&node), fs::metadata(&reached).unwrap().len()),
            (0, 36)
        );
        node.kill();
    }
    // An older larder leaves none.
    fs::remove_file(&reached).unwrap();
    let (status, said) = run(&dir, "verify");
    assert_eq!(status, Some(0), "{said}");
    let node = Node::start(&dir, &[]);
    assert_eq!(are_there(&node, &ids), [true; 13]);
}

#[test]
fn a_seal_of_an_earlier_time_does_not_make_a_crash_a_clean_stop() {
    let Times { earlier, later, .. } = Times::with(&[]);
    put("index.seal", &earlier, &later);
    let node = Node::start(&later, &[]);
    assert!(node.log().contains("of another time"), "{}", node.log());
}

/// Everybody whom it names is asked where it says he is, and believed what he signs.
#[test]
fn the_known_peers_of_another_store_are_taken_and_the_node_itself_is_not_its_own_peer() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let often = ["--discover-every", "1"];
    let one = Node::start(&dirs[0], &often);
    let port = one.address.port().to_string();
    let peer = one.url("");
    let other = Node::start(&dirs[1], &[&often[..], &["--peer", &peer]].concat());
    let other_port = other.address.port().to_string();
    let id = |node: &Node| peer_id(node.address);
    let peers = |node: &Node| -> Vec<String> {
        let peers = get(node.address, "/api/peers", &[]).json();
        let peers = peers["peers"].as_array().unwrap().iter();
        peers
            .map(|it| it["peer_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (one_id, other_id) = (id(&one), id(&other));
    for dir in &dirs {
        until("it is written down", || {
            storage(dir).join("known-peers").exists().then_some(())
        });
    }
    one.stop();
    other.stop();
    // Each is known by the other.
    put("known-peers", &dirs[1], &dirs[0]);
    let one = Node::start(&dirs[0], &[&often[..], &["--port", &port]].concat());
    assert_eq!(id(&one), one_id);
    assert!(!peers(&one).contains(&one_id));
    put("known-peers", &dirs[0], &dirs[1]);
    let other = Node::start(&dirs[1], &[&often[..], &["--port", &other_port]].concat());
    assert_eq!(id(&other), other_id);
    assert!(!peers(&other).contains(&other_id));
}

#[test]
fn what_another_store_wants_is_taken_as_if_it_were_said_here() {
    let holder_dir = tempfile::tempdir().unwrap();
    let holder = Node::start(&holder_dir, &[]);
    let file = uploaded(holder.address, "a", &content(1, LONG));
    let hash = file["hash"].as_str().unwrap();
    let often = ["--discover-every", "1"];
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start(&one, &[&often[..], &["--peer", &holder.url("")]].concat());
    until_held(node.address, &file["hash"], 1);
    // Nobody has it any more, so that it stays wanted.
    holder.kill();
    keep(node.address, hash);
    node.stop();
    Node::start(&other, &[]).stop();
    put("keeping/wanted", &one, &other);
    let holder = Node::start(&holder_dir, &[]);
    let node = Node::start(&other, &[&often[..], &["--peer", &holder.url("")]].concat());
    until("it is kept", || {
        let keep = get(node.address, &format!("/api/p2p/keep/{hash}"), &[]).json();
        (keep["keep"]["state"] == "kept").then_some(())
    });
}
