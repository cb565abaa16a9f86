//! What a finished pack holds is written down beside it; what tells of another pack, or of what
//! this one has lost, is not believed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

use std::path::{Path, PathBuf};

use common::content::content;
use common::received::keep;
use common::tree::Tree;
use futures_util::TryStreamExt;
use larder::blob::BlobBackend;
use larder::blob::local::{LocalBlobs, Options};
use larder::hash::BlobHash;
use larder::place::Place;

use crate::common;

/// So short that ten blobs fill a pack.
const PACK_BYTES: u32 = 10_000;
const BLOB: usize = 1_000;

fn open(dir: &Path) -> LocalBlobs {
    let options = Options {
        reserve: 0,
        pack_bytes: PACK_BYTES,
        ..Options::new(dir)
    };
    LocalBlobs::open(options).unwrap()
}

/// Commits the content of a number.
async fn commit(blobs: &LocalBlobs, seed: u32) {
    keep(blobs, &content(seed, BLOB)).await.unwrap();
}

/// Fails unless the content of a number is there.
async fn expect(blobs: &LocalBlobs, seed: u32) {
    let bytes = content(seed, BLOB);
    let blob = blobs
        .open(&BlobHash::of(&bytes), Place::of(&BlobHash::of(&bytes)))
        .await
        .unwrap();
    let blob = blob.unwrap_or_else(|| panic!("{seed} is lost"));
    let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await.unwrap();
    assert!(pieces.concat() == bytes, "{seed}");
}

fn about(dir: &Path, pack: u32, extension: &str) -> PathBuf {
    dir.join(format!("packs/{pack:010}.{extension}"))
}

/// An index that tells of what a pack has lost is not believed once the pack has as much again.
#[tokio::test]
async fn what_is_appended_where_a_finished_pack_was_cut_is_there_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = open(dir.path());
    for seed in 0..11 {
        commit(&blobs, seed).await;
    }
    drop(blobs);
    assert!(about(dir.path(), 1, "index").exists());
    std::fs::remove_file(about(dir.path(), 2, "pack")).unwrap();
    let pack = std::fs::File::options()
        .write(true)
        .open(about(dir.path(), 1, "pack"))
        .unwrap();
    let len = pack.metadata().unwrap().len();
    pack.set_len(len - 1).unwrap();
    let mut blobs = open(dir.path());
    commit(&blobs, 100).await;
    for _ in 0..2 {
        drop(blobs);
        blobs = open(dir.path());
        expect(&blobs, 100).await;
    }
}

/// As it may be where an older larder has gone on with a pack that it had finished.
#[tokio::test]
async fn an_index_of_what_a_pack_had_before_is_made_anew() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let blobs = open(one.path());
    for seed in 0..9 {
        commit(&blobs, seed).await;
    }
    drop(blobs);
    Tree::read(one.path()).write(other.path());
    let blobs = open(other.path());
    for seed in [100, 101] {
        commit(&blobs, seed).await;
    }
    drop(blobs);
    let blobs = open(one.path());
    commit(&blobs, 200).await;
    drop(blobs);
    let of_other = about(other.path(), 1, "index");
    std::fs::copy(of_other, about(one.path(), 1, "index")).unwrap();
    let blobs = open(one.path());
    for seed in (0..9).chain([200]) {
        expect(&blobs, seed).await;
    }
}
