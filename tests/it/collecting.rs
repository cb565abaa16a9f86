//! What no file needs is deleted with the change that leaves it, or with the next one: by every
//! kind of change, and wherever an index has contents written.

use std::sync::Arc;
use std::time::Instant;

use futures_util::TryStreamExt;
use futures_util::future::{join_all, try_join_all};
use larder::blob::BlobBackend;
use larder::blob::memory::MemoryBlobs;
use larder::disk::Durability;
use larder::index::memory::MemoryIndex;
use larder::place::Place;
use larder::record::FileRecord;
use larder::store::{About, Store, StoreError};
use larder::watched_disk::Writes;
use rustix::io::Errno;

use crate::common::content::content;
use crate::common::countdown_disk::{After, CountdownDisk, Fault};
use crate::common::received::write;
use crate::common::stores::{checked_files, options, start, upload};

/// How many bring the same at once.
const CROWD: u32 = 8;
/// Content that is spooled in memory, and one that is spooled in a file.
const LENGTHS: [usize; 2] = [1000, 200_000];

/// A store whose index gives out each place once.
fn in_memory() -> (Store, Arc<MemoryBlobs>) {
    let blobs = Arc::new(MemoryBlobs::default());
    let kept = Arc::clone(&blobs) as Arc<dyn BlobBackend>;
    (Store::new(kept, Arc::new(MemoryIndex::default())), blobs)
}

/// Brings content as a copy of what others hold comes.
async fn copy(store: &Store, name: &str, bytes: &[u8]) -> Result<Option<FileRecord>, StoreError> {
    let mut receiving = store.receive().await?;
    write(&mut *receiving, bytes).await?;
    let about = About {
        name: name.to_owned(),
        ..About::default()
    };
    let content = receiving.finish().await?;
    store.ingest_missing(content, about, None, None).await
}

async fn stored(blobs: &dyn BlobBackend) -> Vec<(Place, u64)> {
    blobs.list().try_collect().await.unwrap()
}

#[tokio::test]
async fn equal_uploads_at_once_leave_one_copy() {
    let (store, blobs) = in_memory();
    for length in LENGTHS {
        let bytes = content(1, length);
        let uploads = (0..CROWD).map(|_| upload(&store, "equal", &bytes));
        let files = try_join_all(uploads).await.unwrap();
        assert_eq!(stored(&*blobs).await.len(), 1, "{length} bytes");
        // It goes with the last of them, and not before.
        for (at, file) in files.iter().enumerate() {
            let blob = store.open_file(file).await.unwrap().unwrap();
            let read: Vec<_> = blob.read(0..blob.size()).try_collect().await.unwrap();
            assert!(read.concat() == bytes);
            store.remove(file.id).await.unwrap();
            let left = usize::from(at + 1 < files.len());
            assert_eq!(stored(&*blobs).await.len(), left, "{length} bytes");
        }
    }
}

#[tokio::test]
async fn equal_uploads_and_copies_at_once_leave_one_copy() {
    let (store, blobs) = in_memory();
    for length in LENGTHS {
        let bytes = content(2, length);
        let (uploads, copies) = (
            (0..CROWD).map(|_| upload(&store, "upload", &bytes)),
            (0..CROWD).map(|_| copy(&store, "copy", &bytes)),
        );
        let (uploads, copies) = tokio::join!(try_join_all(uploads), try_join_all(copies));
        assert_eq!(stored(&*blobs).await.len(), 1, "{length} bytes");
        let copies = copies.unwrap().into_iter().flatten();
        let removals = uploads.unwrap().into_iter().chain(copies);
        let removals = removals.map(|file| store.remove(file.id));
        try_join_all(removals).await.unwrap();
        assert_eq!(stored(&*blobs).await, [], "{length} bytes");
    }
}

#[tokio::test]
async fn uploads_and_removals_of_one_content_at_once_leave_what_files_need() {
    let (store, blobs) = in_memory();
    let bytes = content(3, 1000);
    let mut file = upload(&store, "first", &bytes).await.unwrap();
    for _ in 0..50 {
        let uploads = join_all((0..CROWD).map(|_| upload(&store, "next", &bytes)));
        let (removed, uploads) = tokio::join!(store.remove(file.id), uploads);
        assert!(removed.unwrap().is_some());
        let mut files: Vec<_> = uploads.into_iter().map(Result::unwrap).collect();
        assert_eq!(stored(&*blobs).await.len(), 1);
        file = files.pop().unwrap();
        try_join_all(files.iter().map(|file| store.remove(file.id)))
            .await
            .unwrap();
        assert!(store.open_file(&file).await.unwrap().is_some());
    }
}

/// Each operation fails once while a file is removed. Where the removal is acknowledged all the
/// same, whatever could not be deleted is gone once another file was added: nobody has to stop the
/// store for that.
#[tokio::test]
async fn what_could_not_be_deleted_goes_with_the_next_change() {
    for length in LENGTHS {
        let mut left = 0;
        for working in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let disk = CountdownDisk::new();
            let opened = start(options(dir.path(), disk.clone(), Durability::Always)).await;
            let store = &opened.store;
            let file = upload(store, "removed", &content(4, length)).await.unwrap();
            let (error, after) = (Errno::IO, After::Work);
            disk.arm(working, Fault { error, after });
            let removed = store.remove(file.id).await;
            let Some(failed) = disk.disarm() else {
                assert!(removed.is_ok());
                break;
            };
            if removed.is_ok() && store.refusal().is_none() {
                upload(store, "next", &content(5, 10)).await.unwrap();
                let files = checked_files(store, dir.path()).await;
                assert_eq!(files.len(), 1, "{failed}");
                left += 1;
            }
        }
        assert!(left > 0, "no deletion of {length} bytes has failed");
    }
}

/// A change that was written whole says so, whichever it was.
#[tokio::test]
async fn every_change_that_was_written_counts_as_written() {
    let (store, _) = in_memory();
    let writes = Arc::<Writes>::default();
    let store = store.watched(Arc::clone(&writes));
    let mut before: Option<Instant> = None;
    let mut has_written = |what: &str| {
        let now = writes.succeeded();
        assert!(now > before, "{what}");
        before = now;
    };
    let uploaded = upload(&store, "uploaded", b"uploaded").await.unwrap();
    has_written("an upload");
    copy(&store, "copied", b"copied").await.unwrap().unwrap();
    has_written("a copy");
    store.remove(uploaded.id).await.unwrap().unwrap();
    has_written("a removal");
}
