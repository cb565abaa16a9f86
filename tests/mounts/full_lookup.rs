//! The lookup database finds no room: what is stored is served and can be removed all the same,
//! since the journal has all of it.
//!
//! The disks are tmpfs that the test mounts, which takes root.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{Answer, get, head, send};
use crate::mounted::Mounted;
use crate::small_disk::{SmallDisk, free, storage};

/// So many that the lookup database has to grow by several megabytes.
const MANY: u32 = 3_000;
/// Short enough for packs.
const LEN: usize = 150;

/// Id and content of each file that was taken.
type Kept = Vec<(String, Vec<u8>)>;

fn end(node: Node, kills: bool) {
    if kills {
        node.kill();
    } else {
        node.stop();
    }
}

fn id_of(answer: &Value) -> String {
    answer["file_id"].as_str().unwrap().to_owned()
}

fn keep(node: &Node, kept: &mut Kept, seed: u32) {
    let bytes = content(seed, LEN);
    let taken = uploaded(node.address, &format!("{seed}.txt"), &bytes);
    kept.push((id_of(&taken), bytes));
}

/// Every file that was taken is answered with its bytes, and nothing else is there.
fn check_all(node: &Node, kept: &Kept) {
    check_each(node, kept, 1);
}

/// The same of each eighth, which takes less time; all have to be listed.
fn check(node: &Node, kept: &Kept) {
    check_each(node, kept, 8);
}

fn check_each(node: &Node, kept: &Kept, step: usize) {
    for (id, bytes) in kept.iter().step_by(step) {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body == *bytes, "{id} is not what was uploaded");
    }
    let ids: Vec<_> = kept.iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(listed(node, ""), ids);
    let mut newest = listed(node, "&order=newest");
    newest.reverse();
    assert_eq!(newest, ids);
}

/// The ids of all files, read a page after the other.
fn listed(node: &Node, order: &str) -> Vec<String> {
    let (mut ids, mut from) = (Vec::new(), String::new());
    loop {
        let target = format!("/api/p2p/files?limit=700{order}{from}");
        let answer = get(node.address, &target, &[]);
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let files = page["files"].as_array().unwrap();
        ids.extend(files.iter().map(id_of));
        let behind = if order.is_empty() { "after" } else { "before" };
        match page["next"].as_str() {
            Some(next) => from = format!("&{behind}={next}"),
            None => return ids,
        }
    }
}

fn removed(node: &Node, id: &str) -> Answer {
    send(
        node.address,
        &head("DELETE", &format!("/api/p2p/file/{id}"), &[]),
    )
}

/// Removes every so many of the files.
fn remove_each(node: &Node, kept: &mut Kept, step: usize) {
    let mut at = 0;
    kept.retain(|(id, _)| {
        at += 1;
        let stays = at % step != 0;
        if !stays {
            let answer = removed(node, id);
            assert_eq!(answer.status, 200, "{answer:?}");
            let gone = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
            assert_eq!(gone.refusal(), (404, "unknown_file".to_owned()));
        }
        stays
    });
}

fn assert_full(node: &Node) {
    let answer = upload(node.address, &form(&[file("no", &content(1 << 20, LEN))]));
    assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
    assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    let ready = get(node.address, "/ready", &[]);
    assert_eq!(ready.refusal(), (503, "disk_full".to_owned()));
}

/// All goes on by itself where there is room, and nothing was lost.
fn heals(node: &Node, kept: &mut Kept) {
    until("an upload is taken", || {
        let bytes = content(2 << 20, LEN);
        let answer = upload(node.address, &form(&[file("again", &bytes)]));
        let id = || id_of(&answer.json()["file"]);
        (answer.status == 200).then(|| kept.push((id(), bytes)))
    });
    until("it is ready", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
    check(node, kept);
}

fn assert_sound(dir: &TempDir) {
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{told}");
}

/// Another program that writes until the disk is full, and takes at once what is given back; until
/// it is dropped.
struct Thief<'a> {
    stops: &'a AtomicBool,
}

impl Drop for Thief<'_> {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

fn steal(path: &Path, stops: &AtomicBool) {
    use std::io::Write;
    let mut loot = fs::File::create(path).unwrap();
    while !stops.load(Ordering::Relaxed) {
        // A page at a time, down to the last.
        if loot.write_all(&[1; 4096]).is_err() {
            thread::yield_now();
        }
    }
}

/// Stored by a node on a small disk, which goes on.
fn many(disk: &SmallDisk, arguments: &[&str]) -> (Node, Kept) {
    let node = Node::start(&disk.dir, arguments);
    let mut kept = Kept::new();
    for seed in 0..MANY {
        keep(&node, &mut kept, seed);
    }
    (node, kept)
}

#[test]
fn thousands_of_files_are_served_and_removed_on_a_full_disk() {
    for arguments in [&[][..], &["--durability", "relaxed"]] {
        let disk = SmallDisk::mount();
        let (mut node, mut kept) = many(&disk, arguments);
        let mut fillers: Vec<PathBuf> = Vec::new();
        for (round, kills) in [true, false].into_iter().enumerate() {
            fillers.push(disk.fill_by(&format!("filler {round}")));
            check(&node, &kept);
            remove_each(&node, &mut kept, 10);
            // What that has given back, others take, and not what is kept for removals: that is
            // lent until the last removed content is deleted.
            until("the ballast is back", || {
                storage(&disk.dir).join("ballast").exists().then_some(())
            });
            fillers.push(disk.fill_by(&format!("filler {round} again")));
            check(&node, &kept);
            assert_full(&node);
            end(node, kills);
            node = Node::start(&disk.dir, arguments);
            check(&node, &kept);
            remove_each(&node, &mut kept, 100);
        }
        check_all(&node, &kept);
        for filler in fillers {
            fs::remove_file(filler).unwrap();
        }
        heals(&node, &mut kept);
        node.stop();
        assert_sound(&disk.dir);
        check(&Node::start(&disk.dir, arguments), &kept);
    }
}

#[test]
fn whoever_takes_all_room_at_once_keeps_nobody_from_reading_nor_a_node_from_starting() {
    let disk = SmallDisk::mount();
    let (node, mut kept) = many(&disk, &[]);
    let (loot, stops) = (storage(&disk.dir).join("loot"), AtomicBool::new(false));
    let node = thread::scope(|scope| {
        let thief = Thief { stops: &stops };
        scope.spawn(|| steal(&loot, &stops));
        until("the disk is full", || {
            (free(&storage(&disk.dir)) == 0).then_some(())
        });
        check_all(&node, &kept);
        // Whatever becomes of each: what is answered is what happens.
        let mut at = 0;
        kept.retain(|(id, _)| {
            at += 1;
            if at % 20 != 0 {
                return true;
            }
            let answer = removed(&node, id);
            if answer.status == 200 {
                return false;
            }
            assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
            assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
            true
        });
        check(&node, &kept);
        assert_full(&node);
        node.kill();
        let node = Node::start(&disk.dir, &[]);
        check(&node, &kept);
        node.stop();
        let node = Node::start(&disk.dir, &[]);
        check(&node, &kept);
        drop(thief);
        node
    });
    fs::remove_file(&loot).unwrap();
    heals(&node, &mut kept);
    remove_each(&node, &mut kept, 7);
    node.stop();
    assert_sound(&disk.dir);
}

/// Only the lookup database is short of room, so all that fails fails on its account.
#[test]
fn the_journal_answers_for_a_lookup_database_that_finds_no_room() {
    for kills in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let index = Mounted::tmpfs("size=1400k,mode=700", &storage(&dir).join("index"));
        let mut node = Node::start(&dir, &[]);
        let mut kept = Kept::new();
        // There are never so many before the database is full.
        let refused = (0..20_000).find_map(|seed| {
            let bytes = content(seed, LEN);
            let body = form(&[file(&format!("{seed}.txt"), &bytes)]);
            let answer = upload(node.address, &body);
            if answer.status != 200 {
                return Some(answer);
            }
            kept.push((id_of(&answer.json()["file"]), bytes));
            None
        });
        let refused = refused.unwrap();
        assert_eq!(refused.refusal(), (507, "disk_full".to_owned()));
        assert!(kept.len() > 500, "only {} were taken", kept.len());
        check_all(&node, &kept);
        let status = || get(node.address, "/api/p2p/status", &[]).json();
        assert_eq!(status()["local_files"], kept.len());
        // By name, and by a part of it.
        let peer = status()["peer"]["peer_id"].as_str().unwrap().to_owned();
        let named = get(
            node.address,
            &format!("/api/p2p/download/{peer}/7.txt"),
            &[],
        );
        assert!(named.body == kept[7].1);
        remove_each(&node, &mut kept, 3);
        check(&node, &kept);
        assert_full(&node);
        end(node, kills);
        index.remount("size=400k");
        node = Node::start(&dir, &[]);
        check(&node, &kept);
        remove_each(&node, &mut kept, 4);
        check(&node, &kept);
        assert_full(&node);
        index.remount("size=20M");
        heals(&node, &mut kept);
        remove_each(&node, &mut kept, 5);
        node.stop();
        assert_sound(&dir);
        check(&Node::start(&dir, &[]), &kept);
    }
}
