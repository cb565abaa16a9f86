//! Directories of a store change places with copies of them while the node runs, for a moment or
//! for longer: what is acknowledged is there when all is as before.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use larder::anchored_disk::AnchoredDisk;
use larder::disk::Disk;
use larder::small_state::local::LocalState;
use larder::small_state::{SmallState, StateName, StateSet};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::tus::{create, look, patch, path_of};

const LONG: usize = 70_000;
const SHORT: usize = 1_000;
/// For how long directories go to and fro.
const TO_AND_FRO: Duration = Duration::from_millis(200);

fn exchange(one: &Path, other: &Path) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// Does `work` again and again while two directories change places without a pause.
fn while_they_change_places(one: &Path, other: &Path, mut work: impl FnMut(u32)) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let changing = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                exchange(one, other);
                exchange(one, other);
            }
        });
        let began = Instant::now();
        let mut turn = 0;
        while began.elapsed() < TO_AND_FRO {
            work(turn);
            turn += 1;
        }
        is_over.store(true, Ordering::Relaxed);
        changing.join().unwrap();
    });
}

/// Whether this file is in the directory, whichever name that has by now.
fn is_in(dir: &File, name: &str, file: &File) -> bool {
    let there = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    there.is_ok_and(|there| there.st_ino == file.metadata().unwrap().ino())
}

#[test]
fn whatever_is_put_while_directories_change_places_is_in_the_one_that_was_there_first() {
    let dir = tempfile::tempdir().unwrap();
    let (root, other) = (dir.path().join("root"), dir.path().join("other"));
    for below in ["lasts/aa", "spool"] {
        fs::create_dir_all(root.join(below)).unwrap();
    }
    let names = ["", "lasts", "lasts/aa"];
    for name in names {
        copy(&root, &other);
        let lasts: fn(&Path) -> bool = |below| below.starts_with("lasts");
        let disk = AnchoredDisk::new(&root, lasts).unwrap();
        let shard = root.join("lasts/aa");
        // Known from now on.
        disk.open_dir(&shard).unwrap();
        let (first, source) = (File::open(&shard).unwrap(), root.join("spool/source"));
        fs::write(&source, "content").unwrap();
        let content = File::open(&source).unwrap();
        let (mut put, mut refused) = (0, 0);
        let mut count = |done: bool| if done { put += 1 } else { refused += 1 };
        while_they_change_places(&root.join(name), &other.join(name), |turn| {
            let at = |kind: &str| (format!("{kind}{turn}"), shard.join(format!("{kind}{turn}")));
            let (created, path) = at("created");
            let made = disk.create(&path).is_ok();
            assert!(!made || first_has(&first, &created), "{name}: {created}");
            count(made);
            let (linked, path) = at("linked");
            let made = disk.link(&source, &path).is_ok();
            assert!(
                !made || is_in(&first, &linked, &content),
                "{name}: {linked}"
            );
            count(made);
            let (renamed, path_of_renamed) = at("renamed");
            let made = made && disk.rename(&path, &path_of_renamed).is_ok();
            assert!(
                !made || is_in(&first, &renamed, &content),
                "{name}: {renamed}"
            );
            count(made);
            let made = made && disk.remove_file(&path_of_renamed).is_ok();
            assert!(!made || !is_in(&first, &renamed, &content), "{name}");
        });
        assert!(
            put > 0 && refused > 0,
            "{name}: {put} put, {refused} refused"
        );
        let there = other.join("lasts/aa");
        assert_eq!(fs::read_dir(there).unwrap().count(), 0, "{name}");
        for dir in [&shard, &other] {
            fs::remove_dir_all(dir).unwrap();
        }
        fs::create_dir(shard).unwrap();
    }
}

fn first_has(first: &File, name: &str) -> bool {
    rustix::fs::statat(first, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

#[tokio::test]
async fn what_is_looked_for_while_directories_are_not_there_is_never_taken_for_none() {
    const SET: StateSet = StateSet {
        name: "lasts",
        kind: "larder-kind 1",
        is_of: |_, _| true,
        is_id: |_| true,
    };
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(AnchoredDisk::new(&root, |_| true).unwrap());
    let states = LocalState::new(&root, Arc::clone(&disk)).saving_by(disk);
    states.prepare(SET, Duration::MAX).await.unwrap();
    let name = StateName::OneOf(SET, "one".to_owned());
    states.save(&name, b"state".to_vec()).await.unwrap();
    for moved in [&root, &states.dir_of(SET)] {
        let away = dir.path().join("away");
        fs::rename(moved, &away).unwrap();
        // As after somebody has looked whether it is there.
        states.names(SET).unwrap_err();
        states.prepare(SET, Duration::MAX).await.unwrap_err();
        fs::rename(&away, moved).unwrap();
        let found = states.prepare(SET, Duration::MAX).await.unwrap();
        let found = found.into_iter().map(|it| (it.id, it.content.unwrap()));
        assert!(found.eq([("one".to_owned(), b"state".to_vec())]));
    }
}

/// What a node has acknowledged.
#[derive(Default)]
struct Taken {
    files: Vec<(String, Vec<u8>)>,
    /// Uploads in parts, and how much of each is said to be there.
    parts: Vec<(String, usize)>,
}

impl Taken {
    /// Uploads something in each way, and notes what is acknowledged.
    fn take(&mut self, node: &Node, seed: u32) {
        for len in [SHORT, LONG] {
            let bytes = content(seed, len);
            let answer = upload(node.address, &form(&[file("file", &bytes)]));
            if answer.status == 200 {
                let id = answer.json()["file"]["file_id"].clone();
                self.files.push((id.as_str().unwrap().to_owned(), bytes));
            }
        }
        let begun = create(node.address, LONG, &[]);
        if begun.status == 201 {
            let upload = path_of(&begun);
            let brought = patch(node.address, &upload, 0, &content(seed, SHORT));
            let offset = if brought.status == 204 { SHORT } else { 0 };
            self.parts.push((upload, offset));
        }
    }

    fn assert_there(&self, node: &Node, when: &str) {
        for (id, bytes) in &self.files {
            let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
            let what = (bytes.len(), answer.status);
            assert!(
                answer.status == 200 && answer.body == *bytes,
                "{when}: {what:?}"
            );
        }
        for (upload, offset) in &self.parts {
            let answer = look(node.address, upload);
            assert_eq!(answer.status, 200, "{when}: {answer:?}");
            let there: usize = answer.header("upload-offset").parse().unwrap();
            assert!(there >= *offset, "{when}: {there}");
        }
    }
}

/// All is as before: uploads are taken.
fn assert_takes(node: &Node, seed: u32) {
    until("uploads are taken", || {
        let body = form(&[file("again", &content(seed, LONG))]);
        (upload(node.address, &body).status == 200).then_some(())
    });
}

const DIRECTORIES: [&str; 6] = ["", "blobs", "packs", "journal", "uploading", "spool"];

#[test]
fn what_is_acknowledged_while_a_directory_and_its_copy_change_places_is_there_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::start(&dir, &[]);
    let storage = dir.path().join("peer_storage");
    let mut taken = Taken::default();
    taken.take(&node, 0);
    for (at, name) in (1..).zip(DIRECTORIES) {
        let (one, other) = (storage.join(name), dir.path().join("copy"));
        copy(&one, &other);
        exchange(&one, &other);
        taken.take(&node, at * 10_000);
        exchange(&one, &other);
        assert_takes(&node, at);
        let before = taken.files.len();
        while_they_change_places(&one, &other, |turn| {
            taken.take(&node, at * 10_000 + 1 + turn);
        });
        println!("{name:?}: {} files", taken.files.len() - before);
        assert_takes(&node, at);
        taken.assert_there(&node, name);
        if at % 2 == 0 {
            node.kill();
        } else {
            node.stop();
        }
        fs::remove_dir_all(&other).unwrap();
        node = Node::start(&dir, &[]);
        taken.assert_there(&node, &format!("{name}, after a restart"));
    }
    node.stop();
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{told}");
}

#[test]
fn what_is_put_into_any_shard_that_was_exchanged_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let blobs = dir.path().join("peer_storage/blobs");
    uploaded(node.address, "before", &content(0, LONG));
    let aside = dir.path().join("aside");
    let shards: Vec<PathBuf> = (0..=u8::MAX)
        .map(|it| blobs.join(format!("{it:02x}")))
        .collect();
    fs::create_dir(&aside).unwrap();
    for shard in &shards {
        let moved = aside.join(shard.file_name().unwrap());
        fs::rename(shard, &moved).unwrap();
        copy(&moved, shard);
    }
    let mut taken = Taken::default();
    for seed in 1..20 {
        taken.take(&node, seed);
    }
    for shard in &shards {
        fs::remove_dir_all(shard).unwrap();
        fs::rename(aside.join(shard.file_name().unwrap()), shard).unwrap();
    }
    taken.assert_there(&node, "put back");
    node.kill();
    let node = Node::start(&dir, &[]);
    taken.assert_there(&node, "put back, after a restart");
}
