//! Clocks that are wrong, and clocks that jump.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

use crate::common::clock::ShiftedClock;
use crate::common::content::content;
use crate::common::forms::{file, form, upload_request, uploaded};
use crate::common::peers::{peer_id, reaches, until_sees};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{connect, get, head, send};
use crate::common::recorder::Recorder;
use crate::common::tus;

/// So far back that it is before 1970.
const BEFORE_1970: &str = "-4000000000";
/// Ten years, in seconds.
const TEN_YEARS: &str = "315360000";
const TEN_YEARS_BACK: &str = "-315360000";

fn ruled(dir: &TempDir, clock: &ShiftedClock) -> Command {
    let mut command = larder(dir.path());
    clock.rules(&mut command);
    command
}

#[test]
fn a_clock_before_1970_is_named_where_it_stops_anything_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ShiftedClock::new(&dir, BEFORE_1970);
    let refuses = |arguments: &[&str]| {
        let output = ruled(&dir, &clock).args(arguments).output().unwrap();
        // A check tells on standard output what it could not check, and goes on.
        let told = [output.stderr, output.stdout].concat();
        let told = String::from_utf8(told).unwrap();
        assert!(!output.status.success(), "{arguments:?}: {told}");
        assert!(told.contains("before 1970"), "{arguments:?}: {told}");
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    };
    refuses(&[]);
    refuses(&["bootstrap", "--listen", "127.0.0.1:0"]);
    clock.set("0");
    let node = Node::start(&dir, &[]);
    let id = uploaded(node.address, "a", b"a")["file_id"].clone();
    node.stop();
    clock.set(BEFORE_1970);
    for arguments in [&[][..], &["verify"], &["rebuild-index"]] {
        refuses(arguments);
    }
    let node = Node::start(&dir, &[]);
    let file = format!("/api/p2p/file/{}", id.as_str().unwrap());
    assert_eq!(get(node.address, &file, &[]).body, b"a");
}

#[test]
fn whatever_the_clock_does_ids_grow_and_uploads_wait_for_their_clients() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ShiftedClock::new(&dir, "0");
    let start = || Node::spawn(&dir, ruled(&dir, &clock));
    let mut node = start();
    let bytes = content(3, 200_000);
    let upload = tus::created(node.address, bytes.len());
    tus::patched(node.address, &upload, 0, &bytes[..100_000]);
    let mut last = String::new();
    for &shift in &JUMPS[2..] {
        clock.set(shift);
        if shift == BEFORE_1970 {
            // Answers cannot be dated then; whether this one comes at all does not matter.
            let form = form(&[file("made before 1970", b"x")]);
            let form = upload_request(&form, &["Connection: close"]);
            let mut stream = connect(node.address);
            stream.write_all(&form).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            continue;
        }
        for restarts in [false, true] {
            if restarts {
                node.stop();
                node = start();
            }
            assert_eq!(tus::offset(node.address, &upload), 100_000, "{shift}");
            let name = format!("{shift} {restarts}");
            let file = uploaded(node.address, &name, name.as_bytes());
            let id = file["file_id"].as_str().unwrap().to_owned();
            assert!(id > last, "{name}");
            let read = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
            assert_eq!(read.body, name.as_bytes());
            last = id;
        }
    }
    let ended = tus::patched(node.address, &upload, 100_000, &bytes[100_000..]);
    let file = format!("/api/p2p/file/{}", ended.header("larder-file-id"));
    assert!(get(node.address, &file, &[]).body == bytes);
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

#[test]
fn an_upload_from_a_time_to_come_waits_once_more_and_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let upload = tus::created(node.address, 100);
    tus::patched(node.address, &upload, 0, &[0; 50]);
    node.stop();
    let uploading = dir.path().join("peer_storage/uploading");
    let id = upload.rsplit('/').next().unwrap();
    let paths = [uploading.join(id), uploading.join(format!("{id}.state"))];
    let decades = Duration::from_hours(20 * 365 * 24);
    let now = SystemTime::now();
    for time in [now + decades, now - decades] {
        for path in &paths {
            fs::File::open(path).unwrap().set_modified(time).unwrap();
        }
        let before = SystemTime::now();
        let node = Node::start(&dir, &[]);
        assert_eq!(tus::offset(node.address, &upload), 50);
        node.stop();
        for path in &paths {
            let written = fs::metadata(path).unwrap().modified().unwrap();
            assert!(written + Duration::from_secs(1) > before);
            assert!(written < SystemTime::now() + Duration::from_secs(1));
        }
    }
}

/// Where a clock stands one after the other; twenty hours ahead peers take it for right yet.
const JUMPS: [&str; 8] = [
    "72000",
    "0",
    TEN_YEARS,
    TEN_YEARS_BACK,
    BEFORE_1970,
    "0",
    TEN_YEARS_BACK,
    TEN_YEARS,
];

/// Two nodes, of which the clock of one jumps, while it runs or while it is stopped; after each
/// jump both see exactly what both hold.
fn peers_see_each_other_wherever_a_clock_jumps(restarts: bool) {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let other = Node::start(&dirs[1], &["--discover-every", "1"]);
    let there = uploaded(other.address, "there", b"there");
    let clock = ShiftedClock::new(&dirs[0], "0");
    let start = |port: u16| {
        let mut command = ruled(&dirs[0], &clock);
        command.args(["--discover-every", "1", "--peer", &other.url("")]);
        command.env("PEER_PORT", port.to_string());
        Node::spawn(&dirs[0], command)
    };
    let mut node = start(0);
    let (id, port) = (peer_id(node.address), node.address.port());
    let mut last = uploaded(node.address, "0", b"0");
    until_sees(other.address, &["there", "0"]);
    for (number, shift) in JUMPS.into_iter().enumerate() {
        if shift == BEFORE_1970 && restarts {
            continue;
        }
        if restarts {
            node.stop();
            clock.set(shift);
            node = start(port);
        }
        clock.set(shift);
        if shift == BEFORE_1970 {
            // Answers cannot be dated then; it is found again once they can.
            continue;
        }
        let name = format!("after jump {number}");
        let new = uploaded(node.address, &name, name.as_bytes());
        removed(&node, &last, &[]);
        for seen_by in [other.address, node.address] {
            until_sees(seen_by, &["there", &name]);
        }
        for (by, file, bytes) in [
            (&other, &new, name.as_bytes()),
            (&node, &there, &b"there"[..]),
        ] {
            let hash = file["hash"].as_str().unwrap();
            let read = get(by.address, &format!("/api/p2p/blob/{hash}"), &[]);
            assert_eq!(read.body, bytes, "{shift}");
        }
        last = new;
    }
    clock.set("0");
    until("the peers reach each other", || {
        let there = peer_id(other.address);
        (reaches(other.address, &id) && reaches(node.address, &there)).then_some(())
    });
    assert!(!node.log().contains("panicked"), "{}", node.log());
}

/// Removes a file as its user does.
fn removed(node: &Node, file: &Value, lines: &[&str]) {
    let file = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let answer = send(node.address, &head("DELETE", &file, lines));
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn wherever_the_clock_of_a_running_node_jumps_its_peers_see_exactly_what_it_holds() {
    peers_see_each_other_wherever_a_clock_jumps(false);
}

#[test]
fn whatever_the_clock_says_at_a_start_its_peers_see_exactly_what_a_node_holds() {
    peers_see_each_other_wherever_a_clock_jumps(true);
}

#[test]
fn a_private_node_tells_nothing_whatever_the_clock_does() {
    let bearer = &["Authorization: Bearer 0123456789abcdef"][..];
    let dir = tempfile::tempdir().unwrap();
    let [named, server] = [(); 2].map(|()| Recorder::start(&Uuid::new_v4().to_string()));
    let clock = ShiftedClock::new(&dir, "0");
    let start = || {
        let mut command = ruled(&dir, &clock);
        command.args(["--discover-every", "1", "--private"]);
        command.args(["--token", "0123456789abcdef"]);
        command.args(["--peer", &named.url(), "--bootstrap", &server.url()]);
        Node::spawn(&dir, command)
    };
    let mut node = start();
    let mut hashes = Vec::new();
    for (number, shift) in JUMPS.into_iter().enumerate() {
        clock.set(shift);
        let asked = named.asked();
        until("it asks whom it may ask", || {
            (named.asked() >= asked + 2).then_some(())
        });
        if shift == BEFORE_1970 {
            continue;
        }
        // A peer whose time lies far ahead of its own is not taken in anew.
        if number % 2 == 1 && shift != TEN_YEARS_BACK {
            node.stop();
            node = start();
        }
        let form = form(&[file("minutes", shift.as_bytes())]);
        let file = send(node.address, &upload_request(&form, bearer)).json()["file"].clone();
        removed(&node, &file, bearer);
        hashes.push(file["hash"].as_str().unwrap().to_owned());
    }
    node.stop();
    let text = named.text();
    for secret in ["minutes", "POST"]
        .into_iter()
        .chain(hashes.iter().map(|it| &**it))
    {
        assert!(!text.contains(secret), "{secret} is told: {text}");
    }
    assert_eq!(server.connections(), Vec::<Vec<u8>>::new());
}
