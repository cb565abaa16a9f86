//! What waits, whose turn it is, and who gives way.

use super::*;
use crate::fetch::keep::Naming;
use crate::fetch::keep::share::Crowd;
use crate::hash::BlobHash;
use crate::peer::directory::NetworkFile;
use crate::peer::prefix::Prefix;

fn wanted(number: u32) -> Wanted {
    Wanted {
        peer: PeerId::of_public_key(&[1; 32]),
        naming: Naming::Content,
        file: NetworkFile {
            id: FileId::from_bytes([1; 16]),
            hash: Some(BlobHash::of(&number.to_le_bytes())),
            name: String::new(),
            size: 1,
            content_type: None,
            uploaded_at: String::new(),
        },
    }
}

/// A share of a peer in one of several places.
fn stranger(place: u8) -> Share {
    let address = format!("http://10.0.{place}.1:5004").parse().unwrap();
    let place = Prefix::of(&address);
    Share {
        crowd: Crowd::Strangers(place.narrow),
        place: Some(place.exact),
    }
}

#[test]
fn each_is_begun_once_and_in_order() {
    let mut queue = Queue::default();
    for number in [2, 1, 2] {
        queue.add(wanted(number), (number != 1).then_some(stranger(1)));
    }
    let mut begun = || queue.begin_next().map(|begun| begun.wanted);
    // What users ask for comes first.
    assert_eq!(begun(), Some(wanted(1)));
    assert_eq!(begun(), Some(wanted(2)));
    assert_eq!(begun(), None);
    assert_eq!(queue.asked_for(), [wanted(1)]);
    queue.end(wanted(1).id(), Stage::Kept(None), None);
    assert_eq!((queue.asked_for(), queue.open()), (vec![], 1));
}

#[test]
fn a_peer_has_its_share_of_what_nobody_asked_for() {
    let of = |peer, number| Wanted {
        peer: PeerId::of_public_key(&[peer; 32]),
        ..wanted(number)
    };
    let mut queue = Queue::default();
    for number in 0..32 {
        assert!(queue.add_unasked(of(1, number), stranger(1)));
    }
    assert!(!queue.add_unasked(of(1, 100), stranger(1)));
    assert!(queue.add_unasked(of(2, 101), stranger(1)));
    let begun = [(); 4].map(|()| queue.begin_next().map(|it| it.wanted.peer));
    let [one, two] = [1, 2].map(|it| Some(of(it, 0).peer));
    assert_eq!(begun, [one, two, one, None]);
    // Who keeps this node waiting waits himself.
    queue.retry(of(1, 0).id(), "silent".to_owned());
    assert!(!queue.add_unasked(of(1, 102), stranger(1)));
    assert_eq!(queue.open(), 2);
    assert_eq!(queue.next_due(), None);
}

#[test]
fn a_newcomer_finds_a_place_that_the_largest_crowd_gives_up() {
    let mut queue = Queue::default();
    let of = |peer: u32, number| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&peer.to_le_bytes());
        Wanted {
            peer: PeerId::of_public_key(&key),
            ..wanted(number)
        }
    };
    // As many peers as there are places, all in one crowd.
    for number in 0..600 {
        queue.add_unasked(of(number, number), stranger(1));
    }
    let full = queue.open();
    assert!(full < 600);
    assert!(!queue.add_unasked(of(600, 600), stranger(1)));
    assert!(queue.add_unasked(of(601, 601), stranger(2)));
    assert_eq!(queue.open(), full);
    assert!(queue.get(wanted(601).id()).is_some());
}

#[test]
fn a_stranger_fills_a_quarter_of_the_room_and_a_named_peer_all_of_it() {
    let mut queue = Queue::default();
    let share = stranger(1);
    assert!(queue.is_within_share(share, 25, 100));
    assert!(!queue.is_within_share(share, 26, 100));
    queue.add_unasked(wanted(1), share);
    queue.begin_next().unwrap();
    assert!(!queue.is_within_share(share, 25, 100));
    queue.end(
        wanted(1).id(),
        Stage::Kept(Some(FileId::from_bytes([1; 16]))),
        None,
    );
    assert!(!queue.is_within_share(share, 25, 100));
    assert!(queue.is_within_share(stranger(2), 25, 100));
    let named = Share {
        place: None,
        ..share
    };
    assert!(queue.is_within_share(named, u64::MAX, 100));
}

#[test]
fn what_failed_waits_longer_each_time() {
    let mut queue = Queue::default();
    queue.add(wanted(1), None);
    let mut last = Duration::ZERO;
    for _ in 0..3 {
        queue.retry(wanted(1).id(), "why".to_owned());
        let pause = queue.next_due().unwrap() - Instant::now();
        assert!(pause > last, "{pause:?}");
        last = pause;
    }
    assert!(queue.begin_next().is_none());
    assert_eq!(queue.get(wanted(1).id()).unwrap().error.unwrap(), "why");
}

#[test]
fn the_finished_are_forgotten_in_time() {
    let mut queue = Queue::default();
    let many = u32::try_from(MAX_FINISHED).unwrap() + 1;
    for number in 0..=many {
        queue.add(wanted(number), None);
        queue.end(wanted(number).id(), Stage::Kept(None), None);
    }
    assert!(queue.get(wanted(0).id()).is_none());
    assert!(queue.get(wanted(many).id()).is_some());
}

#[test]
fn whatever_shows_of_a_copy_is_told_and_nothing_else() {
    let mut queue = Queue::default();
    let mut watch = queue.jobs.changes().watch();
    let mut is_told = || {
        let told = watch.has_changed().unwrap();
        watch.mark_unchanged();
        told
    };
    let id = wanted(1).id();
    queue.add(wanted(1), None);
    assert!(is_told());
    queue.add(wanted(1), None);
    queue.belongs_to(id, None);
    assert!(!is_told());
    let begun = queue.begin_next().unwrap();
    assert!(is_told());
    begun.fetched.add(1);
    assert!(is_told());
    queue.name(id, "named".to_owned());
    assert!(is_told());
    queue.retry(id, "silent".to_owned());
    assert!(is_told());
    queue.end(id, Stage::Kept(None), None);
    assert!(is_told());
    queue.remove(id);
    assert!(is_told());
    assert!(queue.remove(id).is_none() && !is_told());
}
