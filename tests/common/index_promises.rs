//! What every index backend promises, held against any. Nothing here knows where an index keeps
//! what.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::{Alike, Garbage, IndexBackend, IndexError, Totals};
use larder::place::Place;
use larder::record::{FileId, FileRecord, MAX_DESCRIPTION_BYTES, NewFile, PAGE_BYTES, Timestamp};

use super::indexing::add;

/// Long enough for whatever does not wait for anybody.
const SOON: Duration = Duration::from_millis(50);

pub(crate) fn file(name: &str, content: &[u8]) -> NewFile {
    NewFile {
        name: name.to_owned(),
        content_type: Some("text/plain".to_owned()),
        description: format!("about {name}"),
        size: content.len() as u64,
        hash: BlobHash::of(content),
    }
}

/// The whole suite, on an index that is empty and of which garbage is due at once.
pub(crate) async fn conforms(index: Arc<dyn IndexBackend>) {
    what_was_put_is_found(&*index).await;
    removal_is_complete(&*index).await;
    pages_of_long_texts_are_shorter(&*index).await;
    pages_go_on_where_they_stopped(&*index).await;
    the_first_of_alike_files_is_found_by_those_behind_it(&*index).await;
    many_of_another_content_do_not_hide_an_alike_file(&*index).await;
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
    files_from_elsewhere_keep_their_ids_and_come_behind_all_others(&*index).await;
    after_close_everything_fails(&*index).await;
}
/// The id that is so many behind another one.
fn behind(id: FileId, many: u128) -> FileId {
    let id = u128::from_be_bytes(*id.as_bytes()) + many;
    FileId::from_bytes(id.to_be_bytes())
}

async fn files_from_elsewhere_keep_their_ids_and_come_behind_all_others(index: &dyn IndexBackend) {
    let own = add(index, file("own", b"own")).await.unwrap();
    let records = [3_u128, 5, 9].map(|many| FileRecord {
        id: behind(own.id, many),
        uploaded_at: Timestamp(1_000 * i64::try_from(many).unwrap()),
        // Two of them have one content.
        file: file(&many.to_string(), &[u8::from(many == 5)]),
    });
    let intended = async |records: &[FileRecord]| {
        let mut intended = Vec::new();
        for record in records {
            let intent = index.intend(&record.file.hash, record.file.size).await;
            intended.push((record.clone(), intent.unwrap()));
        }
        intended
    };
    index.restore(intended(&records).await).await.unwrap();
    let all = [&[own.clone()][..], &records].concat();
    assert_eq!(index.page(None, 100).await.unwrap(), all);
    let content = index.locate(&records[0].file.hash).await.unwrap().unwrap();
    assert_eq!((content.users, index.totals().files), (2, 4));
    // None comes between others, or twice, and nothing behind one that does not come.
    for many in [4, 9] {
        let mut late = records.clone();
        late[0].id = behind(own.id, many);
        late[1].id = behind(own.id, 20);
        late[2].id = behind(own.id, 30);
        let refused = index.restore(intended(&late).await).await;
        assert!(
            matches!(refused, Err(IndexError::OutOfOrder)),
            "{refused:?}"
        );
    }
    assert_eq!(index.page(None, 100).await.unwrap(), all);
    let last = add(index, file("last", b"last")).await.unwrap();
    assert!(last.id > records[2].id);
    for record in all.into_iter().chain([last]) {
        assert_eq!(index.remove(record.id).await.unwrap(), Some(record));
    }
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
            ..Totals::default()
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

/// However many files are asked for, a page ends with the one whose texts make it long.
async fn pages_of_long_texts_are_shorter(index: &dyn IndexBackend) {
    let mut all = Vec::new();
    for n in 0..7 {
        let mut long = file(&n.to_string(), b"long");
        long.description = "d".repeat(MAX_DESCRIPTION_BYTES);
        for _ in 0..5 {
            all.push(add(index, long.clone()).await.unwrap());
        }
    }
    let most = PAGE_BYTES / MAX_DESCRIPTION_BYTES;
    let (mut seen, mut after) = (Vec::<FileRecord>::new(), None);
    loop {
        let page = index.page(after, 100).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        let is_end = seen.len() + page.len() == all.len();
        assert!(page.len() <= most && (is_end || FileRecord::fill_a_page(&page, 100)));
        seen.extend(page);
    }
    assert_eq!(seen, all);
    let page = index.page_back(None, 100).await.unwrap();
    let last = all[all.len() - page.len()..].iter().rev();
    assert!(page.len() <= most && page.iter().eq(last));
    for record in all {
        index.remove(record.id).await.unwrap();
    }
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
    // The same from the other end.
    let (mut seen, mut before) = (Vec::<FileRecord>::new(), None);
    loop {
        let page = index.page_back(before, 3).await.unwrap();
        let Some(first) = page.last() else { break };
        assert!(page.len() <= 3);
        before = Some(first.id);
        seen.extend(page);
    }
    seen.reverse();
    assert_eq!(seen, all);
    for record in all {
        index.remove(record.id).await.unwrap();
    }
    assert_eq!(index.page(None, 10).await.unwrap(), []);
    assert_eq!(index.page_back(None, 10).await.unwrap(), []);
}

async fn the_first_of_alike_files_is_found_by_those_behind_it(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"alike");
    // The same letter as one character and as two, which nobody sees.
    let (name, typed_otherwise) = ("\u{e9}t\u{e9}", "e\u{301}te\u{301}");
    let mut ids = Vec::new();
    for (name, content) in [
        (name, &b"other"[..]),
        ("other", b"alike"),
        (typed_otherwise, b"alike"),
        (name, b"alike"),
        (name, b"alike"),
    ] {
        ids.push(add(index, file(name, content)).await.unwrap().id);
    }
    let last = FileId::from_bytes([u8::MAX; 16]);
    let earlier = async |name, than, known| one_earlier(index, (name, hash), than, known).await;
    let [.., one, two, three] = ids[..] else {
        unreachable!()
    };
    for name in [name, typed_otherwise] {
        assert_eq!(earlier(name, one, 0).await, None, "not itself");
        for than in [two, three, last] {
            assert_eq!(earlier(name, than, 1).await, Some(one));
        }
    }
    assert_eq!(earlier("\u{c9}t\u{e9}", last, 0).await, None, "exactly so");
    let of_other = one_earlier(index, ("other", BlobHash::of(b"other")), last, 0).await;
    assert_eq!(of_other, None, "name and content of one file");
    // Four files have it: of one more than that somebody knows none is looked for.
    assert_eq!(earlier(name, last, 3).await, Some(one));
    assert_eq!(earlier(name, last, 4).await, None);
    let asked = [
        (name, last, 3),
        (name, one, 0),
        ("nobody", last, 0),
        (typed_otherwise, two, 1),
    ];
    let asked = asked.map(|(name, than, known)| Alike {
        name,
        hash,
        than,
        known,
    });
    let all = index.earlier(&asked).await.unwrap();
    assert_eq!(all, [Some(one), None, None, Some(one)]);
    assert_eq!(index.earlier(&[]).await.unwrap(), []);
    index.remove(one).await.unwrap();
    assert_eq!(earlier(name, last, 0).await, Some(two));
    assert_eq!(earlier(name, two, 0).await, None);
    for id in ids.into_iter().filter(|id| *id != one) {
        index.remove(id).await.unwrap();
    }
    assert_eq!(earlier(name, last, 0).await, None);
    collect(index).await;
}

/// The file that stands before another with this name and content.
async fn one_earlier(
    index: &dyn IndexBackend,
    (name, hash): (&str, BlobHash),
    than: FileId,
    known: u32,
) -> Option<FileId> {
    let alike = Alike {
        name,
        hash,
        than,
        known,
    };
    let [found] = index.earlier(&[alike]).await.unwrap()[..] else {
        panic!("one was asked for");
    };
    found
}

async fn many_of_another_content_do_not_hide_an_alike_file(index: &dyn IndexBackend) {
    let mut ids = Vec::new();
    for number in 0..63u32 {
        // Others are between, which do not count.
        for name in ["many", "between"] {
            let added = add(index, file(name, &number.to_le_bytes())).await;
            ids.push(added.unwrap().id);
        }
    }
    let first = add(index, file("many", b"rare")).await.unwrap().id;
    let second = add(index, file("many", b"rare")).await.unwrap().id;
    let found = one_earlier(index, ("many", BlobHash::of(b"rare")), second, 1).await;
    assert_eq!(found, Some(first));
    for id in ids.into_iter().chain([first, second]) {
        index.remove(id).await.unwrap();
    }
    collect(index).await;
}

async fn concurrent_changes_all_count(index: &dyn IndexBackend) {
    let puts = (0..300u32).map(|n| add(index, file(&format!("c{n}"), &[n.to_le_bytes()[0]])));
    let records = futures_util::future::try_join_all(puts).await.unwrap();
    let totals = Totals {
        files: 300,
        bytes: 300,
        blobs: 256,
        blob_bytes: 256,
        ..Totals::default()
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
        assert_eq!(index.totals().damaged, u64::from(content.is_damaged));
        content.is_damaged
    };
    let one = add(index, file("d", b"damaged")).await.unwrap();
    assert!(!is_damaged().await);
    let first = place_of(index, &hash).await;
    assert_eq!(index.health(first, Health::Whole), None, "so it was");
    assert_eq!(index.health(first, Health::Damaged), Some(hash));
    assert_eq!(index.health(first, Health::Damaged), None, "it is known");
    let given_up = index.intend(&hash, 7).await.unwrap();
    assert!(!given_up.is_there(), "it has to be written");
    assert!(given_up.is_counted(), "its bytes are counted already");
    drop(given_up);
    assert!(is_damaged().await);
    let intent = index.intend(&hash, 7).await.unwrap();
    let written = intent.place();
    let put = index.put(file("e", b"damaged"), intent).await.unwrap();
    assert!(put.mended && !is_damaged().await);
    assert_eq!(place_of(index, &hash).await, written);
    // Two files need it there; what else there is of it is garbage.
    let garbage = collect(index).await;
    assert!(!garbage.contains(&written));
    assert_eq!(garbage.contains(&first), first != written);
    index.health(written, Health::Damaged);
    assert_eq!(index.health(written, Health::Whole), Some(hash));
    let content = index.locate(&hash).await.unwrap().unwrap();
    assert!(!content.is_damaged && content.checked_at.is_some());
    index.health(written, Health::Damaged);
    for id in [one.id, put.record.id] {
        index.remove(id).await.unwrap();
    }
    assert_eq!(collect(index).await, [written]);
    assert_eq!(index.totals().damaged, 0, "what is gone is not damaged");
}

async fn damage_that_is_found_meanwhile_outlasts_a_put(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"meanwhile");
    let one = add(index, file("m", b"meanwhile")).await.unwrap();
    let intent = index.intend(&hash, 9).await.unwrap();
    assert!(intent.is_there());
    let place = intent.place();
    index.health(place, Health::Damaged);
    let two = index.put(file("n", b"meanwhile"), intent).await.unwrap();
    let content = index.locate(&hash).await.unwrap().unwrap();
    assert!(!two.mended && content.is_damaged, "nothing was written");
    for id in [one.id, two.record.id] {
        index.remove(id).await.unwrap();
    }
    assert_eq!(collect(index).await, [place]);
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
    let alike = Alike {
        name: "z",
        hash,
        than: id,
        known: 0,
    };
    assert!(matches!(
        index.earlier(&[alike]).await,
        Err(IndexError::Closed)
    ));
}

/// Where a content is that files need.
pub(crate) async fn place_of(index: &dyn IndexBackend, hash: &BlobHash) -> Place {
    index.locate(hash).await.unwrap().unwrap().place
}

/// Deletes all that is garbage, and tells where it was.
pub(crate) async fn collect(index: &dyn IndexBackend) -> Vec<Place> {
    let mut collected = Vec::new();
    loop {
        let garbage = index.garbage(2).await.unwrap();
        assert!(garbage.len() <= 2);
        if garbage.is_empty() {
            return collected;
        }
        collected.extend(garbage.iter().map(Garbage::place));
        index.collected(garbage).await.unwrap();
    }
}

async fn every_change_shows_in_the_count_of_changes(index: &dyn IndexBackend) {
    let before = index.mark().await.unwrap();
    let record = add(index, file("n", b"n")).await.unwrap();
    let added = index.mark().await.unwrap();
    index.remove(record.id).await.unwrap();
    let removed = index.mark().await.unwrap();
    assert!(before < added && added < removed);
    index.remove(record.id).await.unwrap();
    assert_eq!(index.mark().await.unwrap(), removed);
    collect(index).await;
}

async fn what_is_intended_is_no_garbage_and_what_is_given_up_is(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"intended");
    let (one, two) = (
        index.intend(&hash, 8).await.unwrap(),
        index.intend(&hash, 8).await.unwrap(),
    );
    assert!(!one.is_there() && !one.is_counted());
    let place = two.place();
    drop(one);
    let given_up = collect(index).await;
    assert!(!given_up.contains(&place), "the other counts on it");
    let put = index.put(file("i", b"intended"), two).await.unwrap();
    assert_eq!(collect(index).await, []);
    assert_eq!(place_of(index, &hash).await, place);
    let there = index.intend(&hash, 8).await.unwrap();
    assert!(there.is_there() && there.is_counted());
    assert_eq!(there.place(), place);
    assert!(index.remove(put.record.id).await.unwrap().is_some());
    assert_eq!(collect(index).await, [], "somebody counts on what is there");
    drop(there);
    assert_eq!(collect(index).await, [place]);
    assert_eq!(collect(index).await, [], "once");
}

async fn what_a_file_needs_is_no_garbage_until_the_last_is_removed(index: &dyn IndexBackend) {
    let mut records = Vec::new();
    for name in ["1", "2", "3"] {
        records.push(add(index, file(name, b"needed")).await.unwrap());
    }
    let place = place_of(index, &records[0].file.hash).await;
    // What two of them have written elsewhere is garbage; of a fourth nothing comes.
    drop(index.intend(&records[0].file.hash, 6).await.unwrap());
    assert!(!collect(index).await.contains(&place));
    let last = records.pop().unwrap();
    for record in records {
        index.remove(record.id).await.unwrap();
        assert_eq!(collect(index).await, []);
    }
    index.remove(last.id).await.unwrap();
    assert_eq!(collect(index).await, [place]);
}

async fn garbage_is_claimed_by_one_and_counted_on_by_nobody(index: &Arc<dyn IndexBackend>) {
    let hash = BlobHash::of(b"claimed");
    let intent = index.intend(&hash, 7).await.unwrap();
    let place = intent.place();
    drop(intent);
    let claimed = index.garbage(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].place(), place);
    assert!(index.garbage(10).await.unwrap().is_empty());
    let upload = tokio::spawn({
        let index = Arc::clone(index);
        async move { index.intend(&hash, 7).await.unwrap() }
    });
    tokio::time::sleep(SOON).await;
    let waits = !upload.is_finished();
    index.collected(claimed).await.unwrap();
    let intent = upload.await.unwrap();
    assert!(!intent.is_there());
    let written = intent.place();
    assert!(
        waits || written != place,
        "where something is being deleted is no place to write to"
    );
    let put = index.put(file("c", b"claimed"), intent).await.unwrap();
    assert_eq!(collect(&**index).await, []);
    index.remove(put.record.id).await.unwrap();
    assert_eq!(collect(&**index).await, [written]);
}

async fn a_claim_that_is_dropped_has_changed_nothing(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"not deleted");
    let intent = index.intend(&hash, 11).await.unwrap();
    let first = intent.place();
    drop(intent);
    let claimed = index.garbage(10).await.unwrap();
    assert_eq!(claimed.len(), 1);
    drop(claimed);
    // It is garbage as it was before, whether or not anybody intends anything with it.
    let claimed = index.garbage(10).await.unwrap();
    let places: Vec<_> = claimed.iter().map(Garbage::place).collect();
    assert_eq!(places, [first]);
    drop(claimed);
    let intent = index.intend(&hash, 11).await.unwrap();
    assert!(!intent.is_there());
    let second = intent.place();
    drop(intent);
    let expected = BTreeSet::from([first, second]);
    assert_eq!(BTreeSet::from_iter(collect(index).await), expected);
}

async fn what_is_held_is_not_collected(index: &dyn IndexBackend) {
    let hash = BlobHash::of(b"held");
    assert!(index.hold(&hash).await.unwrap().is_none());
    let record = add(index, file("h", b"held")).await.unwrap();
    let held = index.hold(&hash).await.unwrap().unwrap();
    assert_eq!(held.content, index.locate(&hash).await.unwrap().unwrap());
    let place = held.content.place;
    index.remove(record.id).await.unwrap();
    assert_eq!(collect(index).await, []);
    drop(held);
    assert_eq!(collect(index).await, [place]);
}

async fn what_is_stored_and_nobody_needs_becomes_garbage_when_it_is_sifted(
    index: &dyn IndexBackend,
) {
    let record = add(index, file("s", b"needed")).await.unwrap();
    let needed = place_of(index, &record.file.hash).await;
    let intent = index.intend(&BlobHash::of(b"intent"), 6).await.unwrap();
    let (intended, left) = (intent.place(), Place::of(&BlobHash::of(b"left")));
    index.sift(&[needed, intended, left]).await.unwrap();
    assert_eq!(collect(index).await, [left]);
    let kept = index.put(file("t", b"intent"), intent).await.unwrap();
    index.sift(&[needed, intended]).await.unwrap();
    assert_eq!(collect(index).await, []);
    for id in [record.id, kept.record.id] {
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
        let place = intent.place();
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
        assert!(!(is_needed && collected.contains(&place)), "{n}");
        if let Some(record) = index.newest_named("p").await.unwrap() {
            assert_eq!(record.file.hash, hash);
            index.remove(record.id).await.unwrap();
        }
        let rest = collect(&**index).await;
        assert!(collected.contains(&place) || rest.contains(&place), "{n}");
    }
}
