//! The spool: what comes out is what went in, and whatever ends too early leaves nothing.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // A test fails by panicking.

use crate::common;

use std::sync::Arc;

use bytes::Bytes;
use common::content::content;
use common::countdown_disk::{After, CountdownDisk, Fault};
use common::process::{DEADLINE, until};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use larder::blob::local::{self, LocalBlobs};
use larder::blob::{BlobBackend, BlobError, Spool, SpooledBlob, spool};
use larder::disk::{Disk, Durability, RealDisk};
use larder::hash::BlobHash;
use rustix::io::Errno;
use tempfile::TempDir;

/// More than a spool keeps in memory.
const ON_DISK: usize = 700_000;

/// A storage directory's blobs and how its uploads are spooled.
struct Storage {
    dir: TempDir,
    spool: spool::Options,
    blobs: LocalBlobs,
}

impl Storage {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spool = spool::Options {
            dir: dir.path().join("spool"),
            disk,
            max_bytes: None,
            quota: None,
            reserve: 0,
            durability: Durability::Relaxed,
        };
        let options = local::Options {
            dir: dir.path().to_owned(),
            spool: spool.clone(),
            pack_bytes: local::PACK_BYTES,
            verify_reads: true,
        };
        let blobs = LocalBlobs::open(options).unwrap();
        Self { dir, spool, blobs }
    }

    fn spool_files(&self) -> usize {
        std::fs::read_dir(self.dir.path().join("spool"))
            .unwrap()
            .count()
    }
}

async fn write_all(spool: &mut Spool, bytes: &[u8], piece: usize) -> Result<(), BlobError> {
    for piece in bytes.chunks(piece) {
        spool.write(Bytes::copy_from_slice(piece)).await?;
    }
    Ok(())
}

async fn spooled(options: &spool::Options, bytes: &[u8]) -> Result<SpooledBlob, BlobError> {
    let mut spool = Spool::new(options.clone());
    write_all(&mut spool, bytes, 40_000).await?;
    spool.finish().await
}

#[tokio::test]
async fn pieces_of_any_length_make_up_the_content() {
    let storage = Storage::new(Arc::new(RealDisk));
    for piece in [1, 999, 65_536, 600_000, ON_DISK] {
        let bytes = content(u32::try_from(piece).unwrap(), ON_DISK);
        let mut spool = Spool::new(storage.spool.clone());
        spool.write(Bytes::new()).await.unwrap();
        write_all(&mut spool, &bytes, piece).await.unwrap();
        let blob = spool.finish().await.unwrap();
        let (hash, size) = (blob.hash(), blob.size());
        assert_eq!((hash, size), (BlobHash::of(&bytes), bytes.len() as u64));
        storage.blobs.commit(blob).await.unwrap();
        let stored = storage.blobs.open(&hash).await.unwrap().unwrap();
        let stored: Vec<_> = stored.read(0..size).try_collect().await.unwrap();
        assert!(stored.concat() == bytes, "in pieces of {piece}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_leaves_nothing() {
    let storage = Storage::new(Arc::new(RealDisk));
    let mut spool = Spool::new(storage.spool.clone());
    write_all(&mut spool, &content(1, ON_DISK), 40_000)
        .await
        .unwrap();
    let blob = spooled(&storage.spool, &content(2, ON_DISK)).await.unwrap();
    // Each has its bytes and its outboard.
    assert_eq!(storage.spool_files(), 4);
    drop((spool, blob));
    let gone = || (storage.spool_files() == 0).then_some(());
    tokio::task::block_in_place(|| until("the spool files go", gone));
}

#[tokio::test]
async fn content_up_to_the_limit_is_taken_and_not_a_byte_more() {
    let storage = Storage::new(Arc::new(RealDisk));
    for limit in [0, 10, 65_536, ON_DISK] {
        let options = spool::Options {
            max_bytes: Some(limit as u64),
            quota: None,
            ..storage.spool.clone()
        };
        let blob = spooled(&options, &content(1, limit)).await.unwrap();
        assert_eq!(blob.size(), limit as u64);
        let refused = spooled(&options, &content(1, limit + 1)).await;
        assert!(matches!(refused, Err(BlobError::TooLarge(max)) if max == limit as u64));
    }
}

#[tokio::test]
async fn a_failed_write_loses_the_content_for_good_and_its_file_at_once() {
    let disk = CountdownDisk::new();
    let storage = Storage::new(disk.clone());
    for error in [Errno::IO, Errno::NOSPC] {
        for working in 0..3 {
            let mut spool = Spool::new(storage.spool.clone());
            let after = After::Work;
            disk.arm(working, Fault { error, after });
            let bytes = content(1, 5_000_000);
            let failed = write_all(&mut spool, &bytes, 40_000).await.unwrap_err();
            assert_eq!(
                matches!(failed, BlobError::Disk(error) if error.is_full()),
                error == Errno::NOSPC
            );
            assert!(disk.disarm().is_some());
            assert_eq!(storage.spool_files(), 0);
            assert!(spool.write(Bytes::from_static(b"more")).await.is_err());
            assert!(spool.finish().await.is_err());
        }
    }
}

#[tokio::test]
async fn nothing_is_written_into_the_reserve() {
    let storage = Storage::new(Arc::new(RealDisk));
    let short = spooled(&storage.spool, b"short").await.unwrap();
    let spool = spool::Options {
        reserve: u64::MAX,
        durability: Durability::Always,
        ..storage.spool.clone()
    };
    let long = spooled(&spool, &content(1, ON_DISK)).await;
    assert!(matches!(long, Err(BlobError::Disk(error)) if error.is_full()));
    let options = local::Options {
        dir: storage.dir.path().to_owned(),
        spool,
        pack_bytes: local::PACK_BYTES,
        verify_reads: true,
    };
    let blobs = LocalBlobs::open(options).unwrap();
    let committed = blobs.commit(short).await;
    assert!(matches!(committed, Err(BlobError::Disk(error)) if error.is_full()));
    assert_eq!(storage.spool_files(), 0);
    let listed: Vec<_> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed, []);
}

/// With two threads for blocking work, eight uploads and eight downloads that stand
/// still must not keep another upload and download from their ends.
#[test]
fn slow_clients_hold_no_threads() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(2).build();
    runtime.unwrap().block_on(async {
        let storage = Storage::new(Arc::new(RealDisk));
        let bytes = content(1, 3_000_000);
        let hash = BlobHash::of(&bytes);
        let blob = spooled(&storage.spool, &bytes).await.unwrap();
        storage.blobs.commit(blob).await.unwrap();
        let uploads = (0..8).map(|_| async {
            let mut spool = Spool::new(storage.spool.clone());
            write_all(&mut spool, &bytes, 40_000).await.unwrap();
            spool
        });
        let downloads = (0..8).map(|_| async {
            let open = storage.blobs.open(&hash).await.unwrap().unwrap();
            let mut reading = open.read(0..open.size());
            reading.try_next().await.unwrap().unwrap();
            reading
        });
        let standing = (join_all(uploads).await, join_all(downloads).await);
        let other = content(2, 3_000_000);
        let through = async {
            let blob = spooled(&storage.spool, &other).await.unwrap();
            let hash = blob.hash();
            storage.blobs.commit(blob).await.unwrap();
            let open = storage.blobs.open(&hash).await.unwrap().unwrap();
            open.read(0..open.size()).try_collect::<Vec<_>>().await
        };
        let through = tokio::time::timeout(DEADLINE, through).await;
        assert!(through.expect("in time").unwrap().concat() == other);
        drop(standing);
    });
}
