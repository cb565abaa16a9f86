//! What the registry does with peers that are told, answer, move, fall silent, and are many.

use std::time::Duration;

use super::*;
use crate::peer::holdings::{Holdings, Version};
use crate::peer::identity::Identity;
use crate::peer::registration::samples;

const ITSELF: Introducer = Introducer::Itself(None);

fn told_by(identity: &Identity, address: &str) -> Checked {
    samples::signed_by(identity, address).check().unwrap()
}

fn told(address: &str) -> Checked {
    samples::signed(address).check().unwrap()
}

fn old(timestamp: &str, address: &str) -> Checked {
    samples::unsigned(timestamp, address).check().unwrap()
}

fn registry(options: Options) -> Registry {
    Registry::new(told("http://me").id, options)
}

/// All peers, in the order in which they would be asked.
fn all(registry: &Registry) -> Vec<Peer> {
    let slots = Slots {
        all: usize::MAX,
        together: usize::MAX,
    };
    registry.next(&slots, &[], |_| Some(false))
}

/// A peer that has answered.
fn answering(registry: &Registry, address: &str, by: Introducer) -> PeerId {
    let peer = told(address);
    registry.introduce(peer.clone(), by);
    registry.answered(peer.id);
    peer.id
}

#[test]
fn peers_are_known_by_id_and_never_oneself() {
    let myself = told("http://me");
    let registry = Registry::new(myself.id, Options::default());
    assert_eq!(registry.introduce(myself, ITSELF), Introduced::Myself);
    let peer = told("http://one");
    assert_eq!(registry.introduce(peer.clone(), ITSELF), Introduced::New);
    assert_eq!(registry.introduce(peer.clone(), ITSELF), Introduced::Known);
    assert_eq!(registry.len(), 1);
    let known = registry.get(peer.id).unwrap();
    assert_eq!(known.address().to_string(), "http://one");
    assert!(known.verified());
    assert!(registry.knows(&peer.registration, ITSELF));
    assert!(!registry.knows(&told("http://one").registration, ITSELF));
}

#[test]
fn only_a_newer_registration_moves_a_peer() {
    let registry = registry(Options::default());
    registry.introduce(old("2026-01-21T10:00:01", "http://one"), ITSELF);
    registry.introduce(old("2026-01-21T10:00:00", "http://stale"), ITSELF);
    let address = || all(&registry)[0].address().to_string();
    assert_eq!(address(), "http://one");
    registry.introduce(old("2026-01-21T10:00:02", "http://two"), ITSELF);
    assert_eq!(address(), "http://two");
}

#[test]
fn a_peer_whose_clock_was_set_back_may_come_itself_where_it_no_longer_answers() {
    let registry = registry(Options::default());
    let address = || all(&registry)[0].address().to_string();
    let id = old("2026-01-21T10:00:00", "http://one").id;
    registry.introduce(old("2026-01-21T10:00:00", "http://one"), ITSELF);
    registry.answered(id);
    let back = || old("1969-12-31T23:59:59", "http://two");
    registry.introduce(back(), ITSELF);
    assert_eq!(address(), "http://one");
    registry.asked_in_vain(id, Instant::now());
    let other = Introducer::Other(Prefix::of(&"http://x".parse().unwrap()).narrow);
    registry.introduce(back(), other);
    assert_eq!(address(), "http://one");
    registry.introduce(back(), ITSELF);
    assert_eq!(address(), "http://two");
}

#[test]
fn who_moves_has_to_answer_anew_and_nobody_moves_another() {
    let registry = registry(Options::default());
    let answered = || all(&registry)[0].answered;
    let identity = Identity::generate().unwrap();
    let mut registration = told_by(&identity, "http://one");
    // Written down within one second, which is all that a registration tells.
    registration.registration.timestamp = "2026-01-21T10:00:00".to_owned();
    registry.introduce(registration, ITSELF);
    registry.answered(identity.peer_id());
    assert!(answered());
    registry.introduce(told_by(&identity, "http://two"), ITSELF);
    assert!(!answered());
    let unsigned = self::registry(Options::default());
    unsigned.introduce(old("2026-01-21T10:00:00", "http://one"), ITSELF);
    unsigned.answered(all(&unsigned)[0].id());
    unsigned.introduce(old("2026-01-21T10:00:02", "http://two"), ITSELF);
    assert_eq!(all(&unsigned)[0].address().to_string(), "http://one");
}

#[test]
fn nobody_moves_an_unsigned_peer_that_is_remembered_before_it_was_asked_in_vain() {
    let honest = || old("2026-01-21T10:00:00", "http://one");
    let stranger = || old("2026-01-21T10:00:02", "http://two");
    let id = honest().id;
    let address = |registry: &Registry| registry.get(id).unwrap().address().to_string();
    let restored = || {
        let registry = registry(Options::default());
        registry.restore(honest(), Timestamp::now());
        registry
    };
    let told_first = registry(Options::default());
    told_first.introduce(stranger(), ITSELF);
    assert_eq!(
        told_first.restore(honest(), Timestamp::now()),
        Introduced::New
    );
    assert_eq!(address(&told_first), "http://one");

    let registry = restored();
    registry.introduce(stranger(), ITSELF);
    registry.waited_in_vain(id);
    registry.introduce(stranger(), ITSELF);
    assert_eq!(address(&registry), "http://one");
    registry.asked_in_vain(id, Instant::now());
    registry.introduce(stranger(), ITSELF);
    assert_eq!(address(&registry), "http://two");

    let named = restored();
    named.introduce(stranger(), Introducer::Operator);
    assert_eq!(address(&named), "http://two");
    assert_eq!(named.restore(honest(), Timestamp::now()), Introduced::Known);
    assert_eq!(address(&named), "http://two");
}

#[test]
fn unsigned_peers_are_refused_where_that_is_asked_for() {
    let peer = || old("2026-01-21T10:00:00", "http://one");
    let strict = registry(Options {
        require_signed: true,
        ..Options::default()
    });
    assert_eq!(strict.introduce(peer(), ITSELF), Introduced::Unsigned);
    let lax = registry(Options::default());
    assert_eq!(lax.introduce(peer(), ITSELF), Introduced::New);
}

#[test]
fn silent_peers_are_forgotten_the_sooner_if_they_never_answered() {
    let registry = registry(Options::default());
    let (stranger, peer) = (told("http://one"), told("http://two"));
    registry.introduce(stranger.clone(), ITSELF);
    // Restored ones have answered once; how long ago does not matter in this run.
    registry.restore(peer.clone(), Timestamp(i64::MIN));
    let later = |seconds| Instant::now() + Duration::from_secs(seconds);
    assert_eq!(registry.forget_silent(later(299)), []);
    assert_eq!(registry.forget_silent(later(301)), [stranger.id]);
    assert_eq!(registry.forget_silent(later(3599)), []);
    assert_eq!(registry.forget_silent(later(3601)), [peer.id]);
    assert!(registry.is_empty());
}

#[test]
fn those_told_by_one_have_a_share_and_newcomers_that_come_themselves_always_enter() {
    let registry = registry(Options {
        max_unproven: 8,
        ..Options::default()
    });
    let by = Introducer::Other(Prefix::of(&"http://liar".parse().unwrap()).narrow);
    for number in 0..100 {
        registry.introduce(told(&format!("http://10.{number}.0.1")), by);
    }
    assert_eq!(registry.len(), 4);
    let itself = Introducer::Itself(Some(Prefix::of(&"http://a".parse().unwrap()).narrow));
    for number in 0..100 {
        let introduced = registry.introduce(told(&format!("http://11.0.0.{number}")), itself);
        assert!(!matches!(introduced, Introduced::Full), "{introduced:?}");
        assert!(registry.len() <= 8);
    }
    // Four of each; one more is of no crowd, so one of the crowd gives way to it.
    let newcomer = told("http://12.0.0.1");
    let introduced = registry.introduce(newcomer.clone(), ITSELF);
    let Introduced::InsteadOf(other) = introduced else {
        panic!("{introduced:?}");
    };
    assert!(registry.get(other).is_none() && registry.get(newcomer.id).is_some());
    registry.introduce(told("http://11.0.0.200"), itself);
    assert!(registry.get(newcomer.id).is_some());
}

#[test]
fn at_one_place_only_a_few_are_waited_for() {
    let registry = registry(Options::default());
    for _ in 0..100 {
        registry.introduce(old_with_any_id(), ITSELF);
    }
    assert_eq!(registry.len(), 4);
}

fn old_with_any_id() -> Checked {
    let mut registration = old("2026-01-21T10:00:00", "http://10.0.0.1:1").registration;
    registration.peer_id = uuid::Uuid::new_v4().to_string();
    registration.check().unwrap()
}

#[test]
fn who_answers_from_many_addresses_of_one_net_has_the_share_of_that_net() {
    let registry = registry(Options {
        max_proven: 12,
        ..Options::default()
    });
    for number in 0..100 {
        answering(&registry, &format!("http://10.0.{number}.1"), ITSELF);
    }
    assert_eq!(registry.len(), 6);
    for number in 0..100 {
        answering(&registry, &format!("http://10.1.0.{number}"), ITSELF);
    }
    assert_eq!(registry.len(), 10);
    let honest = [0; 6].map(|_| answering(&registry, "http://11.0.0.1", ITSELF));
    let known = honest.iter().filter(|id| registry.get(**id).is_some());
    assert_eq!((known.count(), registry.len()), (4, 12));
}

#[test]
fn named_peers_have_places_of_their_own() {
    let registry = registry(Options {
        max_proven: 2,
        max_unproven: 2,
        ..Options::default()
    });
    let named = [0; 5].map(|_| answering(&registry, "http://10.0.0.1", Introducer::Operator));
    for number in 0..100 {
        answering(&registry, &format!("http://10.0.0.{number}"), ITSELF);
        registry.introduce(told(&format!("http://10.1.0.{number}")), ITSELF);
    }
    assert!(named.iter().all(|id| registry.get(*id).is_some()));
    assert_eq!(all(&registry)[..5].len(), 5);
    assert!(all(&registry)[..5].iter().all(|it| it.named));
}

#[test]
fn who_has_heard_of_each_change_has_no_news_and_who_has_missed_one_does() {
    let registry = registry(Options::default());
    let identity = Identity::generate().unwrap();
    let id = identity.peer_id();
    registry.introduce(told_by(&identity, "http://one"), ITSELF);
    let hears = |follows, version| {
        let now = Version {
            files: 1,
            version,
            follows,
        };
        registry.hears(id, &Holdings::of(&identity, now));
        let known = registry.get(id).unwrap();
        (known.read, known.has_news())
    };
    registry.has_read(id, 10);
    assert_eq!(hears(10, 11), (Some(11), false));
    // Several changes told together, of which the first was read already.
    assert_eq!(hears(10, 14), (Some(14), false));
    assert_eq!(hears(12, 13), (Some(14), false));
    // One before it was missed, or nobody knows which was.
    assert_eq!(hears(15, 16), (Some(14), true));
    assert_eq!(hears(0, 17), (Some(14), true));
    assert_eq!(hears(14, 18), (Some(18), false));
}

#[test]
fn the_silence_of_who_was_there_by_the_word_of_others_begins_when_it_does_not_answer() {
    let registry = registry(Options::default());
    let identity = Identity::generate().unwrap();
    let (id, began) = (identity.peer_id(), Instant::now());
    registry.introduce(told_by(&identity, "http://one"), ITSELF);
    registry.answered(id);
    let now = Version {
        files: 0,
        version: 1,
        follows: 0,
    };
    registry.tells(id, &Holdings::of(&identity, now));
    // It answers, and is asked for nothing in hours.
    let later = |seconds| began + Duration::from_secs(seconds);
    assert_eq!(registry.forget_silent(later(7200)), []);
    assert!(registry.asked_in_vain(id, later(7200)));
    assert_eq!(registry.forget_silent(later(7200 + 3500)), []);
    // Asked in vain once more, which is no sign of life.
    assert!(!registry.asked_in_vain(id, later(9000)));
    assert_eq!(registry.forget_silent(later(7200 + 3700)), [id]);
}
