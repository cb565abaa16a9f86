//! A power cut after every single operation of what goes to the trash and comes back.
//!
//! Each operation has one of the variants of a cut in turn; with `LARDER_SOAK` all of them.

use std::sync::Arc;
use std::time::Duration;

use larder::disk::{Durability, RealDisk};
use larder::store::local::{LocalStore, Options};

use crate::common::power_cut::{Simulated, cuts};
use crate::common::recording_disk::RecordingDisk;
use crate::common::stores;

fn options(dir: &std::path::Path, disk: Arc<dyn larder::disk::Disk>) -> Options {
    Options {
        trash: Some(Duration::from_hours(24)),
        ..stores::options(dir, disk, Durability::Always)
    }
}

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Nowhere,
    There,
    Trash,
}

async fn place(opened: &LocalStore) -> Place {
    let store = &opened.store;
    let there = store.newest_named("a").await.unwrap().is_some();
    let trashed = !store.trashed(None, 10).await.unwrap().is_empty();
    match (there, trashed) {
        (true, false) => Place::There,
        (false, true) => Place::Trash,
        (false, false) => Place::Nowhere,
        (true, true) => panic!("it is in both"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_moment_leaves_a_file_where_it_was_acknowledged_to_be() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = RecordingDisk::new(dir.path(), Simulated::default(), Box::new(|| {}));
    // After how many operations it had to be where.
    let mut acknowledged = vec![(0, Place::Nowhere)];
    {
        let opened = LocalStore::open(options(dir.path(), disk.clone()))
            .await
            .unwrap();
        let store = &opened.store;
        stores::upload(store, "a", b"a").await.unwrap();
        acknowledged.push((disk.count(), Place::There));
        let id = store.newest_named("a").await.unwrap().unwrap().id;
        for _ in 0..2 {
            store.remove(id).await.unwrap().unwrap();
            acknowledged.push((disk.count(), Place::Trash));
            store.bring_back(id).await.unwrap().unwrap();
            acknowledged.push((disk.count(), Place::There));
        }
        store.remove(id).await.unwrap().unwrap();
        acknowledged.push((disk.count(), Place::Trash));
        store.remove_trashed(id).await.unwrap().unwrap();
        acknowledged.push((disk.count(), Place::Nowhere));
        store.close().await.unwrap();
    }
    let operations = disk.operations();
    for (done, variant, tree) in cuts(&operations) {
        let left = tempfile::tempdir_in("/dev/shm").unwrap();
        tree.write(left.path());
        let opened = LocalStore::open(options(left.path(), Arc::new(RealDisk)));
        let opened = opened.await.unwrap();
        let found = place(&opened).await;
        let last = acknowledged.iter().rposition(|(at, _)| *at <= done + 1);
        let last = last.unwrap();
        let may_be = &acknowledged[last..(last + 2).min(acknowledged.len())];
        let is_fine = may_be.iter().any(|(_, place)| *place == found);
        assert!(
            is_fine,
            "{found:?} after {done} ({:?}), {variant:?}: {may_be:?}",
            operations[done]
        );
        opened.store.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_in_which_a_file_comes_back_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let opened = LocalStore::open(options(dir.path(), Arc::new(RealDisk)));
    let opened = opened.await.unwrap();
    let store = &opened.store;
    for name in ["a", "b"] {
        stores::upload(store, name, name.as_bytes()).await.unwrap();
    }
    let id = store.newest_named("a").await.unwrap().unwrap().id;
    store.remove(id).await.unwrap().unwrap();
    let mut moment = store.moment();
    // Its page was read without it.
    assert_eq!(moment.next().await.unwrap().unwrap().len(), 1);
    store.bring_back(id).await.unwrap().unwrap();
    assert!(moment.next().await.unwrap().is_none());
    drop(moment);
    let mut moment = store.moment();
    assert_eq!(moment.next().await.unwrap().unwrap().len(), 2);
    assert!(moment.next().await.unwrap().unwrap().is_empty());
    drop(moment);
    // The content of one that goes to the trash meanwhile is to be had to the end.
    let mut moment = store.moment();
    assert_eq!(moment.next().await.unwrap().unwrap().len(), 2);
    store.remove(id).await.unwrap().unwrap();
    let hash = larder::hash::BlobHash::of(b"a");
    assert!(store.open(&hash).await.unwrap().is_some());
    drop(moment);
    assert!(store.open(&hash).await.unwrap().is_none());
    opened.store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_in_the_trash_goes_on_after_a_stop_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options {
        trash: Some(Duration::from_mins(1)),
        ..options(dir.path(), Arc::new(RealDisk))
    };
    let opened = LocalStore::open(options()).await.unwrap();
    stores::upload(&opened.store, "a", b"a").await.unwrap();
    let id = opened.store.newest_named("a").await.unwrap().unwrap().id;
    opened.store.remove(id).await.unwrap().unwrap();
    let passed = Duration::from_millis(1_200);
    tokio::time::sleep(passed).await;
    opened.store.close().await.unwrap();
    drop(opened);
    let opened = LocalStore::open(options()).await.unwrap();
    let [trashed] = &opened.store.trashed(None, 10).await.unwrap()[..] else {
        panic!("it is there once");
    };
    assert!(
        trashed.stays + passed <= Duration::from_mins(1),
        "{:?}",
        trashed.stays
    );
    opened.store.close().await.unwrap();
}
