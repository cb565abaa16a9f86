//! Files of other nodes, served through one that does not hold them: the real binary, in
//! processes of their own, with cables between them that are cut.

use std::net::SocketAddr;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send, until_the_end};
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;

/// A node in a directory of its own.
struct Here {
    node: Node,
    _dir: TempDir,
}

fn start(arguments: &[&str]) -> Here {
    start_every("1", arguments)
}

/// A node that asks so often what others hold.
fn start_every(seconds: &str, arguments: &[&str]) -> Here {
    let dir = tempfile::tempdir().unwrap();
    let usual = ["--discover-every", seconds, "--peer-stall", "1"];
    let arguments = [&usual, arguments].concat();
    Here {
        node: Node::start(&dir, &arguments),
        _dir: dir,
    }
}

/// A node that others reach over a cable.
fn start_behind(relay: &Relay) -> Here {
    let here = start(&["--base-url", &relay.url()]);
    relay.connect(here.node.address);
    here
}

/// A node that knows those behind these cables.
fn start_with_peers(relays: &[&Relay]) -> Here {
    let urls: Vec<_> = relays.iter().map(|relay| relay.url()).collect();
    let here = start(&["--peer", &urls.join(",")]);
    until_knows(&here, relays.len());
    here
}

fn until_knows(here: &Here, peers: usize) {
    until("the peers are met", || {
        let status = get(here.node.address, "/api/p2p/status", &[]).json();
        (status["peers_discovered"] == peers).then_some(())
    });
}

fn id(address: SocketAddr) -> String {
    let peers = get(address, "/api/peers", &[]).json();
    peers["self"]["peer_id"].as_str().unwrap().to_owned()
}

/// Waits until `node` knows that so many peers hold this content.
fn until_held(node: SocketAddr, hash: &Value, peers: usize) {
    until("the content is known", || {
        let held = get(node, "/api/p2p/network", &[]).json();
        let mut files = held["files"].as_array().unwrap().iter();
        let file = files.find(|file| file["hash"] == *hash)?;
        (file["peers"].as_array().unwrap().len() == peers).then_some(())
    });
}

#[test]
fn a_file_of_another_node_is_served_as_that_node_serves_it() {
    let cable = Relay::new();
    let holder = start_behind(&cable);
    let other = start_with_peers(&[&cable]);
    let (from, by) = (holder.node.address, other.node.address);
    let bytes = content(1, 3 * MIB + 17);
    let file = uploaded(from, "big file.txt", &bytes);
    let empty = uploaded(from, "empty", b"");
    until_held(by, &file["hash"], 1);
    until_held(by, &empty["hash"], 1);
    let file_id = file["file_id"].as_str().unwrap();
    let target = |file: &str| format!("/api/p2p/download/{}/{file}", id(from));

    let etag = format!("\"{}\"", file["hash"].as_str().unwrap());
    for headers in [
        &[][..],
        &["Range: bytes=1000000-2999999"],
        &["Range: bytes=-1"],
        &["Range: bytes=0-9,3000000-3000009"],
        &["Range: bytes=99999999-"],
        &[&format!("If-None-Match: {etag}")],
        &["If-Match: \"other\""],
    ] {
        let direct = get(from, &target(file_id), headers);
        let through = get(by, &target(file_id), headers);
        assert_eq!(through.status, direct.status, "{headers:?}");
        for name in [
            "accept-ranges",
            "content-disposition",
            "content-length",
            "content-range",
            "etag",
        ] {
            assert_eq!(through.header(name), direct.header(name), "{name}");
        }
        let boundary = |it: &str| it.split("boundary=").next().unwrap().to_owned();
        let types = [&through, &direct].map(|it| boundary(it.header("content-type")));
        assert_eq!(types[0], types[1]);
        if !headers.contains(&"Range: bytes=0-9,3000000-3000009") {
            assert_eq!(through.body, direct.body, "{headers:?}");
        }
    }
    let whole = get(by, &target(file_id), &[]);
    assert_eq!(whole.header("larder-verified"), "yes");
    assert_eq!(whole.body, bytes);
    assert_eq!(get(by, &target("big%20file.txt"), &[]).body, bytes);
    assert_eq!(get(by, &target("empty"), &[]).body, b"");
    let blob = format!("/api/p2p/blob/{}", file["hash"].as_str().unwrap());
    assert_eq!(get(by, &blob, &[]).body, bytes);
    let head = send(by, &head("HEAD", &target(file_id), &[]));
    assert_eq!(head.header("content-length"), bytes.len().to_string());
}

#[test]
fn what_nobody_holds_is_not_found() {
    let cable = Relay::new();
    let holder = start_behind(&cable);
    let other = start_with_peers(&[&cable]);
    let by = other.node.address;
    let nobody = "123e4567-e89b-42d3-a456-426614174000";
    let holder = id(holder.node.address);
    for (target, code) in [
        (format!("download/{nobody}/{nobody}"), "unknown_peer"),
        (format!("download/nobody/{nobody}"), "unknown_peer"),
        (format!("download/{holder}/{nobody}"), "unknown_file"),
        (format!("download/{holder}/name"), "unknown_file"),
        (format!("blob/{}", "0".repeat(64)), "unknown_blob"),
    ] {
        // As long as it has yet to ask the holder, it says that.
        let answer = until("it has asked", || {
            let answer = get(by, &format!("/api/p2p/{target}"), &[]);
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.refusal(), (404, code.to_owned()), "{target}");
    }
}

#[test]
fn a_file_is_found_before_its_peer_has_told_of_it() {
    let cables = [Relay::new(), Relay::new()];
    let holder = start_behind(&cables[0]);
    // Announcements do not arrive here, and it does not ask again for an hour.
    cables[1].cut_after(0);
    let (here, there) = (cables[1].url(), cables[0].url());
    let other = start_every("3600", &["--base-url", &here, "--peer", &there]);
    until("it has asked", || {
        let log = holder.node.log();
        log.contains("path=\"/api/p2p/files\"").then_some(())
    });
    let file = uploaded(holder.node.address, "new", b"content");
    let (peer, file) = (id(holder.node.address), file["file_id"].as_str().unwrap());
    let target = format!("/api/p2p/download/{peer}/{file}");
    assert_eq!(get(other.node.address, &target, &[]).body, b"content");
    let held = get(other.node.address, "/api/p2p/network", &[]).json();
    assert_eq!(held["file_count"], 0);
}

/// Two peers hold the same; the one that is asked first fails in the middle.
fn fail_over(fail: impl FnOnce(&Relay)) {
    let cables = [Relay::new(), Relay::new()];
    let holders = cables.each_ref().map(start_behind);
    let other = start_with_peers(&[&cables[0], &cables[1]]);
    let bytes = content(2, 16 * MIB);
    let upload = |it: &Here| uploaded(it.node.address, "same", &bytes);
    let files = holders.each_ref().map(upload);
    until_held(other.node.address, &files[0]["hash"], 2);
    let peer = id(holders[0].node.address);
    let file = files[0]["file_id"].as_str().unwrap();
    let before = cables.each_ref().map(Relay::carried);
    fail(&cables[0]);
    let target = format!("/api/p2p/download/{peer}/{file}");
    let answer = get(other.node.address, &target, &[]);
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    let [first, second] = [0, 1].map(|at| cables[at].carried() - before[at]);
    assert!(first > 0 && second > 10 << 20, "{first}, {second}");
    // Only what was missing came from the second one, and what both were asked for at the end.
    assert!(first + second < 22 << 20, "{first}, {second}");
}

/// Has a node download what those behind these cables hold, and tells how much each has carried.
fn downloaded<const N: usize>(cables: &[Relay; N], mib: usize, slow: impl Fn(&Relay)) -> [u64; N] {
    let holders = cables.each_ref().map(start_behind);
    let other = start_with_peers(&cables.each_ref());
    let bytes = content(7, mib * MIB);
    let upload = |it: &Here| uploaded(it.node.address, "same", &bytes)["hash"].clone();
    let hashes = holders.each_ref().map(upload);
    until_held(other.node.address, &hashes[0], N);
    let before = cables.each_ref().map(Relay::carried);
    cables.iter().for_each(slow);
    let target = format!("/api/p2p/blob/{}", hashes[0].as_str().unwrap());
    let answer = get(other.node.address, &target, &[]);
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    std::array::from_fn(|at| cables[at].carried() - before[at])
}

#[test]
fn one_long_download_comes_from_all_that_hold_it() {
    let cables = [(); 3].map(|()| Relay::new());
    let carried = downloaded(&cables, 24, |it| it.slow_to(2 << 20));
    assert!(carried.iter().all(|it| *it > 3 << 20), "{carried:?}");
    // Windows that two were asked for are few.
    assert!(carried.iter().sum::<u64>() < 32 << 20, "{carried:?}");
}

#[test]
fn a_far_slower_holder_brings_no_more_than_a_try_of_a_long_download() {
    let cables = [(); 3].map(|()| Relay::new());
    let slow = cables[1].url();
    let carried = downloaded(&cables, 32, |it| {
        it.slow_to(if it.url() == slow { 64 << 10 } else { 4 << 20 });
    });
    assert!(carried[1] < 2 << 20, "{carried:?}");
    // Which of the others brings more is for the machine to say.
    assert!(carried[0] > 3 << 20 && carried[2] > 3 << 20, "{carried:?}");
}

#[test]
fn another_peer_goes_on_where_one_breaks_off() {
    fail_over(|cable| cable.cut_after(5 << 20));
}

#[test]
fn another_peer_goes_on_where_one_falls_silent() {
    fail_over(|cable| cable.stall_after(5 << 20));
}

#[test]
fn a_client_sees_an_error_when_nobody_is_left() {
    let cable = Relay::new();
    let holder = start_behind(&cable);
    let other = start_with_peers(&[&cable]);
    let by = other.node.address;
    let bytes = content(3, 16 * MIB);
    let file = uploaded(holder.node.address, "file", &bytes);
    until_held(by, &file["hash"], 1);
    let file_id = file["file_id"].as_str().unwrap();
    let target = format!("/api/p2p/download/{}/{file_id}", id(holder.node.address));

    cable.cut_after(5 << 20);
    let (status, body) = until_the_end(by, &target);
    assert_eq!(status, 200);
    assert!(
        body.len() < bytes.len() && bytes.starts_with(&body),
        "{}",
        body.len()
    );

    let answer = get(by, &target, &[]);
    assert_eq!(answer.refusal(), (502, "peer_failed".to_owned()));
    cable.stall_after(0);
    let answer = get(by, &target, &[]);
    assert_eq!(answer.refusal(), (504, "peer_timeout".to_owned()));
    cable.mend();
    assert_eq!(get(by, &target, &[]).body, bytes);
}

#[test]
fn what_a_peer_may_hold_that_was_not_asked_yet_is_not_called_unknown_after_a_start() {
    let cable = Relay::new();
    let holder = start_behind(&cable);
    let bytes = content(40, MIB);
    let file = uploaded(holder.node.address, "file", &bytes);
    let (id, hash) = (&file["file_id"], &file["hash"]);
    let targets = [
        format!("/api/p2p/file/{}", id.as_str().unwrap()),
        format!("/api/p2p/blob/{}", hash.as_str().unwrap()),
    ];
    cable.hold_after(0);
    let by = start(&["--peer", &cable.url()]);
    for target in &targets {
        let answer = get(by.node.address, target, &[]);
        assert_eq!(
            answer.refusal(),
            (503, "unavailable".to_owned()),
            "{target}"
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
    cable.mend();
    for target in &targets {
        until("it is found", || {
            let answer = get(by.node.address, target, &[]);
            assert_ne!(answer.status, 404, "{target}");
            (answer.status == 200).then(|| assert!(answer.body == bytes))
        });
    }
    let unknown = format!("/api/p2p/blob/{}", "ab".repeat(32));
    assert_eq!(get(by.node.address, &unknown, &[]).status, 404);
}
