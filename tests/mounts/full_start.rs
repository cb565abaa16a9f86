//! A node that is started on a full disk serves what it has, removes what it is told to, says what
//! is short, and takes uploads as soon as there is room.
//!
//! The disk is a tmpfs that the test mounts, which takes root.

use std::fs;
use std::path::PathBuf;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::small_disk::{SmallDisk, free, storage};

const LONG: usize = 2 << 20;
const SHORT: usize = 5_000;
/// How much the store keeps for itself, in bytes.
const BALLAST: u64 = 8 << 20;

/// Id and content of each file that was taken.
type Kept = Vec<(String, Vec<u8>)>;

fn keep(node: &Node, kept: &mut Kept, seed: u32, len: usize) {
    let bytes = content(seed, len);
    let taken = uploaded(node.address, "file", &bytes);
    kept.push((taken["file_id"].as_str().unwrap().to_owned(), bytes));
}

/// Keeps so many files, long ones and short ones by turns.
fn keep_some(node: &Node, count: u32) -> Kept {
    let mut kept = Kept::new();
    for seed in 0..count {
        let len = if seed % 2 == 0 { LONG } else { SHORT };
        keep(node, &mut kept, seed, len);
    }
    kept
}

fn check(node: &Node, kept: &Kept) {
    let list = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(list["file_count"], kept.len());
    for (id, bytes) in kept {
        let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert_eq!(answer.status, 200);
        assert!(answer.body == *bytes, "{id} is not what was uploaded");
    }
}

fn remove(node: &Node, kept: &mut Kept) {
    let (id, _) = kept.remove(0);
    let request = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
    let answer = send(node.address, &request);
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// With nothing to be left free, a short upload may find the room that a start has left.
fn assert_told_to_be_full(node: &Node, arguments: &[&str]) {
    let lens = if arguments.contains(&"--min-free") {
        &[LONG][..]
    } else {
        &[SHORT, LONG]
    };
    for len in lens.iter().copied() {
        let body = form(&[file("refused", &content(99, len))]);
        let answer = upload(node.address, &body);
        assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
    }
    if lens.len() == 1 {
        return;
    }
    let ready = get(node.address, "/ready", &[]);
    assert_eq!(ready.refusal(), (503, "disk_full".to_owned()));
    let health = get(node.address, "/health", &[]);
    assert_eq!(
        (health.status, &health.json()["writable"]),
        (200, &false.into())
    );
}

fn ballast(disk: &SmallDisk) -> PathBuf {
    storage(&disk.dir).join("ballast")
}

fn verify(disk: &SmallDisk) -> (bool, String) {
    let verified = larder(disk.dir.path()).arg("verify").output().unwrap();
    let told = [verified.stdout, verified.stderr].concat();
    (verified.status.success(), String::from_utf8(told).unwrap())
}

/// How a node ends, and when the disk is filled.
#[derive(Debug, Clone, Copy)]
struct Case {
    is_killed: bool,
    is_filled_while_it_runs: bool,
    arguments: &'static [&'static str],
}

impl Case {
    fn end(self, node: Node) {
        if self.is_killed {
            node.kill();
        } else {
            node.stop();
        }
    }

    fn run(self) {
        println!("{self:?}");
        let disk = SmallDisk::mount();
        let mut node = Node::start(&disk.dir, self.arguments);
        let mut kept = keep_some(&node, 6);
        let mut fillers = Vec::new();
        // Whatever room a start or a removal leaves, others take.
        for round in 0..4 {
            let fill = || disk.fill_by(&format!("filler {round}"));
            if self.is_filled_while_it_runs {
                fillers.push(fill());
                self.end(node);
            } else {
                self.end(node);
                fillers.push(fill());
            }
            node = Node::start(&disk.dir, self.arguments);
            check(&node, &kept);
            assert_told_to_be_full(&node, self.arguments);
            remove(&node, &mut kept);
            check(&node, &kept);
        }
        for filler in fillers {
            fs::remove_file(filler).unwrap();
        }
        until("an upload is taken", || {
            let body = form(&[file("file", &content(50, LONG))]);
            let answer = upload(node.address, &body);
            let id = || {
                answer.json()["file"]["file_id"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            };
            (answer.status == 200).then(|| kept.push((id(), content(50, LONG))))
        });
        until("it is ready", || {
            (get(node.address, "/ready", &[]).status == 200).then_some(())
        });
        until("the ballast is there again", || {
            let look = fs::metadata(ballast(&disk)).ok()?;
            (look.len() == BALLAST).then_some(())
        });
        keep(&node, &mut kept, 51, SHORT);
        check(&node, &kept);
        self.end(node);
        let (is_fine, told) = verify(&disk);
        assert!(is_fine, "{told}");
    }
}

/// Tries it with default settings and with these, after a clean stop and after a kill.
fn starts_where_it_was_filled(is_filled_while_it_runs: bool, others: &'static [&'static str]) {
    for is_killed in [false, true] {
        for arguments in [&[][..], others] {
            Case {
                is_killed,
                is_filled_while_it_runs,
                arguments,
            }
            .run();
        }
    }
}

#[test]
fn a_node_starts_on_a_disk_that_was_filled_while_it_ran() {
    starts_where_it_was_filled(true, &["--min-free", "0"]);
}

#[test]
fn a_node_starts_on_a_disk_that_was_filled_while_it_was_stopped() {
    starts_where_it_was_filled(false, &["--durability", "relaxed"]);
}

#[test]
fn removals_work_on_a_full_disk_until_nothing_is_left() {
    let disk = SmallDisk::mount();
    let node = Node::start(&disk.dir, &["--keep", "all"]);
    let mut kept = Kept::new();
    for seed in 0..300 {
        keep(&node, &mut kept, seed, 100);
    }
    disk.fill();
    while !kept.is_empty() {
        remove(&node, &mut kept);
    }
    check(&node, &kept);
    node.stop();
    let node = Node::start(&disk.dir, &[]);
    check(&node, &kept);
}

#[test]
fn the_room_that_is_to_stay_free_stays_free_beside_the_ballast() {
    let disk = SmallDisk::mount();
    let reserve = 16 << 20;
    let node = Node::start(&disk.dir, &[]);
    for seed in 0.. {
        let body = form(&[file("file", &content(seed, LONG))]);
        if upload(node.address, &body).status != 200 {
            break;
        }
    }
    assert_eq!(fs::metadata(ballast(&disk)).unwrap().len(), BALLAST);
    assert!(free(&storage(&disk.dir)) >= reserve);
    let quota = get(node.address, "/api/p2p/status", &[]).json();
    let files = quota["local_files"].as_u64().unwrap();
    assert_eq!(quota["blob_bytes"], files * LONG as u64);
}

#[test]
fn only_a_first_start_needs_room_and_says_so() {
    let disk = SmallDisk::mount();
    let start = || {
        let started = larder(disk.dir.path()).output().unwrap();
        let told = String::from_utf8(started.stderr).unwrap();
        assert_eq!(started.status.code(), Some(1), "{told}");
        assert!(told.contains("is full"), "{told}");
        assert!(told.contains("make room and start again"), "{told}");
    };
    // There was no start before.
    let filler = disk.fill();
    start();
    fs::remove_file(filler).unwrap();
    let node = Node::start(&disk.dir, &[]);
    let mut kept = Kept::new();
    keep(&node, &mut kept, 1, LONG);
    keep(&node, &mut kept, 2, SHORT);
    node.kill();
    // Older larders have made none, and what is there is served all the same.
    fs::remove_file(ballast(&disk)).unwrap();
    let filler = disk.fill();
    let node = Node::start(&disk.dir, &[]);
    check(&node, &kept);
    assert_told_to_be_full(&node, &[]);
    node.kill();
    let node = Node::start(&disk.dir, &[]);
    check(&node, &kept);
    fs::remove_file(filler).unwrap();
    until("it is ready", || {
        (get(node.address, "/ready", &[]).status == 200).then_some(())
    });
    node.stop();
    let (is_fine, told) = verify(&disk);
    assert!(is_fine, "{told}");
}

/// Makes empty files until no more can be made.
fn take_all_files(disk: &SmallDisk, round: u32) -> Vec<PathBuf> {
    let path = |number: u32| storage(&disk.dir).join(format!("filler {round} {number}"));
    let made = (0..)
        .map(path)
        .map_while(|path| fs::File::create(&path).is_ok().then_some(path));
    made.collect()
}

#[test]
fn a_node_starts_and_stops_where_no_file_can_be_made() {
    let disk = SmallDisk::mount_with("size=60M,nr_inodes=600");
    let arguments = &["--min-free", "0"][..];
    let mut node = Node::start(&disk.dir, arguments);
    let mut kept = keep_some(&node, 4);
    let mut fillers = Vec::new();
    for (round, kills) in [false, true, false].into_iter().enumerate() {
        if kills {
            node.kill();
        } else {
            node.stop();
        }
        fillers.extend(take_all_files(&disk, round.try_into().unwrap()));
        node = Node::start(&disk.dir, arguments);
        check(&node, &kept);
        let body = form(&[file("refused", &content(99, LONG))]);
        let answer = upload(node.address, &body);
        assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
        remove(&node, &mut kept);
        check(&node, &kept);
    }
    for filler in fillers {
        fs::remove_file(filler).unwrap();
    }
    until("an upload is taken", || {
        let answer = upload(node.address, &form(&[file("file", &content(50, LONG))]));
        (answer.status == 200).then_some(())
    });
    node.stop();
    let (is_whole, told) = verify(&disk);
    assert!(is_whole, "{told}");
}

#[test]
fn a_start_that_can_make_no_file_says_that_those_are_missing_and_not_bytes() {
    let disk = SmallDisk::mount_with("size=60M,nr_inodes=40");
    take_all_files(&disk, 0);
    let output = larder(disk.dir.path()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("has no inode left") && !told.contains("MiB"),
        "{told}"
    );
}
