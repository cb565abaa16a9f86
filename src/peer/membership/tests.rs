//! Certificates: for whom they count, and that nobody else can have made them.

use proptest::prelude::*;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsConnector};

use super::certificate::MAX_RIGHTS;
use super::channel::MAX_SHOWN;
use super::{
    Certificate, Channel, ChannelError, EXCHANGE, MAX_BYTES, Member, NetworkKey, NoMember,
    PublicKey, Refusal, Revocation, Revoked, revocation,
};
use crate::peer::identity::Identity;

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

/// A node with a key of its own, and the key.
fn node() -> (Identity, PublicKey) {
    let identity = Identity::generate().unwrap();
    let key = PublicKey(identity.public());
    (identity, key)
}

/// What makes the bearer of a key a member of the network with this number for a day.
fn of_network(network: u8, member: PublicKey) -> Certificate {
    let expires = SystemTime::now() + DAY;
    key(network).invite(member, EXCHANGE, expires).unwrap()
}

/// A member of network 1.
fn member() -> Channel {
    let (identity, own) = node();
    Channel::new(&identity, of_network(1, own), None).unwrap()
}

/// Connects to whoever is there.
async fn greet(channel: &Channel, to: DuplexStream) -> Result<Member, NoMember> {
    let connector = TlsConnector::from(Arc::new(channel.client()));
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector.connect(name, to).await?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    channel.greet(&mut stream, Some(&shown)).await
}

/// Takes a connection as the server does.
async fn accept(channel: &Channel, far: DuplexStream) -> io::Result<TlsStream<DuplexStream>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), far).await?;
    let config = channel.server(&start.client_hello());
    start
        .into_stream(config.unwrap_or_else(|| channel.strangers()))
        .await
}

/// What came of a connection, at who has made it and at who has taken it.
async fn meet(one: &Channel, other: &Channel) -> [Result<Member, NoMember>; 2] {
    let (near, far) = tokio::io::duplex(1 << 16);
    let taking = async {
        let mut stream = accept(other, far).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        other.receive(&mut stream, Some(&shown)).await
    };
    let (one, other) = tokio::join!(greet(one, near), taking);
    [one, other]
}

#[tokio::test]
async fn two_members_know_each_other_and_no_key_speaks_for_another() {
    let [one, other] = meet(&member(), &member()).await;
    assert!(one.unwrap().is_valid_now() && other.unwrap().is_valid_now());
    let (_, stolen) = node();
    // What a member shows that is another's, of another network, or of one that never signed it.
    for (shown, refusal) in [
        (of_network(1, stolen), Refusal::Member),
        (of_network(2, stolen), Refusal::Network),
    ] {
        let [one, other] = meet(&member().showing(shown.clone()), &member()).await;
        let told = one.unwrap_err();
        assert!(
            matches!(&told, NoMember::Own(code) if code == refusal.code()),
            "{told}"
        );
        let told = other.unwrap_err();
        assert!(
            matches!(told, NoMember::Other(why) if why == refusal),
            "{told}"
        );
    }
}

/// What a member makes of one that says this, whatever it is told itself.
async fn hear(told: &str) -> NoMember {
    let (member, liar) = (member(), member());
    let (near, far) = tokio::io::duplex(1 << 16);
    let lying = async {
        let mut stream = accept(&liar, far).await.unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).await.unwrap();
        let message = [
            &u16::try_from(told.len()).unwrap().to_be_bytes(),
            told.as_bytes(),
        ];
        stream.write_all(&message.concat()).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (heard, ()) = tokio::join!(greet(&member, near), lying);
    heard.unwrap_err()
}

#[tokio::test]
async fn an_impostor_that_takes_everybody_is_no_member_whatever_it_says() {
    let (_, stolen) = node();
    for (told, refusal) in [
        (of_network(1, stolen).to_string(), Refusal::Member),
        (of_network(2, stolen).to_string(), Refusal::Network),
        (String::new(), Refusal::Form),
        ("refused <b>".to_owned(), Refusal::Form),
    ] {
        let heard = hear(&told).await;
        assert!(
            matches!(heard, NoMember::Other(why) if why == refusal),
            "{told}: {heard}"
        );
    }
    // Nor is anything longer than two certificates waited for.
    let heard = hear(&"x".repeat(MAX_SHOWN + 1)).await;
    assert!(matches!(heard, NoMember::Io(_)), "{heard}");
    let heard = hear("refused expired").await;
    assert!(
        matches!(&heard, NoMember::Own(code) if code == "expired"),
        "{heard}"
    );
}

#[tokio::test]
async fn who_has_not_the_tag_of_a_network_gets_an_alert_before_any_key() {
    let (identity, own) = node();
    let elsewhere = Channel::new(&identity, of_network(2, own), None).unwrap();
    for [one, other] in [
        meet(&elsewhere, &member()).await,
        meet(&member(), &elsewhere).await,
    ] {
        let told = one.unwrap_err().to_string();
        assert!(told.contains("received fatal alert"), "{told}");
        assert!(matches!(other, Err(NoMember::Io(_))));
    }
}

#[test]
fn a_node_is_no_member_by_the_certificate_of_another() {
    let ((identity, _), (_, other)) = (node(), node());
    let refused = Channel::new(&identity, of_network(1, other), None).unwrap_err();
    assert!(
        matches!(refused, ChannelError::Refused(Refusal::Member)),
        "{refused}"
    );
}

#[test]
fn every_part_of_a_revocation_is_signed_and_no_other_text_is_one() {
    let text = key(1).revoke(key(2).public()).to_string();
    assert!(text.len() <= revocation::MAX_BYTES);
    let other = key(3).revoke(key(4).public()).to_string();
    let network = key(1).public();
    let read: Revocation = text.parse().unwrap();
    assert_eq!(read.check(network), Ok(()));
    assert_eq!(read.check(key(3).public()), Err(Refusal::Network));
    let (parts, others): (Vec<_>, Vec<_>) = (text.split('.').collect(), other.split('.').collect());
    for part in 1..parts.len() {
        let mut mixed = parts.clone();
        mixed[part] = others[part];
        let mixed: Revocation = mixed.join(".").parse().unwrap();
        assert_eq!(
            mixed.check(mixed.network),
            Err(Refusal::Signature),
            "{part}"
        );
    }
    for wrong in [
        String::new(),
        format!("{text} "),
        format!("{text}.more"),
        text.to_uppercase(),
    ] {
        assert_eq!(wrong.parse::<Revocation>(), Err(Refusal::Form), "{wrong}");
    }
}

#[test]
fn a_set_only_grows_by_what_its_network_has_signed_and_has_one_digest_in_any_order() {
    let revoked = [2, 3].map(|it| key(1).revoke(key(it).public()));
    let [one, other, empty] = [(); 3].map(|()| Revoked::new(key(1).public()));
    one.add(revoked.clone());
    other.add([revoked[1].clone()]);
    assert_ne!(one.digest(), other.digest());
    other.add([revoked[0].clone()]);
    assert_eq!(one.digest(), other.digest());
    one.add([]);
    one.add([revoked[0].clone(), key(9).revoke(key(4).public())]);
    assert!(one.has(key(2).public()) && one.has(key(3).public()));
    assert!(!one.has(key(4).public()));
    let mut forged = revoked[0].clone();
    forged.member = key(5).public();
    empty.add([forged]);
    assert!(empty.is_empty());
}
