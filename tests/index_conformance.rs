//! What every index backend promises, checked on each there is.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::index::local::{LocalIndex, Options};
use larder::index::memory::MemoryIndex;
use larder::index::{IndexBackend, IndexError, Totals};
use larder::record::{FileId, FileRecord, NewFile};

fn file(name: &str, content: &[u8]) -> NewFile {
    NewFile {
        name: name.to_owned(),
        content_type: Some("text/plain".to_owned()),
        description: format!("about {name}"),
        size: content.len() as u64,
        hash: BlobHash::of(content),
    }
}

async fn conforms(index: &dyn IndexBackend) {
    what_was_put_is_found(index).await;
    removal_is_complete(index).await;
    pages_go_on_where_they_stopped(index).await;
    concurrent_changes_all_count(index).await;
    after_close_everything_fails(index).await;
}

async fn what_was_put_is_found(index: &dyn IndexBackend) {
    assert_eq!(index.totals(), Totals::default());
    let one = index.put(file("a", b"1")).await.unwrap();
    let two = index.put(file("a", b"2")).await.unwrap();
    assert!(one.id < two.id);
    assert_eq!(one.file, file("a", b"1"));
    assert_eq!(index.get(one.id).await.unwrap().as_ref(), Some(&one));
    assert_eq!(index.newest_named("a").await.unwrap().as_ref(), Some(&two));
    assert_eq!(index.newest_named("A").await.unwrap(), None);
    assert_eq!(index.get(FileId::from_bytes([0; 16])).await.unwrap(), None);
    for record in [one, two] {
        assert_eq!(index.remove(record.id).await.unwrap(), Some(record));
    }
}

async fn removal_is_complete(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"same");
    let one = index.put(file("x", b"same")).await.unwrap();
    let two = index.put(file("y", b"same")).await.unwrap();
    assert_eq!(
        index.totals(),
        Totals {
            files: 2,
            bytes: 8,
            blobs: 1,
            blob_bytes: 4
        }
    );
    assert_eq!(index.remove(one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(index.remove(one.id).await.unwrap(), None);
    assert_eq!(index.get(one.id).await.unwrap(), None);
    assert_eq!(index.newest_named("x").await.unwrap(), None);
    assert!(index.needs(&hash).await.unwrap());
    assert_eq!(index.remove(two.id).await.unwrap(), Some(two));
    assert!(!index.needs(&hash).await.unwrap());
    assert_eq!(index.totals(), Totals::default());
}

async fn pages_go_on_where_they_stopped(index: &dyn IndexBackend) {
    let mut all = Vec::new();
    for n in 0..7 {
        all.push(index.put(file(&n.to_string(), b"page")).await.unwrap());
    }
    let (mut seen, mut after) = (Vec::<FileRecord>::new(), None);
    loop {
        let page = index.page(after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 3);
        after = Some(last.id);
        seen.extend(page);
    }
    assert_eq!(seen, all);
    for record in all {
        index.remove(record.id).await.unwrap();
    }
    assert_eq!(index.page(None, 10).await.unwrap(), []);
}

async fn concurrent_changes_all_count(index: &dyn IndexBackend) {
    let puts = (0..300u32).map(|n| index.put(file(&format!("c{n}"), &[n.to_le_bytes()[0]])));
    let records = futures_util::future::try_join_all(puts).await.unwrap();
    let totals = Totals {
        files: 300,
        bytes: 300,
        blobs: 256,
        blob_bytes: 256,
    };
    assert_eq!(index.totals(), totals);
    // Each is removed by two at once, and by one of them alone.
    let removals = records
        .iter()
        .chain(&records)
        .map(|record| index.remove(record.id));
    let removed = futures_util::future::try_join_all(removals).await.unwrap();
    assert_eq!(removed.into_iter().flatten().count(), 300);
    assert_eq!(index.totals(), Totals::default());
}

async fn after_close_everything_fails(index: &dyn IndexBackend) {
    index.close().await.unwrap();
    let id = FileId::from_bytes([1; 16]);
    assert!(matches!(
        index.put(file("z", b"")).await,
        Err(IndexError::Closed)
    ));
    assert!(matches!(index.remove(id).await, Err(IndexError::Closed)));
    assert!(matches!(index.get(id).await, Err(IndexError::Closed)));
    assert!(matches!(index.page(None, 1).await, Err(IndexError::Closed)));
    assert!(matches!(
        index.needs(&BlobHash::of(b"")).await,
        Err(IndexError::Closed)
    ));
}

#[tokio::test]
async fn the_memory_index_conforms() {
    conforms(&MemoryIndex::default()).await;
}

#[tokio::test]
async fn the_local_index_conforms() {
    for durability in [Durability::Always, Durability::Relaxed] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path(), Arc::new(RealDisk), durability);
        // So small that segments are finished and compaction runs on the way.
        options.segment_bytes = 4096;
        options.compact_entries = 100;
        conforms(&LocalIndex::open(&options).unwrap().index).await;
    }
}
