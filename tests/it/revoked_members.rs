//! Members of a network that are to be members no longer, and those that stay members since they
//! are renewed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::commands;
use crate::common::forms::uploaded;
use crate::common::member_network::{Network, dirs, member, printed};
use crate::common::peers::{held, peer_id, post, until_knows, until_sees};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

/// Why a node does not talk with the peer that it was told of.
fn unanswered(node: &Node) -> Option<String> {
    let status = get(node.address, "/api/p2p/status", &[]).json();
    Some(status["unanswered"][0]["reason"].as_str()?.to_owned())
}

/// Waits until a node does not know a peer any more, and nothing that it told.
fn until_forgot(node: SocketAddr, id: &str, name: &str) {
    until("it is forgotten", || {
        let peers = get(node, "/api/peers", &[]).json()["peers"].to_string();
        let files = Value::from(held(node)).to_string();
        (!peers.contains(id) && !files.contains(name)).then_some(())
    });
}

/// Until when the certificate in a file counts.
fn end(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().last().unwrap();
    line.split('.').nth(4).unwrap().to_owned()
}

#[test]
fn a_revoked_member_is_refused_by_all_also_after_restarts_and_what_it_told_is_forgotten() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    let key = ["--network-key", &network.key()];
    let first = network.member(&dirs[0], &[], &key);
    let url = first.url("");
    let [second, third] = [1, 2].map(|it| network.member(&dirs[it], &[&url], &[]));
    for (node, name) in [(&first, "one"), (&second, "two"), (&third, "three")] {
        uploaded(node.address, name, name.as_bytes());
    }
    for node in [&first, &second, &third] {
        until_sees(node.address, &["one", "two", "three"]);
    }
    let id = peer_id(third.address);
    network.revoke(&dirs[2]);
    for node in [&first, &second] {
        until_forgot(node.address, &id, "three");
    }
    let told = until("it is told", || {
        unanswered(&third).filter(|it| it.contains("revoked"))
    });
    assert!(told.ends_with("(revoked)"), "{told}");
    until("it says so of itself", || {
        let health = get(third.address, "/health", &[]).json();
        let told = [&health["membership"], &health["status"]];
        (told == ["revoked", "degraded"]).then_some(())
    });
    // It serves its own clients, and nobody else.
    let ready = get(third.address, "/ready", &[]);
    assert_eq!(ready.status, 200);
    let ready = ready.json();
    assert_eq!(ready["status"], "degraded", "{ready}");
    assert_eq!(
        (&ready["membership"], &ready["reachable"]),
        (&"revoked".into(), &false.into())
    );
    let status = get(third.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["reachable"], false);
    let told = commands::done(dirs[2].path(), &third.url(""), &["status"]);
    assert!(
        told.contains("\nmember") && told.contains("was revoked"),
        "{told}"
    );
    assert!(!told.contains("--base-url"), "{told}");
    let of_other = get(second.address, "/health", &[]).json();
    assert_ne!(of_other["membership"], "revoked");
    assert!(
        network.members().contains("  revoked"),
        "{}",
        network.members()
    );
    // One that is started again knows it alone, whatever it is told.
    third.stop();
    first.stop();
    second.stop();
    let second = member(&dirs[1], &[], &[]);
    uploaded(second.address, "later", b"x");
    let third = member(&dirs[2], &[&second.url("")], &[]);
    let told = until("it is refused", || unanswered(&third));
    assert!(told.ends_with("(revoked)"), "{told}");
    let peers = get(second.address, "/api/peers", &[]).json();
    assert!(!peers["peers"].to_string().contains(&id), "{peers}");
    let registration = get(third.address, "/api/peers", &[]).json()["self"].to_string();
    let answer = post(second.address, "/api/peers", &registration);
    assert_eq!(answer.refusal(), (403, "members_only".to_owned()));
    assert!(
        !Value::from(held(third.address))
            .to_string()
            .contains("later")
    );
}

#[test]
fn a_revocation_is_not_undone_by_who_knows_nothing_of_it_and_by_no_later_invitation() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    let key = network.key();
    let admin = network.member(&dirs[0], &[], &["--network-key", &key]);
    let second = network.member(&dirs[1], &[&admin.url("")], &[]);
    network.join(&dirs[2], "1d");
    until_knows(admin.address, 1);
    network.revoke(&dirs[2]);
    until("it is heard", || {
        let told = get(second.address, "/api/p2p/revocations", &[]).json();
        told["revocations"][0].is_string().then_some(())
    });
    // A backup from before it comes back, and the node with the key starts with an empty storage.
    admin.stop();
    let text = fs::read_to_string(format!("{key}.revoked")).unwrap();
    fs::remove_file(format!("{key}.revoked")).unwrap();
    fs::remove_file(dirs[0].path().join("peer_storage/revoked")).unwrap();
    let url = second.url("");
    let admin = member(&dirs[0], &[&url], &["--network-key", &key]);
    until("it hears of it from others", || {
        let told = get(admin.address, "/api/p2p/revocations", &[]).json();
        (told["revocations"][0] == text.trim()).then_some(())
    });
    let revoked = member(&dirs[2], &[&url, &admin.url("")], &[]);
    until("it is refused by both", || {
        let status = get(revoked.address, "/api/p2p/status", &[]).json();
        let told = status["unanswered"].as_array()?.iter();
        let told = told.filter(|it| it["reason"].to_string().contains("(revoked)"));
        (told.count() == 2).then_some(())
    });
    // Nor is the key invited again by mistake.
    fs::write(format!("{key}.revoked"), text).unwrap();
    let own = printed(dirs[2].path(), &["key"]);
    let mut command = larder(Path::new(&key).parent().unwrap());
    let output = command.args(["network", "invite", "key", &own]).output();
    let output = output.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("(revoked)"), "{told}");
}

#[test]
fn a_revocation_that_one_member_is_given_reaches_the_others_and_nothing_else_is_taken() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    let first = network.member(&dirs[0], &[], &[]);
    let url = first.url("");
    let [second, third] = [1, 2].map(|it| network.member(&dirs[it], &[&url], &[]));
    uploaded(third.address, "secret", b"x");
    until_sees(first.address, &["secret"]);
    let (id, revocation) = (peer_id(third.address), network.revoke(&dirs[2]));
    let other = Network::new();
    other.join(&tempfile::tempdir().unwrap(), "1d");
    let foreign = other.revoke(&dirs[1]);
    let forged = revocation.replace(
        &printed(dirs[2].path(), &["key"]),
        &printed(dirs[0].path(), &["key"]),
    );
    for (wrong, code) in [
        (foreign.as_str(), "other_network"),
        (&forged, "wrong_signature"),
        ("nothing", "no_certificate"),
    ] {
        let mut command = larder(dirs[1].path());
        let output = command.args(["network", "take", "member", wrong]).output();
        let output = output.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(&format!("({code})")), "{told}");
    }
    printed(dirs[1].path(), &["take", "member", &revocation]);
    for node in [&first, &second] {
        until_forgot(node.address, &id, "secret");
    }
}

#[test]
fn members_are_renewed_before_they_expire_unless_they_were_invited_once() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    for dir in &dirs[..2] {
        network.join(dir, "4s");
    }
    network.join_by(&dirs[2], &["--for", "4s", "--once"]);
    let first = dirs.each_ref().map(|it| end(&it.path().join("member")));
    let key = network.key();
    let admin = member(&dirs[0], &[], &["--network-key", &key]);
    let [renewed, once] = [1, 2].map(|it| member(&dirs[it], &[&admin.url("")], &[]));
    uploaded(admin.address, "before", b"x");
    until_sees(renewed.address, &["before"]);
    until("the one that is not renewed has expired", || {
        unanswered(&once).filter(|it| it.contains("(expired)"))
    });
    let told = commands::done(dirs[0].path(), &admin.url(""), &["peers"]);
    let expired = told.lines().filter(|it| it.contains("  expired  "));
    assert_eq!(expired.count(), 1, "{told}");
    uploaded(admin.address, "after", b"y");
    uploaded(renewed.address, "back", b"z");
    until_sees(renewed.address, &["before", "after", "back"]);
    until_sees(admin.address, &["before", "after", "back"]);
    assert!(
        !Value::from(held(once.address))
            .to_string()
            .contains("after")
    );
    for it in [0, 1] {
        assert!(end(&dirs[it].path().join("member")) > first[it], "{it}");
    }
    assert_eq!(end(&dirs[2].path().join("member")), first[2]);
}

#[test]
fn until_when_others_are_members_is_told_by_the_interface_the_command_and_the_metrics() {
    let (network, dirs) = (Network::new(), dirs::<3>());
    let node = network.member(&dirs[0], &[], &[]);
    let _other = network.member(&dirs[1], &[&node.url("")], &[]);
    until_knows(node.address, 1);
    let peers = get(node.address, "/api/peers", &[]).json();
    let [own, other] = [0, 1].map(|it| end(&dirs[it].path().join("member")));
    let moment =
        |seconds: &str| chrono::DateTime::from_timestamp(seconds.parse().unwrap(), 0).unwrap();
    for (peer, seconds) in [(&peers["self"], &own), (&peers["peers"][0], &other)] {
        assert_eq!(peer["member"]["rights"], "exchange");
        let text = moment(seconds).format("%Y-%m-%dT%H:%M:%S").to_string();
        assert_eq!(peer["member"]["expires"], text, "{peer}");
    }
    let mut command = larder(dirs[2].path());
    let output = command
        .args(["peers", "--node", &node.url("")])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let day = moment(&other).format("  until %Y-%m-%d").to_string();
    assert!(told.contains("  member  ") && told.contains(&day), "{told}");
    let metrics = |line: &str| {
        let page = String::from_utf8(get(node.address, "/metrics", &[]).body).unwrap();
        page.lines().any(|it| it == line)
    };
    let line = format!("larder_membership_expires_timestamp_seconds {own}");
    assert!(metrics(&line), "{line}");
    assert!(metrics("larder_revoked_members 0"));
    network.join(&dirs[2], "1d");
    let revocation = network.revoke(&dirs[2]);
    printed(dirs[0].path(), &["take", "member", &revocation]);
    until("the revocation counts", || {
        metrics("larder_revoked_members 1").then_some(())
    });
}

#[test]
fn a_member_that_was_away_for_too_long_is_told_so_and_comes_back_by_an_invitation() {
    let (network, dirs) = (Network::new(), dirs::<2>());
    let key = network.key();
    let admin = network.member(&dirs[0], &[], &["--network-key", &key]);
    network.join(&dirs[1], "4s");
    until("it has expired", || {
        network.members().contains("  expired").then_some(())
    });
    let away = member(&dirs[1], &[&admin.url("")], &[]);
    let told = until("it is refused", || unanswered(&away));
    assert!(told.contains("(expired)"), "{told}");
    let told = "without the node that renews it for longer than its certificate lasts";
    until("that is told", || away.log().contains(told).then_some(()));
    network.join(&dirs[1], "1d");
    away.signal(Signal::HUP);
    until_knows(admin.address, 1);
}

#[test]
fn a_node_gets_the_key_of_no_other_network_and_only_as_a_member() {
    let (network, dirs) = (Network::new(), dirs::<1>());
    network.join(&dirs[0], "1d");
    let (own, other) = (network.key(), Network::new());
    for (arguments, told) in [
        (
            &["--network", "member", "--network-key", &other.key()][..],
            "--network-key has the key of another network",
        ),
        (
            &["--network-key", &own],
            "it needs --network: a node with the key",
        ),
        (
            &["--network", "member", "--network-key", "member"],
            "is not the key of a network",
        ),
    ] {
        let output = larder(dirs[0].path()).args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_revocation_reaches_twenty_five_members_within_three_periods() {
    const PERIOD: Duration = Duration::from_secs(5);
    let (network, dirs) = (Network::new(), dirs::<25>());
    let start = |dir: &TempDir, more: [&str; 2]| {
        network.join(dir, "1d");
        let usual = ["--network", "member", "--discover-every", "5"];
        Node::start(dir, &[&usual[..], &more].concat())
    };
    let mut nodes = vec![start(&dirs[0], ["--network-key", &network.key()])];
    let url = nodes[0].url("");
    nodes.extend(dirs[1..].iter().map(|it| start(it, ["--peer", &url])));
    let revoked = nodes.pop().unwrap();
    for node in nodes.iter().chain([&revoked]) {
        until_knows(node.address, 24);
    }
    let id = peer_id(revoked.address);
    network.revoke(&dirs[24]);
    let began = Instant::now();
    for node in &nodes {
        until("it is forgotten", || {
            let peers = get(node.address, "/api/peers", &[]).json();
            let knows = peers["peers"].to_string().contains(&id);
            (!knows).then_some(())
        });
    }
    let periods = began.elapsed().as_secs_f64() / PERIOD.as_secs_f64();
    println!("{periods:.1} periods");
    assert!(periods <= 3.0, "{periods}");
}
