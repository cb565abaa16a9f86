//! What the local backend promises beside that: what ends too early leaves no file, whatever its
//! disk does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use larder::blob::local::{self, LocalBlobs};
use larder::blob::{BlobBackend, BlobError, Limit, OpenBlob, Receiving};
use larder::disk::{Disk, Durability, RealDisk};
use larder::hash::BlobHash;
use larder::place::Place;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::process::{DEADLINE, until};
use crate::common::received::{keep, keep_received, received, write};

/// More than is received in memory.
const ON_DISK: usize = 700_000;

fn local_on(dir: &Path, disk: Arc<dyn Disk>, durability: Durability) -> LocalBlobs {
    LocalBlobs::open(local::Options {
        disk,
        durability,
        reserve: 0,
        ..local::Options::new(dir)
    })
    .unwrap()
}

fn local(dir: &Path, durability: Durability) -> LocalBlobs {
    local_on(dir, Arc::new(RealDisk), durability)
}

/// A storage directory and its blobs.
struct Storage {
    dir: TempDir,
    blobs: LocalBlobs,
}

impl Storage {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = local_on(dir.path(), disk, Durability::Relaxed);
        Self { dir, blobs }
    }

    fn spool_files(&self) -> usize {
        files_in(self.dir.path().join("spool"))
    }

    async fn receiving(&self) -> Box<dyn Receiving> {
        self.blobs.receive(Limit::default()).await.unwrap()
    }
}

fn files_in(dir: impl AsRef<Path>) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

async fn listed(blobs: &LocalBlobs) -> Vec<(BlobHash, u64)> {
    blobs.in_order().try_collect().await.unwrap()
}

async fn open(blobs: &LocalBlobs, hash: &BlobHash) -> Option<Arc<dyn OpenBlob>> {
    blobs.open(hash, Place::of(hash)).await.unwrap()
}

async fn whole(blobs: &LocalBlobs, bytes: &[u8]) -> bool {
    let (hash, size) = (BlobHash::of(bytes), bytes.len() as u64);
    let blob = open(blobs, &hash).await.unwrap();
    let pieces: Vec<_> = blob.read(0..size).try_collect().await.unwrap();
    blobs.size(Place::of(&hash)).await.unwrap() == Some(size) && pieces.concat() == bytes
}

async fn absent(blobs: &LocalBlobs, bytes: &[u8]) -> bool {
    let hash = BlobHash::of(bytes);
    blobs.size(Place::of(&hash)).await.unwrap().is_none() && open(blobs, &hash).await.is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_leaves_no_file() {
    let storage = Storage::new(Arc::new(RealDisk));
    let mut receiving = storage.receiving().await;
    write(&mut *receiving, &content(1, ON_DISK)).await.unwrap();
    let content = received(&storage.blobs, &content(2, ON_DISK))
        .await
        .unwrap();
    // Each has its bytes and its outboard.
    assert_eq!(storage.spool_files(), 4);
    drop((receiving, content));
    let gone = || (storage.spool_files() == 0).then_some(());
    tokio::task::block_in_place(|| until("the spool files go", gone));
}

#[tokio::test]
async fn a_failed_write_loses_the_content_for_good_and_its_file_at_once() {
    let disk = CountdownDisk::new();
    let storage = Storage::new(disk.clone());
    for error in [Errno::IO, Errno::NOSPC] {
        for working in 0..3 {
            let mut receiving = storage.receiving().await;
            let after = After::Work;
            disk.arm(working, Fault { error, after });
            let failed = write(&mut *receiving, &content(1, 5_000_000)).await;
            assert_eq!(
                matches!(failed.unwrap_err(), BlobError::Disk(error) if error.is_full()),
                error == Errno::NOSPC
            );
            assert!(disk.disarm().is_some());
            assert_eq!(storage.spool_files(), 0);
            assert!(receiving.write(Bytes::from_static(b"more")).await.is_err());
            assert!(receiving.finish().await.is_err());
        }
    }
}

#[tokio::test]
async fn nothing_is_written_into_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let options = local::Options {
        reserve: u64::MAX,
        ..local::Options::new(dir.path())
    };
    let blobs = LocalBlobs::open(options).unwrap();
    for len in [5, ON_DISK] {
        let kept = keep(&blobs, &content(1, len)).await;
        assert!(matches!(kept, Err(BlobError::Disk(error)) if error.is_full()));
    }
    assert_eq!(blobs.room().await, 0);
    assert_eq!(files_in(dir.path().join("spool")), 0);
    assert_eq!(listed(&blobs).await, []);
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
        keep(&storage.blobs, &bytes).await.unwrap();
        let uploads = (0..8).map(|_| async {
            let mut receiving = storage.receiving().await;
            write(&mut *receiving, &bytes).await.unwrap();
            receiving
        });
        let downloads = (0..8).map(|_| async {
            let open = open(&storage.blobs, &hash).await.unwrap();
            let mut reading = open.read(0..open.size());
            reading.try_next().await.unwrap().unwrap();
            reading
        });
        let standing = (join_all(uploads).await, join_all(downloads).await);
        let other = content(2, 3_000_000);
        let through = async {
            let hash = keep(&storage.blobs, &other).await.unwrap();
            let open = open(&storage.blobs, &hash).await.unwrap();
            open.read(0..open.size()).try_collect::<Vec<_>>().await
        };
        let through = tokio::time::timeout(DEADLINE, through).await;
        assert!(through.expect("in time").unwrap().concat() == other);
        drop(standing);
    });
}

fn blob_path(dir: &Path, hash: &BlobHash) -> PathBuf {
    let name = hash.to_string();
    dir.join("blobs").join(&name[..2]).join(name)
}

#[tokio::test]
async fn a_blob_of_the_wrong_size_is_never_handed_out_whole_and_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = local(dir.path(), Durability::Always);
    let bytes = content(0, 1_200_000);
    let hash = BlobHash::of(&bytes);
    keep(&blobs, &bytes).await.unwrap();
    let open = blobs.open(&hash, Place::of(&hash)).await.unwrap().unwrap();
    let file = RealDisk.open(&blob_path(dir.path(), &hash)).unwrap();
    file.set_len(700_000).unwrap();
    let read: Result<Vec<_>, _> = open.read(0..open.size()).try_collect().await;
    assert!(matches!(read, Err(BlobError::Damaged { .. })));
    keep(&blobs, &bytes).await.unwrap();
    assert!(whole(&blobs, &bytes).await);
}

#[tokio::test]
async fn what_is_read_is_read_to_its_end_though_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = local(dir.path(), Durability::Relaxed);
    let bytes = content(0, 1_500_000);
    let hash = keep(&blobs, &bytes).await.unwrap();
    let open = blobs.open(&hash, Place::of(&hash)).await.unwrap().unwrap();
    let mut reading = open.read(0..open.size());
    let first = reading.try_next().await.unwrap().unwrap();
    blobs.delete(Place::of(&hash)).await.unwrap();
    let rest: Vec<_> = reading.try_collect().await.unwrap();
    assert!([first.as_ref(), &rest.concat()].concat() == bytes);
}

#[tokio::test]
async fn blobs_in_packs_and_files_are_in_one_order() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = local(dir.path(), Durability::Relaxed);
    let mut expected = Vec::new();
    for seed in 0..40 {
        let len = if seed % 2 == 0 { 100 } else { 70_000 };
        let hash = keep(&blobs, &content(seed, len)).await.unwrap();
        expected.push((hash, len as u64));
    }
    expected.sort_unstable();
    let in_order: Vec<_> = blobs.in_order().try_collect().await.unwrap();
    assert_eq!(in_order, expected);
}

#[tokio::test]
async fn strangers_among_the_blobs_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = local(dir.path(), Durability::Relaxed);
    let bytes = content(0, 10);
    let hash = BlobHash::of(&bytes);
    keep(&blobs, &bytes).await.unwrap();
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
    let left = "spool/4a8d1c7e-2f60-4b7e-9d0a-5c3b1e6f7a90";
    std::fs::write(dir.path().join(left), b"half an upl").unwrap();
    let blobs = local(dir.path(), Durability::Always);
    assert_eq!(files_in(dir.path().join("spool")), 0);
    assert_eq!(listed(&blobs).await, []);
}

/// Everything that was asked of a backend, in order.
struct Scenario {
    blobs: LocalBlobs,
    /// Contents that were kept, as was acknowledged, and not deleted since.
    kept: BTreeSet<Vec<u8>>,
    /// Contents of which a sync failed as they were kept or deleted: there or not, never halves.
    unsure: BTreeSet<Vec<u8>>,
}

impl Scenario {
    async fn run(&mut self) {
        let (short, long) = (content(0, 1_000), content(1, 200_000));
        self.keep(&short).await;
        self.keep(&long).await;
        self.keep(&short).await;
        self.delete(&short).await;
        self.keep(&short).await;
        self.delete(&long).await;
        self.keep(&content(2, 0)).await;
        if let Err(error) = self.blobs.sync().await {
            assert!(self.blobs.refusal().is_some(), "{error}");
        }
    }

    async fn keep(&mut self, bytes: &[u8]) {
        let was_kept = self.kept.contains(bytes);
        let refused = self.blobs.refusal();
        let committed = match received(&self.blobs, bytes).await {
            Ok(content) => keep_received(content).await,
            Err(error) => return assert!(refused.is_none() || !is_refusal(&error)),
        };
        match committed {
            Ok(()) => {
                assert_eq!(refused, None, "content was taken after a failed sync");
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
        let deleted = self.blobs.delete(Place::of(&BlobHash::of(bytes))).await;
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
        blobs: local_on(dir.path(), on_disk, durability),
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
