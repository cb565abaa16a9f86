//! How fast a backup fetches, what becomes of long content in whose midst it was cut, and what a
//! check of very many files takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use larder::backup::{Backups, Gathering};
use larder::file_line::FileLine;
use larder::hash::BlobHash;
use larder::record::FileId;
use tempfile::TempDir;

use crate::common::commands::{command, done, failed, json};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::count;
use crate::common::process::{Node, start, until};
use crate::common::rot::flip;

const MIB: usize = 1 << 20;

#[test]
fn no_more_is_fetched_in_a_second_than_is_set() {
    let (dir, node) = start();
    let url = node.url("");
    for seed in 0..4 {
        uploaded(node.address, "file", &content(seed, MIB));
    }
    let began = Instant::now();
    done(dir.path(), &url, &["backup", "B", "--rate", "1MiB"]);
    assert!(
        began.elapsed() >= Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    let (status, told) = failed(dir.path(), &url, &["backup", "B", "--rate", "1KiB"]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("16KiB"), "{told}");
    assert_eq!(
        json(dir.path(), "", &["verify", "B"]).pop().unwrap()["problems"],
        0
    );
}

/// Where what has come of a content is.
fn partial(dir: &Path, hash: &str) -> PathBuf {
    dir.join("B/contents/keeping").join(hash)
}

/// Has a backup be killed within the only content, of which this much has come by then.
fn cut(dir: &TempDir, node: &Node, hash: &str, come: u64) {
    let arguments = ["backup", "B", "--rate", "8MiB"];
    let mut backup = command(dir.path(), &node.url(""), &arguments)
        .spawn()
        .unwrap();
    let path = partial(dir.path(), hash);
    until("some of it has come", || {
        fs::metadata(&path)
            .is_ok_and(|it| it.len() >= come)
            .then_some(())
    });
    backup.kill().unwrap();
    backup.wait().unwrap();
}

#[test]
fn a_backup_that_was_cut_within_long_content_goes_on_inside_it() {
    const LONG: usize = 24 * MIB;
    for is_damaged in [false, true] {
        let (dir, node) = start();
        let url = node.url("");
        let file = uploaded(node.address, "long", &content(1, LONG));
        let hash = file["hash"].as_str().unwrap();
        cut(&dir, &node, hash, 8 * MIB as u64);
        if is_damaged {
            // As a power cut may leave what was never synced.
            flip(&partial(dir.path(), hash), 5_000_000);
        }
        let before = count(node.address, "larder_sent_bytes_total");
        let told = json(dir.path(), &url, &["backup", "B"]);
        assert_eq!(told[0]["new_bytes"], LONG, "{told:?}");
        let sent = count(node.address, "larder_sent_bytes_total") - before;
        if !is_damaged {
            assert!(sent < 17 * MIB as u64, "{sent} bytes came again");
        }
        assert_eq!(
            fs::read_dir(dir.path().join("B/contents/keeping"))
                .unwrap()
                .count(),
            0
        );
        assert_eq!(
            json(dir.path(), "", &["verify", "B"]).pop().unwrap()["problems"],
            0
        );
        done(dir.path(), "", &["restore", "B", "-o", "out"]);
        assert!(fs::read(dir.path().join("out/long")).unwrap() == content(1, LONG));
    }
}

#[test]
fn what_has_come_of_content_that_is_no_longer_there_is_removed() {
    let (dir, node) = start();
    let file = uploaded(node.address, "long", &content(1, 24 * MIB));
    cut(&dir, &node, file["hash"].as_str().unwrap(), 8 * MIB as u64);
    done(
        dir.path(),
        &node.url(""),
        &["rm", "--yes", file["file_id"].as_str().unwrap()],
    );
    done(dir.path(), &node.url(""), &["backup", "B"]);
    assert_eq!(
        fs::read_dir(dir.path().join("B/contents/keeping"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn restoring_into_the_directory_of_a_running_node_says_what_to_do() {
    let (dir, node) = start();
    uploaded(node.address, "file", b"bytes");
    done(dir.path(), &node.url(""), &["backup", "B"]);
    let arguments = ["restore", "B", "--storage", "peer_storage"];
    let (status, told) = failed(dir.path(), "", &arguments);
    assert_ne!(status, 0);
    for part in [
        "is in use by another larder",
        "--output",
        "larder put",
        "[storage_in_use]",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

fn line(number: u32) -> (FileLine, Vec<u8>) {
    let bytes = content(number, 40);
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let file = FileLine {
        id: FileId::from_bytes(id),
        at: 0,
        name: format!("folder/file {number}.txt"),
        content_type: None,
        description: String::new(),
        size: bytes.len() as u64,
        hash: BlobHash::of(&bytes),
        lacks: false,
    };
    (file, bytes)
}

/// Makes a backup of so many files, each with a content of its own.
async fn back_up(dir: &Path, files: u32) {
    let backups = Backups::open_or_make(dir).unwrap();
    let mut writing = backups.begin().await.unwrap();
    let keeping = stream::iter(0..files).map(async |number| {
        let mut receiving = backups.receive().await?;
        receiving.write(line(number).1.into()).await.unwrap();
        backups.keep(receiving.finish().await.unwrap()).await
    });
    keeping
        .buffer_unordered(512)
        .try_collect::<()>()
        .await
        .unwrap();
    let mut gathering = Gathering::default();
    for number in 0..files {
        if let Some(piece) = gathering.add(line(number).0) {
            writing.add(&piece).await.unwrap();
        }
    }
    if let Some(piece) = gathering.end() {
        writing.add(&piece).await.unwrap();
    }
    writing.end("peer".to_owned(), 0).await.unwrap();
    backups.collect(None, false).await.unwrap();
}

/// The most memory that a check of a backup takes, in KiB.
fn peak_of_check(dir: &Path) -> u64 {
    let mut verify = command(dir, "", &["verify", "B"]);
    let mut verify = verify.stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        let about = fs::read_to_string(format!("/proc/{}/status", verify.id()));
        let about = about.unwrap_or_default();
        let line = about.lines().find_map(|it| it.strip_prefix("VmHWM:"));
        let told = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(told.unwrap_or(0));
        if let Some(status) = verify.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success());
    peak
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_100_000_files_takes_little_more_memory_than_one_of_few() {
    let peaks = [1_000, 100_000].map(|files| (files, tempfile::tempdir().unwrap()));
    let mut measured = Vec::new();
    for (files, dir) in &peaks {
        back_up(&dir.path().join("B"), *files).await;
        measured.push(peak_of_check(dir.path()));
    }
    // Hash and length of each content, three times at most, and what packs have.
    assert!(measured[1] < measured[0] + 40 * 1024, "{measured:?} KiB");
}
