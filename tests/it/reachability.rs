//! What the network tells of itself: who is not reached learns so, who stops says so, and
//! files of those that do not answer are shown as that.

use std::path::Path;
use std::time::Instant;

use larder::peer::identity::Identity;
use larder::peer::registration::Registration;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::all_members::are_all_members;
use crate::common::canned::{Canned, Reply};
use crate::common::clock::ShiftedClock;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie};
use crate::common::peers::{held, peer_id, post, reaches, until_held, until_knows};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::recorder::Recorder;

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let usual = ["--discover-every", "1"];
    let node = Node::start(&dir, &[&usual, arguments].concat());
    (dir, node)
}

/// Waits until the node's status says this of how it is reached.
fn until_reachable(node: &Node, reachable: &Value) {
    until("the node learns it", || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        (status["reachable"] == *reachable).then_some(())
    });
}

/// Whether a node has reached a peer, as it tells others.
fn answering(node: &Node, id: &str) -> bool {
    if are_all_members() {
        // It tells them alone.
        return reaches(node.address, id);
    }
    let told = post(node.address, "/api/peers", &nobody()).json();
    let peers = told["peers"].as_array().unwrap().clone();
    peers.iter().any(|it| it["peer_id"] == id)
}

fn nobody() -> String {
    json!({ "peer_id": "00000000-0000-4000-8000-000000000000", "address": "http://127.0.0.1:1",
        "timestamp": "" })
    .to_string()
}

#[test]
fn a_node_that_nobody_reaches_learns_so_and_says_so() {
    let (_dir, node) = start(&[]);
    let elsewhere = ["--base-url", "http://127.0.0.1:1", "--peer", &node.url("")];
    let (dir, alone) = start(&elsewhere);
    until_reachable(&alone, &json!(false));
    let ready = get(alone.address, "/ready", &[]);
    assert_eq!(
        (ready.status, &ready.json()["reachable"]),
        (200, &json!(false))
    );
    let warnings = || {
        let log = alone.log();
        let warnings = log.lines().filter(|it| it.contains(" WARN "));
        warnings.filter(|it| it.contains("no peer reaches")).count()
    };
    assert_eq!(warnings(), 1);
    let asked = alone.log().matches("GET").count();
    let mut status = larder(dir.path());
    status.args(["status", "--node", &format!("http://{}", alone.address)]);
    let told = String::from_utf8(status.output().unwrap().stdout).unwrap();
    assert!(told.contains("none of which reaches this node"), "{told}");
    // What it announces is told to be ignored.
    let announced = json!({ "file_id": "01a20901-8f39-748f-bc00-022fbed4dd21", "size": 1,
        "original_name": "a", "peer_id": "123e4567-e89b-42d3-a456-426614174000",
        "uploaded_at": "2026-01-21T10:00:00" });
    let told = post(node.address, "/api/p2p/announce", &announced.to_string()).json();
    assert_eq!(
        (&told["kept"], &told["ignored"]),
        (&json!(false), &json!(true))
    );
    until("it has asked on", || {
        let more = alone.log().matches("GET").count() > asked;
        more.then_some(())
    });
    assert_eq!(warnings(), 1);
}

#[test]
fn a_node_that_peers_reach_knows_it_whoever_introduced_them() {
    let (_server, server) = {
        let dir = tempfile::tempdir().unwrap();
        let server = Node::start(&dir, &["bootstrap", "--listen", "127.0.0.1:0"]);
        (dir, server)
    };
    let url = format!("http://{}", server.address);
    let nodes = [(); 2].map(|()| start(&["--bootstrap", &url]));
    for (_, node) in &nodes {
        until_reachable(node, &json!(true));
        let ready = get(node.address, "/ready", &[]).json();
        assert_eq!(ready["reachable"], true);
        assert!(!node.log().contains("no peer reaches"));
    }
}

#[test]
fn a_clean_stop_says_goodbye_and_files_of_who_is_gone_are_told_as_not_reachable() {
    let (_server, server) = {
        let dir = tempfile::tempdir().unwrap();
        let server = Node::start(&dir, &["bootstrap", "--listen", "127.0.0.1:0"]);
        (dir, server)
    };
    let url = format!("http://{}", server.address);
    // It asks so seldom that it does not find out by itself.
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let stays = Node::start(&dirs[0], &["--discover-every", "3600", "--bootstrap", &url]);
    let arguments = [
        "--discover-every",
        "1",
        "--bootstrap",
        &url,
        "--peer",
        &stays.url(""),
    ];
    let goes = Node::start(&dirs[1], &arguments);
    let (id, other) = (peer_id(goes.address), peer_id(stays.address));
    until("they know each other", || {
        (answering(&stays, &id) && answering(&goes, &other)).then_some(())
    });
    let file = uploaded(goes.address, "a", b"x");
    until_held(stays.address, &file["hash"], 1);
    let row = || held(stays.address)[0].clone();
    until("it answers", || answering(&stays, &id).then_some(()));
    assert_eq!(row()["reachable"], true);
    assert_eq!(row()["reachable_peers"], json!([id]));
    goes.stop();
    assert!(!answering(&stays, &id));
    assert_eq!(row()["reachable"], false);
    assert_eq!(
        (&row()["peers"], &row()["reachable_peers"]),
        (&json!([id]), &json!([]))
    );
    let registered = get(server.address, "/peers", &[]).json()["peers"].to_string();
    assert!(!registered.contains(&id), "{registered}");
    assert!(registered.contains(&peer_id(stays.address)), "{registered}");
    let mut ls = larder(dirs[0].path());
    ls.args([
        "ls",
        "--network",
        "--node",
        &format!("http://{}", stays.address),
    ]);
    let told = String::from_utf8(ls.output().unwrap().stdout).unwrap();
    assert!(told.contains("   0 nodes  "), "{told}");
    assert!(told.ends_with("  (not reachable now)\n"), "{told}");
    // It returns, and is there again.
    let back = Node::start(&dirs[1], &arguments);
    until("it answers again", || answering(&stays, &id).then_some(()));
    assert_eq!(peer_id(back.address), id);
    until("its file can be had", || {
        (row()["reachable"] == true).then_some(())
    });
}

#[test]
fn files_of_a_peer_that_was_killed_are_told_as_not_reachable() {
    let (dir, stays) = start(&[]);
    let (_other, killed) = start(&["--peer", &stays.url("")]);
    let file = uploaded(killed.address, "a", b"x");
    until_held(stays.address, &file["hash"], 1);
    killed.kill();
    until("it is missed", || {
        (held(stays.address)[0]["reachable"] == false).then_some(())
    });
    let status = get(stays.address, "/api/p2p/status", &[]).json();
    assert_eq!(
        (&status["peers_discovered"], &status["peers_reachable"]),
        (&json!(1), &json!(0))
    );
    let peers = get(stays.address, "/api/peers", &[]).json();
    assert_eq!(peers["peers"][0]["reachable"], false);
    assert!(peers["self"].get("reachable").is_none());
    for (command, line) in [
        ("status", "1 peer, none of which answers\n"),
        ("peers", "  not reachable now\n"),
    ] {
        let told = told_by(&stays, dir.path(), command);
        assert!(told.contains(line), "{told}");
    }
}

/// What a command prints of a node.
fn told_by(node: &Node, dir: &Path, command: &str) -> String {
    let mut larder = larder(dir);
    larder.args([command, "--node", &format!("http://{}", node.address)]);
    String::from_utf8(larder.output().unwrap().stdout).unwrap()
}

#[test]
fn a_node_that_restarts_is_not_told_unreachable_by_tries_from_before() {
    let (_first, first) = start(&[]);
    let named = ["--peer", &first.url("")];
    let (_second, second) = start(&named);
    let (dir, restarted) = start(&[&named[..], &["--peer", &second.url("")]].concat());
    let (id, address) = (peer_id(restarted.address), restarted.address.to_string());
    for node in [&first, &second] {
        until("it answers", || answering(node, &id).then_some(()));
    }
    restarted.kill();
    for node in [&first, &second] {
        until("it is missed", || (!answering(node, &id)).then_some(()));
    }
    let urls = [first.url(""), second.url("")];
    let arguments = [
        "--discover-every",
        "1",
        "--listen",
        &address,
        "--peer",
        &urls[0],
        "--peer",
        &urls[1],
    ];
    let restarted = Node::start(&dir, &arguments);
    until("it learns that it is reached", || {
        let status = get(restarted.address, "/api/p2p/status", &[]).json();
        assert_ne!(status["reachable"], false);
        (status["reachable"] == true).then_some(())
    });
    assert!(!restarted.log().contains("no peer reaches"));
}

#[test]
fn a_goodbye_that_is_repeated_keeps_nobody_away() {
    let (_dir, node) = start(&[]);
    let (identity, listener) = (Identity::generate().unwrap(), Recorder::start("x"));
    let address = listener.url().parse().unwrap();
    let goodbye = Registration::goodbye(&identity, &address);
    // A second passes, as registrations tell no less.
    let later = until("a later second", || {
        let registration = Registration::of_self(&identity, &address);
        (registration.timestamp > goodbye.timestamp).then_some(registration)
    });
    let tell = |it: &Registration| post(node.address, "/api/peers?limit=0", &json!(it).to_string());
    assert_eq!(tell(&later).json()["introduced"], "new");
    assert_eq!(tell(&goodbye).json()["introduced"], "known");
    let network = |id: &str| {
        let peers = get(node.address, "/api/peers", &[]).json();
        let mut peers = peers["peers"].as_array().unwrap().clone().into_iter();
        peers.find(|it| it["peer_id"] == id)
    };
    let known = network(&identity.peer_id().to_string()).unwrap();
    assert_eq!(known["timestamp"], later.timestamp);
    // Nobody says goodbye for another, nor for one that signs nothing.
    let mut forged = goodbye;
    forged.timestamp = later.timestamp;
    assert_eq!(tell(&forged).refusal().0, 400);
    let unsigned = json!({ "peer_id": "123e4567-e89b-42d3-a456-426614174000",
        "address": "http://127.0.0.1:1", "timestamp": "", "leaving": true });
    let refused = post(node.address, "/api/peers", &unsigned.to_string());
    assert_eq!(refused.refusal(), (400, "bad_registration".to_owned()));
}

#[test]
fn who_comes_back_in_the_second_of_its_goodbye_is_there() {
    // It asks nobody by itself as long as the test lasts.
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "3600"]);
    let peer = Liar::start(&[], Lie::TRUTH);
    let (registration, goodbye) = until("both are of one second", || {
        let (registration, goodbye) = (peer.registration(), peer.goodbye());
        let told: Value = serde_json::from_str(&registration).unwrap();
        let second = told["timestamp"].as_str().unwrap();
        goodbye
            .timestamp
            .starts_with(second)
            .then_some((registration, goodbye))
    });
    let tell = |it: &str| post(node.address, "/api/peers?limit=0", it).json()["introduced"].clone();
    assert_eq!(tell(&registration), "new");
    until("it answers", || answering(&node, &peer.id()).then_some(()));
    let goodbye = json!(goodbye).to_string();
    assert_eq!(tell(&goodbye), "left");
    assert!(!answering(&node, &peer.id()));
    // The very same registration, since it tells no part of a second.
    assert_eq!(tell(&registration), "known");
    until("it answers again", || {
        answering(&node, &peer.id()).then_some(())
    });
    // Whoever repeats the goodbye changes nothing, and is told so.
    assert_eq!(tell(&goodbye), "known");
    assert!(answering(&node, &peer.id()));
}

#[test]
fn a_peer_that_comes_and_goes_fills_no_log() {
    const TURNS: usize = 45;
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--discover-every", "3600"]);
    let peer = Liar::start(&[], Lie::TRUTH);
    let tell = |it: &str| post(node.address, "/api/peers?limit=0", it);
    let began = Instant::now();
    for _ in 0..TURNS {
        until("it has come", || {
            tell(&peer.registration());
            answering(&node, &peer.id()).then_some(())
        });
        until("it has gone", || {
            tell(&json!(peer.goodbye()).to_string());
            (!answering(&node, &peer.id())).then_some(())
        });
    }
    let log = node.log();
    for line in ["a peer answers", "a peer has said goodbye"] {
        // So many in each minute that has begun.
        let minutes = usize::try_from(began.elapsed().as_secs() / 60).unwrap();
        let most = 30 * (minutes + 1);
        let lines = log.matches(line).count();
        assert!(
            (1..=most.min(TURNS - 1)).contains(&lines),
            "{line}: {lines}"
        );
    }
}

#[test]
fn a_stop_waits_for_nobody_who_does_not_hear_the_goodbye() {
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let deaf = Canned::start(move |_, request| {
        if request.starts_with("GET /api/p2p/files") {
            return Reply::Json(json!({ "peer_id": id, "files": [] }).to_string());
        }
        Reply::Silence
    });
    let (_dir, node) = start(&["--shutdown-grace", "3600"]);
    let message = json!({ "peer_id": id, "address": deaf.url(), "timestamp": "" });
    post(node.address, "/api/peers", &message.to_string());
    until("it answers", || answering(&node, id).then_some(()));
    // Waited for with a deadline far below the silence.
    node.stop();
    assert!(
        deaf.asked()
            .iter()
            .any(|it| it.starts_with("POST /api/peers"))
    );
}

#[test]
fn a_node_whose_clock_is_wrong_is_told_by_how_much_once() {
    let (_dir, node) = start(&[]);
    for (shift, ahead) in [
        ("90000", "seconds_ahead=9000"),
        ("-90000", "seconds_ahead=-8999"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = larder(dir.path());
        ShiftedClock::new(&dir, shift).rules(&mut command);
        command.args(["--discover-every", "1", "--peer", &node.url("")]);
        let wrong = Node::spawn(&dir, command);
        let asked = || node.log().matches("path=\"/api/peers\"").count();
        let before = asked();
        until("it has come for periods", || {
            (asked() >= before + 6).then_some(())
        });
        let log = wrong.log();
        let warnings = log
            .lines()
            .filter(|it| it.contains("clock of this machine"));
        let warnings: Vec<_> = warnings.collect();
        assert_eq!(warnings.len(), 1, "{log}");
        assert!(warnings[0].contains(" WARN "), "{}", warnings[0]);
        // A second more or less may have passed.
        assert!(
            warnings[0].contains(&ahead[..ahead.len() - 1]),
            "{}",
            warnings[0]
        );
        let refused = if shift.starts_with('-') {
            "false"
        } else {
            "true"
        };
        assert!(
            warnings[0].contains(&format!("refused={refused}")),
            "{}",
            warnings[0]
        );
        assert!(!log.contains("met a peer"));
        wrong.signal(Signal::TERM);
    }
    assert!(!node.log().contains("panicked"));
    until_knows(node.address, 1);
}

#[test]
fn a_node_that_has_moved_tells_every_peer_that_it_talks_with_where_it_is() {
    let (_dir, knows_it) = start(&[]);
    let (dir, moving) = start(&["--peer", &knows_it.url("")]);
    let (id, known) = (peer_id(moving.address), peer_id(knows_it.address));
    until("both know each other", || {
        let written = std::fs::read_to_string(dir.path().join("peer_storage/known-peers")).ok()?;
        (written.contains(&known) && reaches(knows_it.address, &id)).then_some(())
    });
    let before = moving.address;
    moving.kill();
    // Whoever it asks now says at once that it is reached, so that it does not have to find out.
    let new = Canned::start(|_, _| {
        let you = json!({ "reachable": true, "tried_ms_ago": 1 });
        Reply::Json(json!({ "peers": [], "you": you }).to_string())
    });
    let moved = Node::start(&dir, &["--discover-every", "1", "--peer", &new.url()]);
    assert_ne!(moved.address, before);
    let there = format!(":{}", moved.address.port());
    until("it is found where it is", || {
        let peers = get(knows_it.address, "/api/peers", &[]).json();
        let mut peers = peers["peers"].as_array().unwrap().iter();
        let it = peers.find(|it| it["peer_id"] == *id)?;
        let is_there = it["address"].as_str().unwrap().ends_with(&there);
        (is_there && it["reachable"] == true).then_some(())
    });
}
