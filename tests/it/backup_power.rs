//! A power cut after every single operation of a backup: those before it stay whole.
//!
//! Each operation has one of the variants of a cut in turn; with `LARDER_SOAK` all of them.

use std::path::Path;
use std::sync::Arc;

use futures_util::TryStreamExt;
use larder::backup::Backups;
use larder::disk::RealDisk;
use larder::file_line::FileLine;
use larder::hash::BlobHash;
use larder::record::FileId;

use crate::common::content::content;
use crate::common::power_cut::{Simulated, cuts};
use crate::common::recording_disk::RecordingDisk;

/// A file of a node, of which the content tells its length.
fn file(number: u8, bytes: &[u8]) -> FileLine {
    FileLine {
        id: FileId::from_bytes([number; 16]),
        at: 0,
        name: number.to_string(),
        content_type: None,
        description: String::new(),
        size: bytes.len() as u64,
        hash: BlobHash::of(bytes),
        lacks: false,
    }
}

/// Makes a backup of files with these contents, as the command does, and gives up all but two.
async fn back_up(backups: &Backups, contents: &[Vec<u8>]) {
    let was_cut = backups.has_unfinished().await.unwrap();
    let mut writing = backups.begin().await.unwrap();
    let mut files = Vec::new();
    for (number, bytes) in (0..).zip(contents) {
        let file = file(number, bytes);
        if !backups.has(&file.hash, file.size).await.unwrap() {
            let mut receiving = backups.receive().await.unwrap();
            receiving.write(bytes.clone().into()).await.unwrap();
            let received = receiving.finish().await.unwrap();
            backups.keep(received).await.unwrap();
        }
        files.push(file);
    }
    writing.add(&files).await.unwrap();
    writing.end("peer".to_owned(), 0).await.unwrap();
    let collected = backups.collect(Some(2), was_cut).await.unwrap();
    assert!(collected.unknown.is_none(), "{collected:?}");
}

/// How many backups are there, each of which is whole.
async fn whole(dir: &Path) -> usize {
    let backups = Backups::open_or_make(dir).unwrap();
    let moments = backups.moments().await.unwrap();
    let count = moments.len();
    for found in moments {
        let moment = found.moment.unwrap();
        let lists: Vec<_> = backups.files(&moment).try_collect().await.unwrap();
        for file in lists.into_iter().flatten() {
            let opened = backups.open(&file.hash).await.unwrap();
            opened.prove().await.unwrap();
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_moment_leaves_every_backup_whole() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = RecordingDisk::new(dir.path(), Simulated::default(), Box::new(|| {}));
    let mut ends = Vec::new();
    {
        let backups = Backups::open_or_make_on(dir.path(), disk.clone()).unwrap();
        for round in 0..3 {
            let contents = [
                content(round, 900),
                content(10 + round, 200_000),
                content(99, 50),
            ];
            back_up(&backups, &contents).await;
            ends.push(disk.count());
        }
    }
    let operations = disk.operations();
    for (done, variant, tree) in cuts(&operations) {
        let left = tempfile::tempdir_in("/dev/shm").unwrap();
        tree.write(left.path());
        let there = whole(left.path()).await;
        let ended = ends.iter().filter(|end| **end <= done + 1).count();
        assert!(there >= ended.min(2), "{there} after {done}, {variant:?}");
        // And the next one heals all.
        if done % 7 == 0 {
            let backups = Backups::open_or_make(left.path()).unwrap();
            back_up(&backups, &[content(1, 900), content(77, 200_000)]).await;
            drop(backups);
            assert!(whole(left.path()).await >= 1);
        }
    }
    // Nothing but what is needed was ever written through another disk.
    assert!(Backups::open_or_make_on(dir.path(), Arc::new(RealDisk)).is_ok());
}
