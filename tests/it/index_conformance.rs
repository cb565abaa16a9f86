//! What every index backend promises, checked on each there is. Nothing here knows where an index
//! keeps what: another backend is one more test at the end.

use std::sync::Arc;
use std::time::Duration;

use larder::disk::{Durability, RealDisk};
use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::local::{LocalIndex, Options};
use larder::index::memory::MemoryIndex;
use larder::index::{IndexBackend, IndexError, Totals};
use larder::record::{FileId, FileRecord, NewFile};

use crate::common::indexing::add;

/// Long enough for whatever does not wait for anybody.
const SOON: Duration = Duration::from_millis(50);

fn file(name: &str, content: &[u8]) -> NewFile {
    NewFile {
        name: name.to_owned(),
        content_type: Some("text/plain".to_owned()),
        description: format!("about {name}"),
        size: content.len() as u64,
        hash: BlobHash::of(content),
    }
}

async fn conforms(index: Arc<dyn IndexBackend>) {
    what_was_put_is_found(&*index).await;
    removal_is_complete(&*index).await;
    pages_go_on_where_they_stopped(&*index).await;
    concurrent_changes_all_count(&*index).await;
    every_change_shows_in_the_count_of_changes(&*index).await;
    what_is_intended_is_no_garbage_and_what_is_given_up_is(&*index).await;
    what_a_file_needs_is_no_garbage_until_the_last_is_removed(&*index).await;
    garbage_is_claimed_by_one_and_counted_on_by_nobody(&index).await;
    a_claim_that_is_dropped_has_changed_nothing(&*index).await;
    what_is_held_is_not_collected(&*index).await;
    what_is_stored_and_nobody_needs_becomes_garbage_when_it_is_sifted(&*index).await;
    a_put_that_nobody_waits_for_is_done_or_its_content_is_garbage(&index).await;
    what_is_damaged_is_no_place_to_count_on_until_it_is_written_again(&*index).await;
    damage_that_is_found_meanwhile_outlasts_a_put(&*index).await;
    after_close_everything_fails(&*index).await;
}
async fn what_was_put_is_found(index: &dyn IndexBackend) {
    assert_eq!(index.totals(), Totals::default());
    let one = add(index, file("a", b"1")).await.unwrap();
    let two = add(index, file("a", b"2")).await.unwrap();
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
    let one = add(index, file("x", b"same")).await.unwrap();
    let two = add(index, file("y", b"same")).await.unwrap();
    assert_eq!(
        index.totals(),
        Totals {
            files: 2,
            bytes: 8,
            blobs: 1,
            blob_bytes: 4,
            damaged: 0,
        }
    );
    assert_eq!(index.remove(one.id).await.unwrap(), Some(one.clone()));
    assert_eq!(index.remove(one.id).await.unwrap(), None);
    assert_eq!(index.get(one.id).await.unwrap(), None);
    assert_eq!(index.newest_named("x").await.unwrap(), None);
    let content = index.locate(&hash).await.unwrap().unwrap();
    assert_eq!(content.users, 1);
    assert_eq!(index.remove(two.id).await.unwrap(), Some(two));
    assert_eq!(index.locate(&hash).await.unwrap(), None);
    assert_eq!(index.totals(), Totals::default());
}

async fn pages_go_on_where_they_stopped(index: &dyn IndexBackend) {
    let mut all = Vec::new();
    for n in 0..7 {
        all.push(add(index, file(&n.to_string(), b"page")).await.unwrap());
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
    let puts = (0..300u32).map(|n| add(index, file(&format!("c{n}"), &[n.to_le_bytes()[0]])));
    let records = futures_util::future::try_join_all(puts).await.unwrap();
    let totals = Totals {
        files: 300,
        bytes: 300,
        blobs: 256,
        blob_bytes: 256,
        damaged: 0,
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

async fn what_is_damaged_is_no_place_to_count_on_until_it_is_written_again(
    index: &dyn IndexBackend,
) {
    let hash = BlobHash::of(b"damaged");
    let is_damaged = async || {
        let content = index.locate(&hash).await.unwrap().unwrap();
        assert_eq!(content.is_damaged, index.is_damaged(&hash));
        assert_eq!(index.totals().damaged, u64::from(content.is_damaged));
        content.is_damaged
    };
    let one = add(index, file("d", b"damaged")).await.unwrap();
    assert!(!is_damaged().await);
    assert!(!index.health(&hash, Health::Whole), "so it was");
    assert!(index.health(&hash, Health::Damaged));
    assert!(!index.health(&hash, Health::Damaged), "it is known");
    let given_up = index.intend(&hash, 7).await.unwrap();
    assert!(!given_up.is_there(), "it has to be written");
    assert!(given_up.is_counted(), "its bytes are counted already");
    drop(given_up);
    assert!(is_damaged().await);
    let two = add(index, file("e", b"damaged")).await.unwrap();
    assert!(!is_damaged().await);
    assert_eq!(collect(index).await, [], "two files need it");
    index.health(&hash, Health::Damaged);
    assert!(index.health(&hash, Health::Whole));
    let content = index.locate(&hash).await.unwrap().unwrap();
    assert!(!content.is_damaged && content.checked_at.is_some());
    index.health(&hash, Health::Damaged);
    for id in [one.id, two.id] {
        index.remove(id).await.unwrap();
    }
    assert_eq!(collect(index).await, [hash]);
    assert!(!index.is_damaged(&hash), "what is gone is not damaged");
    assert_eq!(index.totals().damaged, 0);
}

async fn damage_that_is_found_meanwhile_outlasts_a_put(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"meanwhile");
    let one = add(index, file("m", b"meanwhile")).await.unwrap();
    let intent = index.intend(&hash, 9).await.unwrap();
    assert!(intent.is_there());
    index.health(&hash, Health::Damaged);
    let two = index.put(file("n", b"meanwhile"), intent).await.unwrap();
    assert!(index.is_damaged(&hash), "nothing was written");
    for id in [one.id, two.id] {
        index.remove(id).await.unwrap();
    }
    assert_eq!(collect(index).await, [hash]);
}

async fn after_close_everything_fails(index: &dyn IndexBackend) {
    index.close().await.unwrap();
    let id = FileId::from_bytes([1; 16]);
    assert!(matches!(
        add(index, file("z", b"")).await,
        Err(IndexError::Closed)
    ));
    assert!(matches!(index.remove(id).await, Err(IndexError::Closed)));
    assert!(matches!(index.get(id).await, Err(IndexError::Closed)));
    assert!(matches!(index.page(None, 1).await, Err(IndexError::Closed)));
    let hash = BlobHash::of(b"");
    assert!(matches!(index.locate(&hash).await, Err(IndexError::Closed)));
    assert!(matches!(index.garbage(1).await, Err(IndexError::Closed)));
}

/// Deletes all that is garbage, and tells what it was.
async fn collect(index: &dyn IndexBackend) -> Vec<BlobHash> {
    let mut collected = Vec::new();
    loop {
        let garbage = index.garbage(2).await.unwrap();
        assert!(garbage.len() <= 2);
        if garbage.is_empty() {
            return collected;
        }
        collected.extend(garbage.iter().map(|it| *it.hash()));
        index.collected(garbage).await.unwrap();
    }
}

async fn every_change_shows_in_the_count_of_changes(index: &dyn IndexBackend) {
    let before = index.mark();
    let record = add(index, file("n", b"n")).await.unwrap();
    let added = index.mark();
    index.remove(record.id).await.unwrap();
    let removed = index.mark();
    assert!(before < added && added < removed);
    index.remove(record.id).await.unwrap();
    assert_eq!(index.mark(), removed);
    collect(index).await;
}

async fn what_is_intended_is_no_garbage_and_what_is_given_up_is(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"intended");
    let (one, two) = (
        index.intend(&hash, 8).await.unwrap(),
        index.intend(&hash, 8).await.unwrap(),
    );
    assert!(!one.is_there() && !one.is_counted());
    drop(one);
    assert_eq!(collect(index).await, [], "the other counts on it");
    let put = index.put(file("i", b"intended"), two).await.unwrap();
    assert_eq!(collect(index).await, []);
    let there = index.intend(&hash, 8).await.unwrap();
    assert!(there.is_there() && there.is_counted());
    assert!(index.remove(put.id).await.unwrap().is_some());
    assert_eq!(collect(index).await, [], "somebody counts on what is there");
    drop(there);
    assert_eq!(collect(index).await, [hash]);
    assert_eq!(collect(index).await, [], "once");
}

async fn what_a_file_needs_is_no_garbage_until_the_last_is_removed(index: &dyn IndexBackend) {
    let mut records = Vec::new();
    for name in ["1", "2", "3"] {
        records.push(add(index, file(name, b"needed")).await.unwrap());
    }
    // Of a fourth nothing comes.
    drop(index.intend(&records[0].file.hash, 6).await.unwrap());
    let last = records.pop().unwrap();
    for record in records {
        index.remove(record.id).await.unwrap();
        assert_eq!(collect(index).await, []);
    }
    index.remove(last.id).await.unwrap();
    assert_eq!(collect(index).await, [last.file.hash]);
}

async fn garbage_is_claimed_by_one_and_counted_on_by_nobody(index: &Arc<dyn IndexBackend>) {
    let hash = BlobHash::of(b"claimed");
    drop(index.intend(&hash, 7).await.unwrap());
    let claimed = index.garbage(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert!(index.garbage(10).await.unwrap().is_empty());
    let upload = tokio::spawn({
        let index = Arc::clone(index);
        async move { index.intend(&hash, 7).await.unwrap() }
    });
    tokio::time::sleep(SOON).await;
    assert!(
        !upload.is_finished(),
        "what is being deleted is no place to write to"
    );
    index.collected(claimed).await.unwrap();
    let intent = upload.await.unwrap();
    assert!(!intent.is_there());
    let record = index.put(file("c", b"claimed"), intent).await.unwrap();
    assert_eq!(collect(&**index).await, []);
    index.remove(record.id).await.unwrap();
    assert_eq!(collect(&**index).await, [hash]);
}

async fn a_claim_that_is_dropped_has_changed_nothing(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"not deleted");
    drop(index.intend(&hash, 11).await.unwrap());
    let claimed = index.garbage(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    drop(claimed);
    let intent = index.intend(&hash, 11).await.unwrap();
    assert!(!intent.is_there());
    drop(intent);
    assert_eq!(collect(index).await, [hash]);
}

async fn what_is_held_is_not_collected(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"held");
    assert!(index.hold(&hash).await.unwrap().is_none());
    let record = add(index, file("h", b"held")).await.unwrap();
    let held = index.hold(&hash).await.unwrap().unwrap();
    assert_eq!(held.content, index.locate(&hash).await.unwrap().unwrap());
    index.remove(record.id).await.unwrap();
    assert_eq!(collect(index).await, []);
    drop(held);
    assert_eq!(collect(index).await, [hash]);
}

async fn what_is_stored_and_nobody_needs_becomes_garbage_when_it_is_sifted(
    index: &dyn IndexBackend,
) {
    let [needed, intended, left] = [b"needed", b"intent", b"lefted"].map(|it| BlobHash::of(it));
    let record = add(index, file("s", b"needed")).await.unwrap();
    let intent = index.intend(&intended, 6).await.unwrap();
    index.sift(&[needed, intended, left]).await.unwrap();
    assert_eq!(collect(index).await, [left]);
    let kept = index.put(file("t", b"intent"), intent).await.unwrap();
    index.sift(&[needed, intended]).await.unwrap();
    assert_eq!(collect(index).await, []);
    for id in [record.id, kept.id] {
        index.remove(id).await.unwrap();
    }
    assert_eq!(collect(index).await.len(), 2);
}

async fn a_put_that_nobody_waits_for_is_done_or_its_content_is_garbage(
    index: &Arc<dyn IndexBackend>,
) {
    for n in 0..200u32 {
        let content = n.to_le_bytes();
        let hash = BlobHash::of(&content);
        let intent = index.intend(&hash, 4).await.unwrap();
        let put = tokio::spawn({
            let index = Arc::clone(index);
            async move { index.put(file("p", &content), intent).await }
        });
        // At another moment each time.
        for _ in 0..n % 20 {
            tokio::task::yield_now().await;
        }
        put.abort();
        let _ = put.await;
        let collected = collect(&**index).await;
        // Whatever is under way is done once another change is.
        let after = add(&**index, file("after", b"after")).await.unwrap();
        index.remove(after.id).await.unwrap();
        let is_needed = index.locate(&hash).await.unwrap().is_some();
        assert!(!(is_needed && collected.contains(&hash)), "{n}");
        if let Some(record) = index.newest_named("p").await.unwrap() {
            assert_eq!(record.file.hash, hash);
            index.remove(record.id).await.unwrap();
        }
        let rest = collect(&**index).await;
        assert!(collected.contains(&hash) || rest.contains(&hash), "{n}");
    }
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
