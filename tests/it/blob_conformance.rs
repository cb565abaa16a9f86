//! What every blob backend promises, held against each there is, also while its
//! disk fails.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)] // A test fails by panicking.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::content::content;
use common::countdown_disk::{After, CountdownDisk, Fault};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use larder::blob::local::{self, LocalBlobs, PACK_BYTES};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{BlobBackend, BlobError, Spool, SpooledBlob, spool};
use larder::disk::{Disk, Durability, RealDisk};
use larder::hash::BlobHash;
use rustix::io::Errno;

use crate::common;

/// Around every limit on the way: memory or file, pieces, nothing at all.
const LENGTHS: [usize; 9] = [
    0, 1, 65_535, 65_536, 65_537, 524_287, 524_288, 524_289, 3_000_000,
];

fn spool_options(dir: &Path, disk: Arc<dyn Disk>, durability: Durability) -> spool::Options {
    spool::Options {
        dir: dir.join("spool"),
        disk,
        max_bytes: None,
        quota: None,
        reserve: 0,
        durability,
    }
}

fn local_on(dir: &Path, disk: Arc<dyn Disk>, durability: Durability) -> LocalBlobs {
    LocalBlobs::open(local::Options {
        dir: dir.to_owned(),
        spool: spool_options(dir, disk, durability),
        pack_bytes: PACK_BYTES,
        verify_reads: true,
    })
    .unwrap()
}

fn local(dir: &Path, durability: Durability) -> LocalBlobs {
    local_on(dir, Arc::new(RealDisk), durability)
}

async fn spool(options: spool::Options, bytes: &[u8]) -> Result<SpooledBlob, BlobError> {
    let mut spool = Spool::new(options);
    for piece in bytes.chunks(40_000) {
        spool.write(Bytes::copy_from_slice(piece)).await?;
    }
    spool.finish().await
}

async fn spooled(dir: &Path, bytes: &[u8]) -> SpooledBlob {
    let options = spool_options(dir, Arc::new(RealDisk), Durability::Always);
    spool(options, bytes).await.unwrap()
}

async fn try_read(
    blobs: &dyn BlobBackend,
    hash: &BlobHash,
    range: Range<u64>,
) -> Result<Vec<u8>, BlobError> {
    let blob = blobs.open(hash).await?.unwrap();
    let pieces: Vec<_> = blob.read(range).try_collect().await?;
    assert!(pieces.iter().all(|piece| piece.len() <= 1 << 20));
    Ok(pieces.concat())
}

async fn whole(blobs: &dyn BlobBackend, bytes: &[u8]) -> bool {
    let (hash, size) = (BlobHash::of(bytes), bytes.len() as u64);
    blobs.size(&hash).await.unwrap() == Some(size)
        && try_read(blobs, &hash, 0..size).await.unwrap() == bytes
}

async fn absent(blobs: &dyn BlobBackend, bytes: &[u8]) -> bool {
    let hash = BlobHash::of(bytes);
    blobs.size(&hash).await.unwrap().is_none() && blobs.open(&hash).await.unwrap().is_none()
}

async fn listed(blobs: &dyn BlobBackend) -> Vec<(BlobHash, u64)> {
    blobs.list().try_collect().await.unwrap()
}

fn files_in(dir: impl AsRef<Path>) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

/// The whole suite, on a backend that is empty.
async fn conforms(blobs: &dyn BlobBackend, dir: &Path) {
    what_is_committed_is_there(blobs, dir).await;
    ranges_are_exact(blobs, dir).await;
    deletion_is_complete(blobs, dir).await;
    racing_commits_make_one_blob(blobs, dir).await;
    blobs.sync().await.unwrap();
    assert_eq!(blobs.refusal(), None);
    assert_eq!(files_in(dir.join("spool")), 0);
}

async fn what_is_committed_is_there(blobs: &dyn BlobBackend, dir: &Path) {
    assert_eq!(listed(blobs).await, []);
    let mut expected = Vec::new();
    for len in LENGTHS {
        let bytes = content(0, len);
        let blob = spooled(dir, &bytes).await;
        let (hash, size) = (blob.hash(), blob.size());
        assert_eq!((hash, size), (BlobHash::of(&bytes), len as u64));
        assert!(absent(blobs, &bytes).await);
        blobs.commit(blob).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        blobs.commit(spooled(dir, &bytes).await).await.unwrap();
        assert!(whole(blobs, &bytes).await);
        expected.push((hash, size));
    }
    expected.sort_unstable();
    assert_eq!(listed(blobs).await, expected);
}

async fn ranges_are_exact(blobs: &dyn BlobBackend, dir: &Path) {
    let bytes = content(1, 2_000_000);
    let hash = BlobHash::of(&bytes);
    blobs.commit(spooled(dir, &bytes).await).await.unwrap();
    for range in [
        0..0,
        0..1,
        1_999_999..2_000_000,
        2_000_000..2_000_000,
        65_535..65_537,
        524_288..1_048_576,
        7..1_999_993,
    ] {
        let read = try_read(blobs, &hash, range.start as u64..range.end as u64).await;
        assert!(read.unwrap() == bytes[range.clone()], "{range:?}");
    }
    for range in [0..2_000_001, 1_999_999..4_000_000] {
        let read = try_read(blobs, &hash, range).await;
        assert!(matches!(read, Err(BlobError::Damaged { hash: h, .. }) if h == hash));
    }
}

async fn deletion_is_complete(blobs: &dyn BlobBackend, dir: &Path) {
    let bytes = content(2, 1_500_000);
    let hash = BlobHash::of(&bytes);
    blobs.commit(spooled(dir, &bytes).await).await.unwrap();
    let open = blobs.open(&hash).await.unwrap().unwrap();
    let mut reading = open.read(0..open.size());
    let first = reading.try_next().await.unwrap().unwrap();
    blobs.delete(&hash).await.unwrap();
    assert!(absent(blobs, &bytes).await);
    assert!(
        listed(blobs)
            .await
            .iter()
            .all(|(listed, _)| *listed != hash)
    );
    let rest: Vec<_> = reading.try_collect().await.unwrap();
    assert!([first.as_ref(), &rest.concat()].concat() == bytes);
    blobs.delete(&hash).await.unwrap();
    blobs.commit(spooled(dir, &bytes).await).await.unwrap();
    assert!(whole(blobs, &bytes).await);
}

async fn racing_commits_make_one_blob(blobs: &dyn BlobBackend, dir: &Path) {
    for len in [30_000, 300_000] {
        let bytes = content(3, len);
        let before = listed(blobs).await.len();
        let commits = (0..16).map(|_| async { blobs.commit(spooled(dir, &bytes).await).await });
        for committed in join_all(commits).await {
            committed.unwrap();
        }
        assert!(whole(blobs, &bytes).await);
        assert_eq!(listed(blobs).await.len(), before + 1);
    }
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

fn blob_path(dir: &Path, hash: &BlobHash) -> std::path::PathBuf {
    let name = hash.to_string();
    dir.join("blobs").join(&name[..2]).join(name)
}

#[tokio::test]
async fn a_blob_of_the_wrong_size_is_never_handed_out_whole_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = local(dir.path(), Durability::Always);
    let bytes = content(0, 1_200_000);
    let hash = BlobHash::of(&bytes);
    blobs
        .commit(spooled(dir.path(), &bytes).await)
        .await
        .unwrap();
    let open = blobs.open(&hash).await.unwrap().unwrap();
    let file = RealDisk.open(&blob_path(dir.path(), &hash)).unwrap();
    file.set_len(700_000).unwrap();
    let read: Result<Vec<_>, _> = open.read(0..open.size()).try_collect().await;
    assert!(matches!(read, Err(BlobError::Damaged { .. })));
    blobs
        .commit(spooled(dir.path(), &bytes).await)
        .await
        .unwrap();
    assert!(whole(&blobs, &bytes).await);
}

#[tokio::test]
async fn strangers_among_the_blobs_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = local(dir.path(), Durability::Relaxed);
    let bytes = content(0, 10);
    let hash = BlobHash::of(&bytes);
    blobs
        .commit(spooled(dir.path(), &bytes).await)
        .await
        .unwrap();
    let at_home = blob_path(dir.path(), &hash);
    let shard = at_home.parent().unwrap();
    let elsewhere = dir.path().join("blobs/00").join(hash.to_string());
    assert_ne!(elsewhere, at_home);
    let mut strays = [elsewhere, shard.join("note.txt"), shard.join("UPPER")];
    for stray in &strays {
        std::fs::write(stray, b"").unwrap();
    }
    strays.sort();
    assert_eq!(listed(&blobs).await, [(hash, 10)]);
    assert_eq!(
        blobs.strays().try_collect::<Vec<_>>().await.unwrap(),
        strays
    );
}

#[tokio::test]
async fn what_interrupted_uploads_left_is_cleared_at_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(local(dir.path(), Durability::Always));
    std::fs::write(dir.path().join("spool/left"), b"half an upl").unwrap();
    let blobs = local(dir.path(), Durability::Always);
    assert_eq!(files_in(dir.path().join("spool")), 0);
    assert_eq!(listed(&blobs).await, []);
}

/// Everything that was asked of a backend, in order.
struct Scenario {
    blobs: LocalBlobs,
    spool: spool::Options,
    /// Contents whose commit was acknowledged and which were not deleted since.
    kept: BTreeSet<Vec<u8>>,
    /// Contents whose commit or deletion failed in a sync: there or not, but never halves.
    unsure: BTreeSet<Vec<u8>>,
}

impl Scenario {
    async fn run(&mut self) {
        let (short, long) = (content(0, 1_000), content(1, 200_000));
        self.commit(&short).await;
        self.commit(&long).await;
        self.commit(&short).await;
        self.delete(&short).await;
        self.commit(&short).await;
        self.delete(&long).await;
        self.commit(&content(2, 0)).await;
        if let Err(error) = self.blobs.sync().await {
            assert!(self.blobs.refusal().is_some(), "{error}");
        }
    }

    async fn commit(&mut self, bytes: &[u8]) {
        let was_kept = self.kept.contains(bytes);
        let refused = self.blobs.refusal();
        let committed = match spool(self.spool.clone(), bytes).await {
            Ok(blob) => self.blobs.commit(blob).await,
            Err(error) => return assert!(refused.is_none() || !is_refusal(&error)),
        };
        match committed {
            Ok(()) => {
                assert_eq!(refused, None, "a commit was taken after a failed sync");
                assert!(whole(&self.blobs, bytes).await);
                self.kept.insert(bytes.to_owned());
            }
            Err(error) => {
                assert_eq!(refused.is_some(), is_refusal(&error), "{error}");
                if was_kept {
                    assert!(whole(&self.blobs, bytes).await);
                } else if self.blobs.refusal().is_some() {
                    self.unsure.insert(bytes.to_owned());
                } else {
                    assert!(absent(&self.blobs, bytes).await);
                }
            }
        }
    }

    async fn delete(&mut self, bytes: &[u8]) {
        let deleted = self.blobs.delete(&BlobHash::of(bytes)).await;
        // What failed may have been the removal of something beside the blob.
        let is_absent = absent(&self.blobs, bytes).await;
        assert!(is_absent || deleted.is_err());
        if is_absent {
            self.kept.remove(bytes);
        }
    }
}

fn is_refusal(error: &BlobError) -> bool {
    matches!(error, BlobError::Refused(_))
}

/// Runs the scenario with a fault; true when the countdown had ended.
async fn survives(durability: Durability, working: u64, fault: Fault) -> bool {
    // In memory: what matters here is which operation fails.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = CountdownDisk::new();
    let on_disk = Arc::clone(&disk) as Arc<dyn Disk>;
    let mut scenario = Scenario {
        blobs: local_on(dir.path(), Arc::clone(&on_disk), durability),
        spool: spool_options(dir.path(), on_disk, durability),
        kept: BTreeSet::new(),
        unsure: BTreeSet::new(),
    };
    disk.arm(working, fault);
    scenario.run().await;
    let Scenario { kept, unsure, .. } = scenario;
    let failed = disk.disarm();
    let context = || format!("{durability:?}, {fault:?}, failed: {failed:?}");
    let reopened = local(dir.path(), durability);
    for bytes in &kept {
        assert!(whole(&reopened, bytes).await, "{}", context());
    }
    let mut expected = kept.len();
    for bytes in unsure.difference(&kept) {
        let there = !absent(&reopened, bytes).await;
        assert!(!there || whole(&reopened, bytes).await, "{}", context());
        expected += usize::from(there);
    }
    assert_eq!(listed(&reopened).await.len(), expected, "{}", context());
    assert_eq!(files_in(dir.path().join("spool")), 0);
    failed.is_some()
}

#[tokio::test]
async fn local_with_a_fault_at_every_operation() {
    for (error, after) in [
        (Errno::IO, After::Work),
        (Errno::IO, After::Fail),
        (Errno::NOSPC, After::Work),
    ] {
        for durability in [Durability::Always, Durability::Relaxed] {
            let mut working = 0;
            while survives(durability, working, Fault { error, after }).await {
                working += 1;
            }
            assert!(working > 10, "only {working} operations were counted");
        }
    }
}
