//! The answers to ranges that blob backends give: exactly the bytes and what proves them,
//! from every backend, whatever has become of the outboards.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use larder::blob::local::{self, LocalBlobs};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{BlobBackend, BlobError, OpenBlob};
use larder::disk::{Disk, Durability, RealDisk};
use larder::hash::BlobHash;
use larder::outboard::{TreeHasher, VerifyError};
use larder::place::Place;
use proptest::prelude::*;
use proptest::sample::Index;
use rustix::io::Errno;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::encoded::{assert_proves, encoded, verified};
use crate::common::process::DEADLINE;
use crate::common::received::keep;

/// Around every limit on the way: chunk groups, memory or file, pieces, nothing at all.
const SIZES: [usize; 12] = [
    0, 1, 16_384, 16_385, 40_000, 65_536, 65_537, 524_288, 540_673, 1_048_576, 1_048_577, 3_000_000,
];
/// Longer than what an answer is made of at once.
const LONG: usize = 3_000_000;

/// A storage directory's blobs.
struct Storage {
    dir: TempDir,
    blobs: LocalBlobs,
}

impl Storage {
    fn new(disk: Arc<dyn Disk>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = local::Options {
            disk,
            durability: Durability::Relaxed,
            reserve: 0,
            ..local::Options::new(dir.path())
        };
        let blobs = LocalBlobs::open(options).unwrap();
        Self { dir, blobs }
    }

    fn spool_files(&self) -> usize {
        fs::read_dir(self.dir.path().join("spool")).unwrap().count()
    }

    /// Changes one byte of a blob, in its file or in its pack.
    fn damage(&self, bytes: &[u8], at: usize) {
        let mut file = self.blob_file(bytes);
        let mut begin = 0;
        if bytes.len() <= 65_536 {
            file = self.dir.path().join("packs/0000000001.pack");
            let pack = fs::read(&file).unwrap();
            let hash = BlobHash::of(bytes);
            let entry = memchr::memmem::rfind(&pack, hash.as_bytes()).unwrap();
            // Behind the hash and its checksum.
            begin = entry + 32 + 4;
        }
        let mut whole = fs::read(&file).unwrap();
        whole[begin + at] ^= 1;
        fs::write(file, whole).unwrap();
    }

    /// Keeps content and opens it.
    async fn open(&self, bytes: &[u8]) -> Arc<dyn OpenBlob> {
        keep(&self.blobs, bytes).await.unwrap();
        let open = self
            .blobs
            .open(&BlobHash::of(bytes), Place::of(&BlobHash::of(bytes)))
            .await
            .unwrap();
        open.unwrap()
    }

    fn blob_file(&self, bytes: &[u8]) -> PathBuf {
        self.in_shard("blobs", bytes)
    }

    fn outboard_file(&self, bytes: &[u8]) -> PathBuf {
        self.in_shard("outboards", bytes)
    }

    fn in_shard(&self, dir: &str, bytes: &[u8]) -> PathBuf {
        let name = BlobHash::of(bytes).to_string();
        self.dir.path().join(dir).join(&name[..2]).join(name)
    }
}

/// A blob of each size, and some range of it.
fn conforms(open: impl Fn(&Runtime, &[u8]) -> Arc<dyn OpenBlob>) {
    let runtime = Runtime::new().unwrap();
    let blobs = SIZES.map(|size| {
        let bytes = content(7, size);
        (open(&runtime, &bytes), bytes)
    });
    let cases = (0..SIZES.len(), any::<[Index; 2]>(), any::<bool>());
    proptest!(ProptestConfig::with_cases(200), |((which, ends, beyond) in cases)| {
        let (blob, bytes) = &blobs[which];
        let mut ends = ends.map(|end| end.index(bytes.len() + 1) as u64);
        ends.sort_unstable();
        let end = if beyond { u64::MAX } else { ends[1] };
        runtime.block_on(assert_proves(&**blob, bytes, ends[0]..end));
    });
}

#[test]
fn memory() {
    let blobs = MemoryBlobs::default();
    conforms(|runtime, bytes| {
        runtime.block_on(async {
            keep(&blobs, bytes).await.unwrap();
            blobs
                .open(&BlobHash::of(bytes), Place::of(&BlobHash::of(bytes)))
                .await
                .unwrap()
                .unwrap()
        })
    });
}

#[test]
fn local() {
    let storage = Storage::new(Arc::new(RealDisk));
    conforms(|runtime, bytes| runtime.block_on(storage.open(bytes)));
}

/// As in a directory from before there were outboards.
#[test]
fn local_without_outboards() {
    let storage = Storage::new(Arc::new(RealDisk));
    conforms(|runtime, bytes| {
        let blob = runtime.block_on(storage.open(bytes));
        if bytes.len() > 65_536 {
            fs::remove_file(storage.outboard_file(bytes)).unwrap();
        }
        blob
    });
}

#[tokio::test]
async fn an_upload_leaves_the_outboard_of_its_bytes() {
    let storage = Storage::new(Arc::new(RealDisk));
    // The last one is so long that its outboard is not written at once.
    for size in SIZES.into_iter().chain([(33 << 20) + 5]) {
        let bytes = content(10, size);
        storage.open(&bytes).await;
        let (mut hasher, mut outboard) = (TreeHasher::new(), Vec::new());
        hasher.update(&bytes, &mut outboard);
        assert_eq!(hasher.finish(&mut outboard), BlobHash::of(&bytes));
        if size > 65_536 {
            let stored = fs::read(storage.outboard_file(&bytes)).unwrap();
            assert!(stored == outboard, "{size} bytes");
        } else {
            assert!(!storage.outboard_file(&bytes).exists());
        }
    }
    assert_eq!(storage.spool_files(), 0);
}

#[tokio::test]
async fn a_damaged_blob_gives_an_error_and_nothing_false() {
    for size in [1, 16_385, 65_536, 65_537, LONG] {
        for at in [0, size / 2, size - 1] {
            for derive in [false, true] {
                // Each for itself, so that nothing is dead in a pack and moved.
                let storage = Storage::new(Arc::new(RealDisk));
                let bytes = content(3, size);
                let whole = storage.open(&bytes).await;
                assert_proves(&*whole, &bytes, 0..u64::MAX).await;
                storage.damage(&bytes, at);
                if derive && size > 65_536 {
                    fs::remove_file(storage.outboard_file(&bytes)).unwrap();
                }
                let hash = BlobHash::of(&bytes);
                let all = 0..size as u64;
                let (pieces, error) = match storage.blobs.open(&hash, Place::of(&hash)).await {
                    Ok(blob) => encoded(&*blob.unwrap(), all.clone()).await,
                    Err(error) => (Vec::new(), Some(error)),
                };
                let is_damaged =
                    matches!(&error, Some(BlobError::Damaged { hash: h, .. }) if *h == hash);
                assert!(is_damaged, "{error:?}");
                let (proven, ended) = verified(hash, size as u64, all, pieces);
                assert_eq!(ended, Err(VerifyError::TooShort));
                assert!(bytes.starts_with(&proven) && proven.len() <= at);
            }
        }
    }
}

/// An outboard that cannot be written is told as such; once it can, the answer comes.
#[tokio::test]
async fn an_outboard_is_derived_as_soon_as_the_disk_takes_it() {
    let disk = CountdownDisk::new();
    let storage = Storage::new(disk.clone());
    let bytes = content(4, LONG);
    let blob = storage.open(&bytes).await;
    fs::remove_file(storage.outboard_file(&bytes)).unwrap();
    for working in 0.. {
        disk.arm(
            working,
            Fault {
                error: Errno::NOSPC,
                after: After::Work,
            },
        );
        let (pieces, error) = encoded(&*blob, 0..1).await;
        if disk.disarm().is_none() {
            assert!(working > 2, "only {working} operations were counted");
            break;
        }
        assert!(pieces.is_empty());
        assert!(
            matches!(&error, Some(BlobError::Disk(error)) if error.is_full()),
            "{error:?}"
        );
        assert!(!storage.outboard_file(&bytes).exists());
    }
    assert_proves(&*blob, &bytes, 0..1).await;
    assert_eq!(storage.spool_files(), 0);
}

#[tokio::test]
async fn many_who_need_an_outboard_have_it_derived_once() {
    let disk = CountdownDisk::new();
    let storage = Storage::new(disk.clone());
    let bytes = content(5, LONG);
    let blob = storage.open(&bytes).await;
    fs::remove_file(storage.outboard_file(&bytes)).unwrap();
    // Create, write and rename: a fourth operation would fail.
    disk.arm(
        3,
        Fault {
            error: Errno::IO,
            after: After::Fail,
        },
    );
    join_all((0..16).map(|_| assert_proves(&*blob, &bytes, 0..u64::MAX))).await;
    assert_eq!(disk.disarm(), None);
}

/// A node that takes no more changes still proves all that it has.
#[tokio::test]
async fn an_outboard_is_derived_also_after_a_failed_sync() {
    let disk = CountdownDisk::new();
    let storage = Storage::new(disk.clone());
    let bytes = content(9, LONG);
    let blob = storage.open(&bytes).await;
    let (error, after) = (Errno::IO, After::Work);
    disk.arm(0, Fault { error, after });
    storage.blobs.sync().await.unwrap_err();
    assert!(storage.blobs.refusal().is_some());
    fs::remove_file(storage.outboard_file(&bytes)).unwrap();
    assert_proves(&*blob, &bytes, 0..u64::MAX).await;
    assert!(storage.outboard_file(&bytes).exists());
}

#[tokio::test]
async fn a_blob_deleted_while_it_is_read_leaves_no_outboard() {
    let storage = Storage::new(Arc::new(RealDisk));
    let bytes = content(6, LONG);
    let blob = storage.open(&bytes).await;
    storage
        .blobs
        .delete(Place::of(&BlobHash::of(&bytes)))
        .await
        .unwrap();
    assert!(!storage.outboard_file(&bytes).exists());
    assert_proves(&*blob, &bytes, 0..u64::MAX).await;
    assert!(!storage.outboard_file(&bytes).exists());
}

/// With two threads for blocking work, eight readers that stand still, and sixteen that wait
/// for an outboard, must not keep each other from their ends.
#[test]
fn slow_readers_hold_no_threads() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(2).build();
    runtime.unwrap().block_on(async {
        let storage = Storage::new(Arc::new(RealDisk));
        let bytes = content(8, LONG);
        let blob = storage.open(&bytes).await;
        let standing = (0..8).map(|_| async {
            let mut answer = blob.encoded(0..LONG as u64);
            answer.try_next().await.unwrap().unwrap();
            answer
        });
        let standing = join_all(standing).await;
        fs::remove_file(storage.outboard_file(&bytes)).unwrap();
        let waiting = (0..16).map(|_| assert_proves(&*blob, &bytes, 0..u64::MAX));
        let through = tokio::time::timeout(DEADLINE, join_all(waiting)).await;
        through.expect("in time");
        drop(standing);
    });
}
