//! The indexes in memory and in a storage directory against what every index promises: another
//! backend is one more test at the end, or in `tests/shared/` where it needs a server.

use std::collections::BTreeSet;
use std::sync::Arc;

use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::IndexBackend;
use larder::index::local::{LocalIndex, Options};
use larder::index::memory::MemoryIndex;
use larder::place::Place;

use crate::common::index_promises::{collect, conforms, file, place_of};

/// What is written anew never takes the place of what is there, which goes by itself: so whoever
/// deletes late, as a node that was stopped meanwhile, hits nothing that others have written.
#[tokio::test]
async fn the_memory_index_gives_out_no_place_twice() {
    let (index, hash) = (MemoryIndex::default(), BlobHash::of(b"again"));
    let mut places = BTreeSet::new();
    for _ in 0..3 {
        let intents = [
            index.intend(&hash, 5).await.unwrap(),
            index.intend(&hash, 5).await.unwrap(),
        ];
        for intent in &intents {
            assert!(places.insert(intent.place()), "it was given out before");
        }
        let [one, other] = intents;
        let kept = one.place();
        let first = index.put(file("1", b"again"), one).await.unwrap();
        let second = index.put(file("2", b"again"), other).await.unwrap();
        assert_eq!(place_of(&index, &hash).await, kept, "of the first");
        // What is damaged is written elsewhere, and late news of where it was says nothing.
        index.health(kept, Health::Damaged);
        let intent = index.intend(&hash, 5).await.unwrap();
        let anew = intent.place();
        assert!(places.insert(anew), "it was given out before");
        let third = index.put(file("3", b"again"), intent).await.unwrap();
        assert!(third.mended);
        assert_eq!(index.health(kept, Health::Damaged), None);
        assert_eq!(index.totals().damaged, 0);
        assert_eq!(collect(&index).await.len(), 2);
        for put in [first, second, third] {
            index.remove(put.record.id).await.unwrap();
        }
        assert_eq!(collect(&index).await, [anew]);
    }
}

/// What lies somewhere already is there to be, unless it is elsewhere and whole.
#[tokio::test]
async fn the_memory_index_takes_the_place_in_which_a_content_lies() {
    let (index, hash) = (MemoryIndex::default(), BlobHash::of(b"lies"));
    let [first, second, third] = [7, 8, 9].map(|it| Place::numbered(it << 64));
    let intent = index.intend_at(&hash, 4, first).await.unwrap();
    assert_eq!((intent.place(), intent.is_there()), (first, false));
    index.put(file("1", b"lies"), intent).await.unwrap();
    let there = index.intend_at(&hash, 4, second).await.unwrap();
    assert_eq!((there.place(), there.is_there()), (first, true));
    drop(there);
    index.health(first, Health::Damaged);
    let anew = index.intend_at(&hash, 4, third).await.unwrap();
    assert_eq!((anew.place(), anew.is_there()), (third, false));
    let put = index.put(file("2", b"lies"), anew).await.unwrap();
    assert!(put.mended);
    assert_eq!(place_of(&index, &hash).await, third);
    assert_eq!(collect(&index).await, [first]);
}

#[tokio::test]
async fn the_memory_index_conforms() {
    conforms(Arc::new(MemoryIndex::default())).await;
}

#[tokio::test]
async fn the_local_index_conforms() {
    for durability in [Durability::Always, Durability::Relaxed] {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::new(dir.path(), Arc::new(RealDisk), durability);
        // So small that segments are finished and compaction runs on the way.
        options.segment_bytes = 4096;
        options.compact_entries = 100;
        conforms(Arc::new(LocalIndex::open(&options).unwrap().index)).await;
    }
}
