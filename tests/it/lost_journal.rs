//! A journal that is gone, in whole or in part: nothing that may be needed is deleted, what is
//! lost is told and counted, and whatever else has it gives it back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use larder::store::DirectoryError;
use larder::store::local::{LocalStore, OpenError, Options};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;

/// More than packs hold, so that each is a file.
const LONG: usize = 70_000;

fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

fn segment(dir: &TempDir) -> PathBuf {
    storage(dir).join("journal/0000000001.journal")
}

fn last_batch(dir: &TempDir) -> PathBuf {
    storage(dir).join("journal/last-batch")
}

fn run(dir: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = larder(dir.path()).args(arguments).output().unwrap();
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).unwrap())
}

fn give_up(dir: &TempDir) -> (Option<i32>, String) {
    run(dir, &["rebuild-index", "--skip-damage"])
}

/// Uploads contents of the numbers, long ones and short ones in turn.
fn upload_all(node: &Node, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let len = if number % 2 == 0 { LONG } else { 100 };
        uploaded(node.address, &format!("{number}"), &content(number, len));
    }
}

/// A crashed node's storage directory with so many files.
fn crashed(files: u32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    upload_all(&node, 0..files);
    node.kill();
    dir
}

fn names(node: &Node) -> Vec<String> {
    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap().iter();
    let mut names: Vec<_> = files
        .map(|file| file["original_name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn health(node: &Node) -> Value {
    get(node.address, "/health", &[]).json()
}

/// Every content in the storage directory, needed or not.
fn contents(dir: &TempDir) -> usize {
    let node = Node::start(dir, &[]);
    let count = node.content_files().len();
    node.stop();
    count
}

#[test]
fn a_directory_that_is_not_new_and_has_no_journal_is_refused_with_the_way_out() {
    let whole_journal = |dir: &TempDir| fs::remove_dir_all(storage(dir).join("journal")).unwrap();
    let only_segment = |dir: &TempDir| fs::remove_file(segment(dir)).unwrap();
    let journal_and_database = |dir: &TempDir| {
        whole_journal(dir);
        fs::remove_dir_all(storage(dir).join("index")).unwrap();
    };
    let losses: [&dyn Fn(&TempDir); 3] = [&whole_journal, &only_segment, &journal_and_database];
    for (at, lose) in losses.iter().enumerate() {
        // All of them, only one that is long, and only one that is short.
        for files in [0..6, 0..1, 1..2] {
            let dir = tempfile::tempdir().unwrap();
            let node = Node::start(&dir, &[]);
            let count = files.len();
            upload_all(&node, files);
            let before = node.content_files();
            node.kill();
            lose(&dir);
            for _ in 0..2 {
                let (status, said) = run(&dir, &["serve"]);
                assert_eq!(status, Some(1), "{at}: {said}");
                assert!(said.contains("0000000001.journal"), "{at}: {said}");
                assert!(said.contains("rebuild-index --skip-damage"), "{at}: {said}");
            }
            let (status, said) = give_up(&dir);
            assert_eq!(status, Some(1), "{at}: {said}");
            for _ in 0..3 {
                let node = Node::start(&dir, &[]);
                assert_eq!(node.content_files(), before, "{at}");
                let lost = health(&node)["lost_changes"].as_u64().unwrap();
                assert!(lost >= 1 && lost <= count as u64, "{at}: {lost}");
                assert_eq!(health(&node)["status"], "degraded");
                node.stop();
            }
        }
    }
}

#[test]
fn a_database_that_was_closed_gives_back_all_that_a_journal_which_is_gone_had() {
    let dir = crashed(6);
    Node::start(&dir, &[]).stop();
    fs::remove_file(segment(&dir)).unwrap();
    assert_eq!(run(&dir, &["serve"]).0, Some(1));
    let (status, said) = give_up(&dir);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("6 files"), "{said}");
    let node = Node::start(&dir, &[]);
    assert_eq!(names(&node).len(), 6);
    assert_eq!(health(&node)["lost_changes"], 0);
    node.stop();
}

#[test]
fn what_a_journal_mended_in_part_has_lost_is_told_and_its_content_is_kept_until_that_is_settled() {
    let dir = crashed(4);
    Node::start(&dir, &[]).stop();
    let node = Node::start(&dir, &[]);
    upload_all(&node, 4..7);
    let before = node.content_files();
    node.kill();
    let file = fs::File::options().write(true).open(segment(&dir)).unwrap();
    file.set_len(200).unwrap();
    for start in 0..3 {
        let node = Node::start(&dir, &[]);
        // The last write has a copy, and the database had the first four.
        assert_eq!(names(&node), ["0", "1", "2", "3", "6"], "start {start}");
        assert_eq!(health(&node)["lost_changes"], 2, "start {start}");
        assert_eq!(node.content_files(), before, "start {start}");
        assert!(node.log().contains("ERROR"));
        if start == 1 {
            node.kill();
        } else {
            node.stop();
        }
    }
    let (status, said) = run(&dir, &["verify"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("2 changes are lost"), "{said}");
    assert!(said.contains("(kept, since"), "{said}");
    assert!(!said.contains("deletes it"), "{said}");
    let (status, said) = run(&dir, &["rebuild-index", "--forget-loss"]);
    assert_eq!(status, Some(0), "{said}");
    let node = Node::start(&dir, &[]);
    assert_eq!(health(&node)["lost_changes"], 0);
    crate::common::process::until("what nobody needs is deleted", || {
        (node.content_files().len() == before.len() - 2).then_some(())
    });
    node.stop();
}

#[test]
fn a_journal_cut_to_its_beginning_without_a_database_gets_its_last_write_back() {
    let dir = crashed(5);
    fs::remove_dir_all(storage(&dir).join("index")).unwrap();
    let file = fs::File::options().write(true).open(segment(&dir)).unwrap();
    file.set_len(64).unwrap();
    for _ in 0..2 {
        let node = Node::start(&dir, &[]);
        assert_eq!(names(&node), ["4"]);
        assert_eq!(health(&node)["lost_changes"], 4);
        node.kill();
    }
    assert_eq!(contents(&dir), 5);
}

type Flip<'a> = &'a dyn Fn(&mut Vec<u8>);

#[test]
fn entries_behind_a_damaged_header_are_kept() {
    let flips: [Flip<'_>; 6] = [
        &|bytes| bytes[5] ^= 1,
        &|bytes| bytes[60] ^= 0x80,
        &|bytes| bytes[20] ^= 4,
        &|bytes| bytes[36] ^= 2,
        &|bytes| bytes[0..16].fill(0),
        &|bytes| bytes[32..64].fill(0xff),
    ];
    for (at, flip) in flips.iter().enumerate() {
        let dir = crashed(5);
        let mut bytes = fs::read(segment(&dir)).unwrap();
        flip(&mut bytes);
        fs::write(segment(&dir), bytes).unwrap();
        assert_eq!(run(&dir, &["serve"]).0, Some(1));
        let (_, said) = run(&dir, &["verify"]);
        assert!(
            !said.contains("orphan") && said.contains("5 files"),
            "{at}: {said}"
        );
        let (status, said) = give_up(&dir);
        assert_eq!(status, Some(0), "{at}: {said}");
        assert!(
            said.contains("5 files") && said.contains("nothing lost"),
            "{at}: {said}"
        );
        let node = Node::start(&dir, &[]);
        assert_eq!(names(&node).len(), 5, "{at}");
        node.stop();
    }
}

#[test]
fn a_rebuild_that_gives_up_a_change_says_so_by_its_status_and_keeps_the_content() {
    let dir = crashed(5);
    let mut bytes = fs::read(segment(&dir)).unwrap();
    bytes[64 + 40] ^= 1;
    fs::write(segment(&dir), bytes).unwrap();
    let (status, said) = give_up(&dir);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("holds 4 files") && said.contains("1 change lost"),
        "{said}"
    );
    for _ in 0..2 {
        assert_eq!(contents(&dir), 5);
    }
}

type Place<'a> = &'a dyn Fn(&Path);

#[test]
fn whatever_is_in_the_place_of_the_copy_of_the_last_batch_is_made_anew() {
    let places: [Place<'_>; 5] = [
        &|path| fs::create_dir(path).unwrap(),
        &|path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("somebody's"), b"x").unwrap();
        },
        &|path| symlink("nowhere", path).unwrap(),
        &|path| symlink("last-batch", path).unwrap(),
        &|path| symlink("/dev/zero", path).unwrap(),
    ];
    for (at, place) in places.iter().enumerate() {
        let dir = crashed(2);
        fs::remove_file(last_batch(&dir)).unwrap();
        place(&last_batch(&dir));
        let (_, said) = run(&dir, &["verify"]);
        assert!(said.contains("(the node makes it anew)"), "{at}: {said}");
        let node = Node::start(&dir, &[]);
        upload_all(&node, 2..3);
        node.stop();
        let look = last_batch(&dir).symlink_metadata().unwrap();
        assert!(look.is_file() && look.len() > 36, "{at}");
        let (status, said) = run(&dir, &["verify"]);
        assert_eq!(status, Some(0), "{at}: {said}");
    }
}

#[test]
fn damage_of_the_copy_of_the_last_batch_is_told() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Option<Change>); 6] = [
        ("a flip", Some(|copy| copy[40] ^= 1)),
        ("cut", Some(|copy| copy.truncate(copy.len() / 2))),
        ("empty", Some(Vec::clear)),
        ("zeros", Some(|copy| copy.fill(0))),
        ("garbage", Some(|copy| *copy = content(1, 500))),
        ("gone", None),
    ];
    for (what, change) in changes {
        for is_killed in [false, true] {
            let dir = crashed(2);
            if !is_killed {
                Node::start(&dir, &[]).stop();
            }
            match change {
                None => fs::remove_file(last_batch(&dir)).unwrap(),
                Some(change) => {
                    let mut copy = fs::read(last_batch(&dir)).unwrap();
                    change(&mut copy);
                    fs::write(last_batch(&dir), copy).unwrap();
                }
            }
            let (status, said) = run(&dir, &["verify"]);
            assert_eq!(status, Some(1), "{what}: {said}");
            assert!(
                said.contains("last-batch") && said.contains("1 problem"),
                "{what}: {said}"
            );
            let node = Node::start(&dir, &[]);
            assert_eq!(names(&node).len(), 2, "{what}");
            let log = node.log();
            assert!(log.contains("last-batch"), "{what}: {log}");
            node.stop();
            let (status, said) = run(&dir, &["verify"]);
            assert_eq!(status, Some(0), "{what}: {said}");
        }
    }
}

#[test]
fn the_check_goes_on_behind_what_it_cannot_mend() {
    let dir = crashed(0);
    let node = Node::start(&dir, &[]);
    let hashes: Vec<_> = (0..3)
        .map(|n| uploaded(node.address, "a", &content(n, 200_000)))
        .map(|file| file["hash"].as_str().unwrap().to_owned())
        .collect();
    node.stop();
    let path = |kind: &str, hash: &str| storage(&dir).join(kind).join(&hash[..2]).join(hash);
    for hash in &hashes {
        let outboard = path("outboards", hash);
        fs::remove_file(&outboard).unwrap();
        fs::create_dir(&outboard).unwrap();
        fs::write(outboard.join("x"), b"x").unwrap();
    }
    let blob = path("blobs", &hashes[1]);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    fs::write(&blob, bytes).unwrap();
    let (status, said) = run(&dir, &["verify"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains(&format!("blob {}: damaged", hashes[1])),
        "{said}"
    );
    for hash in [&hashes[0], &hashes[2]] {
        let told = said.lines().find(|line| line.contains(hash));
        assert!(
            told.is_some_and(|line| line.starts_with("not checked")),
            "{said}"
        );
    }
    assert!(said.contains("3 files"), "{said}");
}

#[test]
fn a_damaged_version_is_told_with_what_heals_it() {
    let dir = crashed(2);
    let path = storage(&dir).join("larder.format");
    let whole = fs::read(&path).unwrap();
    for bit in (0..whole.len() * 8).step_by(3) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        // One that the system takes for the same, such as another white space, is none.
        let (_, said) = run(&dir, &["verify"]);
        if said.contains("0 problems") {
            continue;
        }
        assert!(
            said.contains("`larder 2` should stand there"),
            "{bit}: {said}"
        );
        let healing = said.split('`').find(|words| words.starts_with("echo"));
        let healing = healing.unwrap_or_else(|| panic!("{bit}: {said}"));
        let mut shell = std::process::Command::new("sh");
        let healed = shell.arg("-c").arg(healing).current_dir(dir.path());
        assert!(healed.status().unwrap().success());
        assert_eq!(fs::read(&path).unwrap(), whole, "{healing}");
        let node = Node::start(&dir, &[]);
        assert_eq!(names(&node).len(), 2);
        node.stop();
    }
}

#[tokio::test]
async fn a_first_start_that_ended_at_any_step_is_followed_by_one_that_works() {
    let fault = Fault {
        error: rustix::io::Errno::IO,
        after: After::Fail,
    };
    let mut working = 0;
    loop {
        // Where syncs take no time, of which there are many thousands here.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let disk = CountdownDisk::new();
        disk.arm(working, fault);
        let first = LocalStore::open(Options {
            disk: disk.clone(),
            ..Options::new(storage(&dir))
        });
        let first = first.await.err();
        let failed = disk.disarm();
        let what = format!("step {working}: {failed:?}");
        assert_eq!(first.is_some(), failed.is_some(), "{what}: {first:?}");
        let Some(failed) = failed else {
            assert!(working > 270, "{what}");
            return;
        };
        // Threads of the first may still be ending.
        let second = loop {
            match LocalStore::open(Options::new(storage(&dir))).await {
                Err(OpenError::Directory(DirectoryError::Locked { .. })) => {
                    tokio::task::yield_now().await;
                }
                second => break second,
            }
        };
        let second = second.unwrap_or_else(|error| {
            // Others work there, too.
            let space = rustix::fs::statvfs(dir.path()).unwrap();
            let (free, files) = (space.f_bavail, space.f_favail);
            panic!("{what}: {error}: {error:?}; free: {free} blocks, {files} inodes")
        });
        assert_eq!(second.store.lost_changes(), 0, "{what}");
        // Of the shards, which are made one after the other, a few.
        let is_shard = failed.contains("create_dir") && failed.contains("/blobs/");
        working += if is_shard { 25 } else { 1 };
    }
}
