//! What every blob backend promises, held against each there is.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use larder::blob::local::{self, LocalBlobs};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{BlobBackend, Spool, SpooledBlob, spool};
use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;

/// Lengths around every limit on the way: memory or file, pieces, nothing at all.
const LENGTHS: [usize; 9] = [
    0, 1, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 3_000_000,
];

fn spool_options(dir: &Path) -> spool::Options {
    spool::Options {
        dir: dir.join("spool"),
        disk: Arc::new(RealDisk),
        max_bytes: None,
        reserve: 0,
    }
}

fn local(dir: &Path, durability: Durability) -> LocalBlobs {
    LocalBlobs::open(local::Options {
        dir: dir.to_owned(),
        spool: spool_options(dir),
        durability,
    })
    .unwrap()
}

/// Content that differs from piece to piece.
fn content(len: usize) -> Vec<u8> {
    (0u32..).flat_map(u32::to_le_bytes).take(len).collect()
}

async fn spooled(dir: &Path, bytes: &[u8]) -> SpooledBlob {
    let mut spool = Spool::new(spool_options(dir));
    for piece in bytes.chunks(40_000) {
        spool.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    spool.finish().await.unwrap()
}

async fn read(blobs: &dyn BlobBackend, hash: BlobHash, range: Range<u64>) -> Vec<u8> {
    let blob = blobs.open(&hash).await.unwrap().unwrap();
    let pieces: Vec<_> = blob.read(range).try_collect().await.unwrap();
    assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20));
    pieces.concat()
}

async fn listed(blobs: &dyn BlobBackend) -> Vec<(BlobHash, u64)> {
    blobs.list().try_collect().await.unwrap()
}

/// The whole suite, on a backend that is empty.
async fn conforms(blobs: &dyn BlobBackend, dir: &Path) {
    let mut expected = Vec::new();
    for len in LENGTHS {
        let bytes = content(len);
        let blob = spooled(dir, &bytes).await;
        let (hash, size) = (blob.hash(), blob.size());
        assert_eq!((hash, size), (BlobHash::of(&bytes), len as u64));
        assert!(blobs.open(&hash).await.unwrap().is_none());
        assert_eq!(blobs.size(&hash).await.unwrap(), None);
        blobs.commit(blob).await.unwrap();
        blobs.commit(spooled(dir, &bytes).await).await.unwrap();
        assert_eq!(blobs.size(&hash).await.unwrap(), Some(size));
        assert!(read(blobs, hash, 0..size).await == bytes);
        expected.push((hash, size));
    }
    expected.sort_unstable();
    assert_eq!(listed(blobs).await, expected);
    blobs.sync().await.unwrap();
    assert_eq!(blobs.refusal(), None);
}

#[tokio::test]
async fn memory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("spool")).unwrap();
    conforms(&MemoryBlobs::default(), dir.path()).await;
}

#[tokio::test]
async fn local_always() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&local(dir.path(), Durability::Always), dir.path()).await;
}

#[tokio::test]
async fn local_relaxed() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&local(dir.path(), Durability::Relaxed), dir.path()).await;
}
