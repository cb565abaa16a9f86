//! What members hold for others is read, proven and mended, whatever ends that half-way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use larder::hash::BlobHash;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::commands;
use crate::common::content::content;
use crate::common::copies::{Holders, held, metric, until_for};
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, until};
use crate::common::random::Random;
use crate::common::raw_http::{get, head, send};

const SOON: Duration = Duration::from_mins(2);
const LONG: [&str; 4] = ["--gone-after", "1h", "--surplus-after", "1d"];
/// As long as contents are that are in packs, and in files of their own.
const SIZES: [usize; 12] = [
    1, 900, 5000, 16_384, 30_000, 65_536, 65_537, 100_000, 300_000, 1_000_000, 2_000_000, 7,
];

/// Members with files that each of them holds, and these by their hashes.
fn holders(files: &[usize]) -> (Holders, BTreeMap<String, Vec<u8>>) {
    let holders = Holders::start(&["1GiB"; 3], &LONG);
    let mut contents = BTreeMap::new();
    for (seed, size) in (0..).zip(files) {
        let bytes = content(seed, *size);
        uploaded(holders.at(0), &format!("{seed}"), &bytes);
        contents.insert(BlobHash::of(&bytes).to_string(), bytes);
    }
    holders.until_on(SOON, files.len(), 3);
    (holders, contents)
}

/// What a member holds for others.
fn copies(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage/copies")
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut dirs } else { &mut files }.push(path);
        }
    }
    files.sort();
    files
}

/// Nobody gets a wrong byte of any.
fn no_wrong_byte(holders: &Holders, number: usize, contents: &BTreeMap<String, Vec<u8>>) {
    for (hash, bytes) in contents {
        let got = get(holders.at(number), &format!("/api/p2p/blob/{hash}"), &[]);
        assert!(got.status != 200 || got.body == *bytes, "{hash}");
    }
}

/// How the check ends of the node that runs, and of what is held alone what is told.
fn verify(holders: &Holders, number: usize) -> (i32, Vec<Value>) {
    let url = holders.nodes[number].as_ref().unwrap().url("");
    let dir = holders.dirs[number].path();
    let arguments = ["verify", "--node", &url, "--json"];
    let output = commands::command(dir, &url, &arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|it| serde_json::from_str(it).unwrap());
    (output.status.code().unwrap(), lines.collect())
}

fn is_clean_when_stopped(holders: &mut Holders, number: usize) {
    holders.nodes[number].take().unwrap().stop();
    let mut command = larder(holders.dirs[number].path());
    let verified = command.arg("verify").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let told = String::from_utf8(verified.stdout).unwrap();
    assert!(
        told.contains("\ncopies: ") || told.starts_with("copies: "),
        "{told}"
    );
}

#[test]
fn ten_random_bit_flips_in_what_is_held_are_found_and_mended_and_nobody_reads_any_of_them() {
    let (mut holders, contents) = holders(&SIZES);
    let held_before = held(holders.at(1)).len();
    let mut files = Vec::new();
    for part in ["blobs", "packs", "outboards"] {
        files.extend(files_below(&copies(&holders.dirs[1]).join(part)));
    }
    // What is beside the packs, such as their tables, is put in order by a start.
    let is_content = |it: &PathBuf| {
        let is_pack = it.extension().is_some_and(|it| it == "pack");
        is_pack || !it.starts_with(copies(&holders.dirs[1]).join("packs"))
    };
    files.retain(|it| is_content(it) && it.metadata().unwrap().len() > 0);
    let mut random = Random::from_environment();
    let mut below = |limit: usize| usize::try_from(random.below(limit as u64)).unwrap();
    for _ in 0..10 {
        let path = &files[below(files.len())];
        let mut bytes = std::fs::read(path).unwrap();
        let at = below(bytes.len());
        bytes[at] ^= 1 << below(8);
        std::fs::write(path, bytes).unwrap();
    }
    until_for(SOON, "all is mended", || {
        no_wrong_byte(&holders, 1, &contents);
        let (status, told) = verify(&holders, 1);
        let of_copies = &told[told.len() - 2]["copies"];
        assert_eq!(of_copies["files"], held_before);
        (status == 0).then_some(())
    });
    assert!(holders.status(1)["repaired"].as_u64().unwrap() > 0);
    assert_eq!(holders.status(1)["damaged"], 0);
    assert!(metric(holders.at(1), "larder_repaired_copies_total") > 0);
    assert!(metric(holders.at(1), "larder_copies_scrub_rounds_total") > 0);
    no_wrong_byte(&holders, 1, &contents);
    is_clean_when_stopped(&mut holders, 1);
}

#[test]
fn both_checks_tell_of_what_is_held_and_not_whole() {
    let (mut holders, contents) = holders(&[100_000]);
    let (hash, bytes) = contents.iter().next().unwrap();
    let blob = |it: usize| {
        copies(&holders.dirs[it])
            .join("blobs")
            .join(&hash[..2])
            .join(hash)
    };
    let (held, own) = (blob(1), {
        let own = holders.dirs[0].path().join("peer_storage/blobs");
        own.join(&hash[..2]).join(hash)
    });
    // Of which nobody has a whole one then.
    for path in [&held, &blob(2), &own] {
        let mut rotten = bytes.clone();
        rotten[50_000] ^= 1;
        std::fs::write(path, rotten).unwrap();
    }
    let damaged = format!("copies: blob {hash}: damaged or missing, and a file needs it");
    for number in [2, 0, 1] {
        let (status, told) = verify(&holders, number);
        assert_eq!(status, 1, "{told:?}");
        if number != 0 {
            assert_eq!(told[0]["problem"], damaged, "{told:?}");
            let [.., of_copies, own] = &told[..] else {
                panic!("{told:?}")
            };
            let problems = [&of_copies["copies"]["problems"], &own["problems"]];
            assert_eq!(problems, [1, 0], "{told:?}");
        }
    }
    assert_eq!(holders.status(1)["damaged"], 1);
    holders.nodes[1].take().unwrap().stop();
    let mut command = larder(holders.dirs[1].path());
    let verified = command.arg("verify").output().unwrap();
    assert_eq!(verified.status.code(), Some(1));
    let told = String::from_utf8(verified.stdout).unwrap();
    let damaged = format!("copies: blob {hash}: damaged, its bytes have another hash\n");
    assert!(told.contains(&damaged), "{told}");
    assert!(
        told.contains("copies: 1 file held for others, 1 blob of 100000 bytes: 1 problem\n"),
        "{told}"
    );
    assert!(
        told.ends_with("\n0 files, 0 blobs of 0 bytes: 0 problems\n"),
        "{told}"
    );
}

/// Has a node be killed by strace, as it is about to do something for the nth time.
///
/// The tracer ends with the node and is never told to let go of it: amid its end it would wait for
/// ever for the first thread of the process, which is there until the others are looked for.
fn killed_at(node: &Node, call: &str, number: usize) -> Child {
    let inject = format!("inject={call}:signal=KILL:when={number}");
    let mut strace = Command::new("strace");
    let trace = format!("trace={call}");
    strace.args(["-f", "-q", "-e", &trace, "-e", &inject]);
    strace.args(["-o", "/dev/null", "-p", &node.id().to_string()]);
    let strace = strace.stdout(Stdio::null()).spawn().unwrap();
    until("the node is traced", || node.is_traced().then_some(()));
    strace
}

/// What a scrub and a repair do to the disk, and how often before a node is killed there.
const STEPS: [(&str, usize); 7] = [
    ("pwrite64", 1),
    ("pwrite64", 4),
    ("fdatasync", 1),
    ("fdatasync", 3),
    ("renameat2,renameat", 1),
    ("renameat2,renameat", 2),
    ("unlinkat", 1),
];

#[test]
fn a_kill_at_any_step_of_the_scrub_and_the_repair_of_copies_leaves_the_old_or_the_whole() {
    let (mut holders, contents) = holders(&[100_000, 300, 1_000_000]);
    let long = contents.iter().filter(|it| it.1.len() > 65_536);
    let long: Vec<_> = long.map(|it| it.0.clone()).collect();
    let mut killed = BTreeMap::new();
    for (call, number) in STEPS {
        for hash in &long {
            let shard = copies(&holders.dirs[1]).join("blobs").join(&hash[..2]);
            let mut rotten = contents[hash].clone();
            rotten[40_000] ^= 1;
            std::fs::write(shard.join(hash), rotten).unwrap();
        }
        let node = holders.nodes[1].as_ref().unwrap();
        let mut strace = killed_at(node, call, number);
        let ask = head("POST", "/api/p2p/scrub?of=copies", &["Content-Length: 0"]);
        let address = node.address;
        let asking = std::thread::spawn(move || {
            let _ = std::panic::catch_unwind(|| send(address, &ask));
        });
        until_for(SOON, "it is killed, or done", || {
            let is_over = node.has_ended() || are_whole(&holders, &long, &contents);
            is_over.then_some(())
        });
        *killed.entry(call).or_insert(0) += usize::from(node.has_ended());
        holders.nodes[1].take().unwrap().kill();
        strace.wait().unwrap();
        asking.join().unwrap();
        holders.turn_on(1);
        no_wrong_byte(&holders, 1, &contents);
        until_for(
            SOON,
            &format!("it is mended behind {call} {number}"),
            || {
                no_wrong_byte(&holders, 1, &contents);
                are_whole(&holders, &long, &contents).then_some(())
            },
        );
    }
    assert!(killed.values().all(|it| *it > 0), "{killed:?}");
    until_for(SOON, "it tells all that it holds", || {
        (held(holders.at(1)).len() == contents.len()).then_some(())
    });
    until_for(SOON, "a round comes to its end", || {
        (verify(&holders, 1).0 == 0).then_some(())
    });
    let gathered = copies(&holders.dirs[1]).join("repairing");
    assert_eq!(files_below(&gathered), Vec::<PathBuf>::new());
    is_clean_when_stopped(&mut holders, 1);
}

/// Whether the second member has these contents as they were.
fn are_whole(holders: &Holders, hashes: &[String], contents: &BTreeMap<String, Vec<u8>>) -> bool {
    let blobs = copies(&holders.dirs[1]).join("blobs");
    let is_whole = |hash: &String| {
        let path = blobs.join(&hash[..2]).join(hash);
        std::fs::read(path).is_ok_and(|it| it == contents[hash])
    };
    hashes.iter().all(is_whole)
}
