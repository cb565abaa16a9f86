//! The Nth disk operation fails, for every N, while an upload in parts goes on and ends:
//! nothing that was acknowledged is lost, and in the end it is one file.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::blob::memory::MemoryBlobs;
use larder::disk::{Disk, Durability, RealDisk};
use larder::hash::BlobHash;
use larder::index::memory::MemoryIndex;
use larder::node::{Node, Options};
use larder::peer::identity::Identity;
use larder::resumable::{NewUpload, UploadError, UploadId, UploadProgress};
use larder::small_state::memory::MemoryState;
use larder::store::local::LocalStore;
use larder::store::{About, Store};
use rustix::io::Errno;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::stores;

/// When it is noted what is here of an upload, however little that is.
const NOTED_AFTER: Duration = Duration::from_secs(1);

/// A node, and the storage directory that it has to itself.
async fn open(dir: &Path, disk: Arc<dyn Disk>) -> (Node, LocalStore) {
    let options = stores::options(dir, disk, Durability::Always);
    let opened = LocalStore::open(options).await.unwrap();
    let (store, state) = (opened.store.clone(), opened.state.clone());
    let options = Options::alone("http://localhost:5004".parse().unwrap());
    let identity = Identity::generate().unwrap();
    (Node::new(store, identity, state, options).unwrap(), opened)
}

/// Ends a node whose disk may have failed.
async fn close((node, _opened): (Node, LocalStore)) {
    let refusal = node.store().refusal();
    let closed = node.store().close().await;
    assert_eq!(closed.is_err(), refusal.is_some(), "{closed:?}");
}

/// Appends bytes as a request does; `checked` as one with a checksum that holds.
async fn append(
    node: &Node,
    id: UploadId,
    offset: u64,
    bytes: &[u8],
    checked: bool,
) -> Result<UploadProgress, UploadError> {
    let visit = node.uploads().visit(id).await?;
    let mut appending = visit.append(offset, checked).await?;
    for piece in bytes.chunks(40_000) {
        appending.write(Bytes::copy_from_slice(piece)).await?;
    }
    appending.keep().await
}

/// Uploads `len` bytes in three parts, of which the last two meet the fault; tells which
/// operation failed, if any was left.
async fn run(len: usize, working: u64, fault: Fault) -> Option<String> {
    let content = content(9, len);
    let (first, second) = (len / 3, len / 2);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = CountdownDisk::new();
    let opened = open(dir.path(), disk.clone()).await;
    let node = &opened.0;
    let upload = NewUpload {
        length: Some(len as u64),
        metadata: None,
        about: About::default(),
        copies: None,
        concat: None,
    };
    let id = node.uploads().create(upload, None).await.unwrap();
    append(node, id, 0, &content[..first], false).await.unwrap();
    disk.arm(working, fault);
    let mut acknowledged = first;
    let part = &content[first..second];
    if append(node, id, first as u64, part, true).await.is_ok() {
        acknowledged = second;
        let rest = &content[second..];
        if append(node, id, second as u64, rest, false).await.is_ok() {
            acknowledged = len;
        }
    }
    let failed = disk.disarm();
    close(opened).await;

    let opened = open(dir.path(), Arc::new(RealDisk)).await;
    let node = &opened.0;
    let mut visit = node.uploads().visit(id).await.unwrap();
    let mut progress = visit.progress().await.unwrap();
    drop(visit);
    let here = usize::try_from(progress.offset).unwrap();
    assert!((acknowledged..=len).contains(&here), "{here} {failed:?}");
    if here < len {
        progress = append(node, id, progress.offset, &content[here..], false)
            .await
            .unwrap();
    }
    let files = stores::whole_files(node.store()).await;
    let [record] = &files[..] else {
        panic!("{files:?} {failed:?}");
    };
    assert_eq!(record.file.hash, BlobHash::of(&content));
    assert_eq!(progress.finished.map(|it| it.file), Some(record.id));
    close(opened).await;
    failed
}

#[tokio::test]
async fn an_upload_survives_every_fault() {
    for (error, after) in [
        (Errno::IO, After::Work),
        (Errno::IO, After::Fail),
        (Errno::NOSPC, After::Work),
    ] {
        let fault = Fault { error, after };
        for len in [30_000, 300_000] {
            let mut working = 0;
            while let Some(failed) = run(len, working, fault).await {
                println!("survived {fault:?} of operation {working}: {failed}");
                working += 1;
            }
            assert!(working > 5, "only {working} operations were counted");
        }
    }
}

#[tokio::test]
async fn what_a_disk_has_failed_to_write_never_counts() {
    // As much as comes before it is noted what is here.
    let content = content(9, 16 << 20);
    let fault = Fault {
        error: Errno::IO,
        after: After::Work,
    };
    let (mut working, mut rounds, mut has_failed_to_sync) = (0, 0, false);
    loop {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let disk = CountdownDisk::new();
        let opened = open(dir.path(), disk.clone()).await;
        let uploads = opened.0.uploads();
        let upload = NewUpload {
            length: Some(20 << 20),
            metadata: None,
            about: About::default(),
            copies: None,
            concat: None,
        };
        let id = uploads.create(upload, None).await.unwrap();
        let visit = uploads.visit(id).await.unwrap();
        let (began, mut appending) = (Instant::now(), visit.append(0, false).await.unwrap());
        for piece in content.chunks(1 << 20) {
            appending
                .write(Bytes::copy_from_slice(piece))
                .await
                .unwrap();
        }
        drop(appending);
        if began.elapsed() >= NOTED_AFTER {
            // Some of it was noted on the way, and counts.
            close(opened).await;
            continue;
        }

        disk.arm(working, fault);
        let told = uploads.visit(id).await.unwrap().progress().await;
        let Some(failed) = disk.disarm() else {
            rounds += 1;
            if !has_failed_to_sync && rounds < 20 {
                // What the start leaves to later was counted, too, the one time and not the other.
                working = 0;
                close(opened).await;
                continue;
            }
            assert!(told.unwrap().offset > 8 << 20, "nothing was noted");
            close(opened).await;
            break;
        };
        let again = uploads.visit(id).await.unwrap().progress().await;
        if failed.starts_with("sync ") && failed.ends_with(&id.to_string()) {
            // Whoever syncs once more hears of no error, and the bytes may be gone.
            assert!(told.is_err(), "{told:?}");
            assert_eq!(again.unwrap().offset, 0, "{failed}");
            has_failed_to_sync = true;
        } else {
            assert!(again.unwrap().offset > 8 << 20, "{failed}");
        }
        close(opened).await;
        working += 1;
    }
    assert!(has_failed_to_sync);
}

#[tokio::test]
async fn an_upload_in_parts_needs_no_disk() {
    let (blobs, index) = (MemoryBlobs::default(), MemoryIndex::default());
    let store = Store::new(Arc::new(blobs), Arc::new(index));
    let options = Options::alone("http://localhost:5004".parse().unwrap());
    let (identity, state) = (Identity::generate().unwrap(), MemoryState::default());
    let node = Node::new(store, identity, Arc::new(state), options).unwrap();
    for len in [0, 30_000, 300_000] {
        let content = content(9, len);
        let upload = NewUpload {
            length: Some(len as u64),
            metadata: None,
            about: About::default(),
            copies: None,
            concat: None,
        };
        let id = node.uploads().create(upload, None).await.unwrap();
        let mut progress = append(&node, id, 0, &content[..len / 3], false)
            .await
            .unwrap();
        // What a checksum is to prove counts for nothing where it does not.
        let visit = node.uploads().visit(id).await.unwrap();
        let (here, rest) = (progress.offset, &content[len / 3..]);
        if len > 0 {
            let mut appending = visit.append(here, true).await.unwrap();
            appending.write(Bytes::from_static(b"other")).await.unwrap();
            appending.discard().await.unwrap();
            progress = append(&node, id, here, rest, true).await.unwrap();
        }
        let record = progress.finished.unwrap();
        assert_eq!(record.hash, BlobHash::of(&content));
        stores::whole_files(node.store()).await;
    }
}
