//! What takes room, who has a share of it, and who gives it back.

use std::pin::pin;

use futures_util::FutureExt;

use super::*;
use crate::index::memory::MemoryIndex;

fn quota() -> Arc<Quota> {
    Quota::of(100, Arc::new(MemoryIndex::default()))
}

fn room(quota: &Arc<Quota>) -> Arc<TakenRoom> {
    TakenRoom::none_yet(Some(Arc::clone(quota)), None)
}

#[tokio::test]
async fn what_is_on_its_way_counts_until_it_is_kept_and_once_however_often_it_comes() {
    let quota = quota();
    let [one, two, three] = [b"1", b"2", b"3"].map(|it| BlobHash::of(it));
    let first = quota.reserve(one, 60, None, || 0).await.unwrap();
    assert!(quota.reserve(two, 41, None, || 0).await.is_err());
    let again = quota.reserve(one, 60, None, || 0).await.unwrap();
    let second = quota.reserve(two, 40, None, || 0).await.unwrap();
    assert!(quota.check(1, || 0).await.is_err());
    assert!(quota.expects(&one) && quota.expects_length(60));
    drop(first);
    let more = quota.reserve(three, 1, None, || 0).await;
    assert!(more.is_err(), "one more brings it");
    drop(again);
    assert!(!quota.expects(&one) && !quota.expects_length(60));
    assert!(quota.reserve(three, 1, None, || 60).await.is_err());
    drop(second);
    assert!(quota.reserve(three, 40, None, || 60).await.is_ok());
    assert!(quota.reserve(three, 41, None, || 60).await.is_err());
    assert!(quota.check(0, || 200).await.is_err());
}

#[tokio::test]
async fn what_comes_in_parts_takes_room_of_its_own_and_gives_it_back() {
    let quota = quota();
    let [one, other] = [room(&quota), room(&quota)];
    one.take(60, 0, Kind::Promised, || 0).await.unwrap();
    assert!(other.take(41, 0, Kind::Promised, || 0).await.is_err());
    assert!(quota.check(41, || 0).await.is_err());
    assert_eq!((quota.left(0), one.bytes()), (40, 60));
    one.note(10);
    other.take(90, 0, Kind::Promised, || 0).await.unwrap();
    assert!(one.take(11, 10, Kind::Promised, || 0).await.is_err());
    assert_eq!(one.bytes(), 10);
    drop(other);
    for _ in 0..2 {
        one.take(100, 10, Kind::Promised, || 0).await.unwrap();
    }
    drop(one);
    assert_eq!(quota.left(0), 100);
}

/// Also where the index counts another by now of which the room is not given back yet.
#[tokio::test]
async fn what_was_promised_finds_its_room_at_its_end_and_has_it_again_where_it_is_not_kept() {
    let quota = quota();
    let hash = BlobHash::of(b"1");
    let [one, other, found] = [room(&quota), room(&quota), room(&quota)];
    one.take(60, 0, Kind::Promised, || 0).await.unwrap();
    other.take(40, 0, Kind::Promised, || 0).await.unwrap();
    let failed = quota.reserve(hash, 60, Some(&one), || 40).await.unwrap();
    assert_eq!((one.bytes(), quota.left(0)), (0, 0));
    drop(failed);
    assert_eq!((one.bytes(), quota.left(0)), (60, 0));
    quota
        .reserve(hash, 60, Some(&one), || 0)
        .await
        .unwrap()
        .end();
    assert_eq!((one.bytes(), quota.left(60)), (0, 0));
    drop(other);
    // The quota was larger before this start.
    found.note(50);
    assert!(quota.reserve(hash, 50, Some(&found), || 60).await.is_err());
    assert_eq!(found.bytes(), 50);
    assert!(quota.reserve(hash, 50, Some(&found), || 50).await.is_ok());
}

#[tokio::test]
async fn beyond_it_comes_no_more_than_its_bound_or_one_content() {
    let quota = quota();
    let all = [(); 3].map(|()| room(&quota));
    let beyond = |number: usize, bytes| all[number].take(bytes, 0, Kind::Beyond, || 100);
    beyond(0, 1 << 40).await.unwrap();
    assert!(beyond(1, 1).await.is_err());
    // It takes nothing of what is promised.
    assert_eq!(quota.left(90), 10);
    all[0].note(0);
    beyond(1, BEYOND / 2).await.unwrap();
    beyond(2, BEYOND / 2).await.unwrap();
    assert!(beyond(0, 1).await.is_err());
    drop(all);
    assert!(quota.check(100, || 0).await.is_ok());
}

#[tokio::test]
async fn one_client_leaves_others_half_of_what_is_free_until_all_of_one_content_has_come() {
    let quota = quota();
    let client = |name: &str| Some(ClientKey::Token(name.into()));
    let of = |name| TakenRoom::none_yet(Some(Arc::clone(&quota)), client(name));
    let (one, second, other) = (of("one"), of("one"), of("other"));
    one.take(80, 0, Kind::Promised, || 20).await.unwrap();
    assert_eq!(one.bytes(), 40);
    let refused = second.take(1, 0, Kind::Promised, || 20).await;
    assert!(matches!(refused, Err(BlobError::OverShare)), "{refused:?}");
    other.take(40, 0, Kind::Promised, || 20).await.unwrap();
    assert!(one.take(80, 60, Kind::Promised, || 20).await.is_err());
    other.note(20);
    drop(other);
    one.take(80, 60, Kind::Promised, || 20).await.unwrap();
    assert_eq!(one.bytes(), 60);
    one.note(10);
    second.take(30, 0, Kind::Promised, || 20).await.unwrap();
    assert!(second.take(31, 0, Kind::Promised, || 20).await.is_err());
}

/// The moment between the index's counting and the end of the reservation.
#[tokio::test]
async fn nobody_is_refused_for_content_that_counts_twice_for_a_moment() {
    let quota = quota();
    let [one, two, three] = [b"1", b"2", b"3"].map(|it| BlobHash::of(it));
    for brought_again in [false, true] {
        let first = quota.reserve(one, 50, None, || 0).await.unwrap();
        let again = quota.reserve(one, 50, None, || 0).await.unwrap();
        let again = brought_again.then_some(again);
        first.begin_counting();
        // Each finds room beside what counts twice, or is refused without waiting for it.
        let fits = async {
            let room = room(&quota);
            room.take(50, 0, Kind::Promised, || 50).await.unwrap();
            drop(room);
            quota.check(50, || 50).await.unwrap();
            quota.reserve(two, 50, None, || 50).await.unwrap();
        };
        let other = room(&quota);
        assert!(quota.check(51, || 50).await.is_err());
        assert!(quota.reserve(three, 51, None, || 50).await.is_err());
        assert!(other.take(51, 0, Kind::Promised, || 50).await.is_err());
        let mut fits = pin!(fits);
        assert!(fits.as_mut().now_or_never().is_none());
        first.end();
        if brought_again {
            assert!(fits.as_mut().now_or_never().is_none());
        }
        drop(again);
        fits.await;
    }
    // One that was not kept leaves its room to who waits.
    let failed = quota.reserve(one, 50, None, || 0).await.unwrap();
    failed.begin_counting();
    let mut waits = pin!(quota.reserve(two, 60, None, || 40));
    assert!(waits.as_mut().now_or_never().is_none());
    drop(failed);
    assert!(waits.await.is_ok());
}
