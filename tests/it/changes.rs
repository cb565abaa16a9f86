//! What a store tells those who listen to it.

use std::fs;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use larder::blob::memory::MemoryBlobs;
use larder::blob::{BlobBackend, OpenBlob};
use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::IndexBackend;
use larder::index::memory::MemoryIndex;
use larder::store::{Change, Changes, News, Store};

use crate::common::content::content;
use crate::common::stores::{options, start, upload};

/// The next change, in a word and what it is of.
async fn next(changes: &mut Changes) -> (&'static str, String) {
    match changes.next().await {
        Some(News::Change(Change::Added(record))) => ("added", record.file.name.clone()),
        Some(News::Change(Change::Removed(record))) => ("removed", record.file.name.clone()),
        Some(News::Change(Change::Damaged(hash))) => ("damaged", hash.to_string()),
        Some(News::Change(Change::Mended(hash))) => ("mended", hash.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Whatever comes to a content, each change of it is told once, whoever has found it.
async fn damage_and_its_end_are_told(store: &Store, take_away: impl AsyncFn(&BlobHash)) {
    let bytes = content(1, 100_000);
    let (hash, mut changes) = (BlobHash::of(&bytes), store.listen());
    let one = upload(store, "one", &bytes).await.unwrap();
    assert_eq!(next(&mut changes).await, ("added", "one".to_owned()));
    take_away(&hash).await;
    for _ in 0..2 {
        assert!(store.open_file(&one).await.is_err());
    }
    assert_eq!(next(&mut changes).await, ("damaged", hash.to_string()));
    upload(store, "two", &bytes).await.unwrap();
    assert_eq!(next(&mut changes).await, ("mended", hash.to_string()));
    assert_eq!(next(&mut changes).await, ("added", "two".to_owned()));
    store.remove(one.id).await.unwrap();
    assert_eq!(next(&mut changes).await, ("removed", "one".to_owned()));
}

#[tokio::test]
async fn damage_and_its_end_are_told_by_a_store_in_memory() {
    let blobs = Arc::new(MemoryBlobs::default());
    let (kept, index) = (Arc::clone(&blobs), Arc::new(MemoryIndex::default()));
    let store = Store::new(kept, Arc::clone(&index) as Arc<dyn IndexBackend>);
    let take_away = async |hash: &BlobHash| {
        let place = index.locate(hash).await.unwrap().unwrap().place;
        blobs.delete(place).await.unwrap();
    };
    damage_and_its_end_are_told(&store, take_away).await;
}

/// Where an index gives out each place once, what is written anew is beside what was there: that
/// is deleted, and whoever reads it comes to its end.
#[tokio::test]
async fn what_is_written_anew_is_read_from_its_new_place_and_nothing_is_left_in_the_old() {
    let (blobs, index) = (
        Arc::new(MemoryBlobs::default()),
        Arc::new(MemoryIndex::default()),
    );
    let (kept, records) = (Arc::clone(&blobs), Arc::clone(&index));
    let store = Store::new(kept, records);
    let bytes = content(3, 100_000);
    let hash = BlobHash::of(&bytes);
    let place = async || index.locate(&hash).await.unwrap().unwrap().place;
    let one = upload(&store, "one", &bytes).await.unwrap();
    let (before, reader) = (place().await, store.open(&hash).await.unwrap().unwrap());
    index.health(before, Health::Damaged);
    let two = upload(&store, "two", &bytes).await.unwrap();
    let after = place().await;
    assert_ne!(before, after);
    let read = async |blob: &dyn OpenBlob| {
        let pieces: Vec<_> = blob.read(0..blob.size()).try_collect().await.unwrap();
        pieces.concat() == bytes
    };
    assert!(read(&*reader).await);
    assert!(read(&*store.open(&hash).await.unwrap().unwrap()).await);
    let listed: Vec<_> = blobs.list().try_collect().await.unwrap();
    assert_eq!(listed, [(after, 100_000)]);
    for id in [one.id, two.id] {
        store.remove(id).await.unwrap();
    }
    assert!(store.open(&hash).await.unwrap().is_none());
    assert_eq!(blobs.list().count().await, 0);
}

#[tokio::test]
async fn damage_and_its_end_are_told_by_a_store_on_a_disk_and_not_once_more_at_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let options = || options(dir.path(), Arc::new(RealDisk), Durability::Always);
    let opened = start(options()).await;
    let take_away = async |hash: &BlobHash| {
        let hash = hash.to_string();
        fs::remove_file(dir.path().join("blobs").join(&hash[..2]).join(hash)).unwrap();
    };
    damage_and_its_end_are_told(&opened.store, take_away).await;

    let lost = upload(&opened.store, "lost", &content(2, 100_000))
        .await
        .unwrap();
    take_away(&lost.file.hash).await;
    assert!(opened.store.open_file(&lost).await.is_err());
    opened.store.close().await.unwrap();
    drop(opened);
    let opened = start(options()).await;
    assert_eq!(opened.store.damage().known, 1);
    let mut changes = opened.store.listen();
    upload(&opened.store, "three", b"3").await.unwrap();
    assert_eq!(next(&mut changes).await, ("added", "three".to_owned()));
    opened.store.remove(lost.id).await.unwrap();
    assert_eq!(next(&mut changes).await, ("removed", "lost".to_owned()));
    let mended = ("mended", lost.file.hash.to_string());
    assert_eq!(next(&mut changes).await, mended);
}
