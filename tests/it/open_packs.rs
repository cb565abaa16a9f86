//! More packs than may stay open: they are read, compacted and gone on with all the same.

use std::fs;
use std::path::Path;

use futures_util::TryStreamExt;
use larder::blob::local::{LocalBlobs, Options};
use larder::blob::{BlobBackend, BlobError};
use larder::hash::BlobHash;
use larder::place::Place;

use crate::common::content::content;
use crate::common::process::until;
use crate::common::received::keep;

/// How many packs stay open.
const OPEN: usize = 3;
const BLOB: usize = 1_000;

fn open(dir: &Path) -> LocalBlobs {
    let options = Options {
        reserve: 0,
        pack_bytes: 10_000,
        open_packs: OPEN,
        ..Options::new(dir)
    };
    LocalBlobs::open(options).unwrap()
}

/// How many packs of a directory this process has open, one of them twice that is appended to.
fn open_packs(dir: &Path) -> usize {
    let packs = dir.canonicalize().unwrap().join("packs");
    let files = fs::read_dir("/proc/self/fd").unwrap();
    let paths = files.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
    let packs =
        paths.filter(|path| path.starts_with(&packs) && path.to_string_lossy().contains(".pack"));
    packs.count()
}

fn packs(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("packs")).unwrap();
    let paths = names.map(|it| it.unwrap().path());
    paths
        .filter(|it| it.extension().is_some_and(|it| it == "pack"))
        .count()
}

async fn read(blobs: &LocalBlobs, bytes: &[u8]) -> Result<Vec<u8>, BlobError> {
    let hash = BlobHash::of(bytes);
    let blob = blobs.open(&hash, Place::of(&hash)).await?.unwrap();
    let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await?;
    Ok(pieces.concat())
}

async fn expect(blobs: &LocalBlobs, contents: &[Vec<u8>]) {
    for bytes in contents {
        assert!(read(blobs, bytes).await.unwrap() == *bytes);
    }
    let listed: Vec<_> = blobs.in_order().try_collect().await.unwrap();
    assert_eq!(listed.len(), contents.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_beyond_those_that_may_stay_open_are_opened_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let contents: Vec<_> = (0..200).map(|seed| content(seed, BLOB)).collect();
    for bytes in &contents {
        keep(&blobs, bytes).await.unwrap();
    }
    assert!(packs(dir.path()) > 15);
    assert!(open_packs(dir.path()) <= OPEN + 2);
    expect(&blobs, &contents).await;
    drop(blobs);
    let blobs = open(dir.path());
    assert!(open_packs(dir.path()) <= OPEN + 2);
    expect(&blobs, &contents).await;
    // Kept again, nothing is written, since it is compared with what is there.
    for bytes in &contents {
        keep(&blobs, bytes).await.unwrap();
    }
    expect(&blobs, &contents).await;
    // Compacted while others read.
    let (kept, gone): (Vec<_>, Vec<_>) = (0..).zip(contents).partition(|(n, _)| n % 5 == 0);
    let kept: Vec<_> = kept.into_iter().map(|(_, bytes)| bytes).collect();
    let before = packs(dir.path());
    for (_, bytes) in gone {
        blobs
            .delete(Place::of(&BlobHash::of(&bytes)))
            .await
            .unwrap();
        let read_on = read(&blobs, &kept[0]).await.unwrap();
        assert!(read_on == kept[0]);
    }
    until("the packs are compacted", || {
        (packs(dir.path()) < before / 2).then_some(())
    });
    expect(&blobs, &kept).await;
    assert!(open_packs(dir.path()) <= OPEN + 2);
}

#[tokio::test]
async fn a_pack_that_is_not_there_when_it_is_read_is_not_damaged_and_its_content_is_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    let contents: Vec<_> = (0..100).map(|seed| content(seed, BLOB)).collect();
    for bytes in &contents {
        keep(&blobs, bytes).await.unwrap();
    }
    let packs = dir.path().join("packs");
    let away = dir.path().join("away");
    fs::rename(&packs, &away).unwrap();
    let mut unreadable = 0;
    for bytes in &contents {
        match read(&blobs, bytes).await {
            Ok(found) => assert!(found == *bytes),
            Err(BlobError::Disk(_)) => unreadable += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(unreadable > 0);
    fs::rename(&away, &packs).unwrap();
    expect(&blobs, &contents).await;
    // What is gone with its pack is written anew.
    let mut paths: Vec<_> = fs::read_dir(&packs)
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.extension().is_some_and(|it| it == "pack"))
        .collect();
    paths.sort();
    for path in &paths[..paths.len() - 1] {
        fs::remove_file(path).unwrap();
    }
    for bytes in &contents {
        keep(&blobs, bytes).await.unwrap();
    }
    for bytes in &contents {
        assert!(read(&blobs, bytes).await.unwrap() == *bytes);
    }
    drop(blobs);
    let blobs = open(dir.path());
    expect(&blobs, &contents).await;
}
