//! Certificates: for whom they count, and that nobody else can have made them.

use proptest::prelude::*;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::certificate::MAX_RIGHTS;
use super::{Certificate, EXCHANGE, MAX_BYTES, NetworkKey, Refusal};

const DAY: Duration = Duration::from_hours(24);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_hours(500_000)
}

fn key(seed: u8) -> NetworkKey {
    NetworkKey::of(&[seed; 32])
}

fn invited(rights: &str) -> Certificate {
    key(1).invite(key(2).public(), rights, now() + DAY).unwrap()
}

#[test]
fn a_certificate_counts_for_its_network_its_bearer_and_its_time_alone() {
    let (network, member) = (key(1).public(), key(2).public());
    let certificate: Certificate = invited(EXCHANGE).to_string().parse().unwrap();
    assert_eq!(certificate.check(network, member, now()), Ok(()));
    let later = now() + DAY;
    for (network, bearer, at, refusal) in [
        (key(3).public(), member, now(), Refusal::Network),
        (network, key(3).public(), now(), Refusal::Member),
        (network, member, later, Refusal::Expired),
    ] {
        assert_eq!(certificate.check(network, bearer, at), Err(refusal));
    }
    let earlier = later - Duration::from_secs(1);
    assert_eq!(certificate.check(network, member, earlier), Ok(()));
}

#[test]
fn rights_of_a_later_version_are_kept_and_those_without_exchange_open_nothing() {
    let later = invited("hold=1,exchange");
    let read: Certificate = later.to_string().parse().unwrap();
    assert_eq!(read, later);
    assert_eq!(read.check_itself(now()), Ok(()));
    assert_eq!(invited("hold=1").check_itself(now()), Err(Refusal::Rights));
}

#[test]
fn every_part_of_a_certificate_is_signed() {
    let text = invited(EXCHANGE).to_string();
    let other = key(3)
        .invite(key(4).public(), "exchange,x", now() + DAY * 2)
        .unwrap();
    let other = other.to_string();
    let (parts, others): (Vec<_>, Vec<_>) = (text.split('.').collect(), other.split('.').collect());
    for part in 1..parts.len() {
        let mut mixed = parts.clone();
        mixed[part] = others[part];
        let mixed: Certificate = mixed.join(".").parse().unwrap();
        assert_eq!(mixed.check_itself(now()), Err(Refusal::Signature), "{part}");
    }
}

#[test]
fn what_is_no_certificate_is_told_apart_from_one_that_does_not_count() {
    let text = invited(EXCHANGE).to_string();
    assert!(text.len() < MAX_BYTES);
    for wrong in [
        String::new(),
        text.to_uppercase(),
        format!("{text} "),
        format!("{text}.more"),
        text.replace("larder-member-1", "larder-member-2"),
        text.replace(".exchange.", ".."),
        text.replace(".exchange.", ".ex change."),
        text.replace(".exchange.", &format!(".{}.", "x".repeat(MAX_RIGHTS + 1))),
        // A key of which anybody can make signatures.
        text.replace(
            &key(1).public().to_string(),
            &format!("01{}", "0".repeat(62)),
        ),
    ] {
        assert_eq!(wrong.parse::<Certificate>(), Err(Refusal::Form), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_text_is_a_certificate_by_chance(text in ".{0,600}", at in 0_usize..300) {
        prop_assert!(text.parse::<Certificate>().is_err());
        let mut changed = invited(EXCHANGE).to_string().into_bytes();
        let at = at % changed.len();
        changed[at] = if changed[at] == b'7' { b'8' } else { b'7' };
        let changed: Result<Certificate, _> = String::from_utf8(changed).unwrap().parse();
        let counts = changed.and_then(|it| it.check(key(1).public(), key(2).public(), now()));
        prop_assert!(counts.is_err());
    }
}
