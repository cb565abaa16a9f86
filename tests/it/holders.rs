//! Which of those that claim to hold a content are asked, and believed: silent ones delay
//! nobody, slow ones are left for fast ones, and no liar says how a copy is called.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::canned::{Canned, Reply};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::liar::{Liar, Lie, Sends};
use crate::common::peers::{held, post, until_held, until_knows};
use crate::common::process::{Node, until};
use crate::common::raw_http::{connect, get, head};
use crate::common::relay::Relay;

const MIB: usize = 1 << 20;

/// Nothing here may wait for anything to be given up.
const USUAL: [&str; 4] = ["--discover-every", "1", "--peer-stall", "3600"];

fn start(arguments: &[&str]) -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[&USUAL[..], arguments].concat());
    (dir, node)
}

/// A peer without a key, with a low id, that claims to hold a content under a name of its
/// choice, and is silent when it is asked for it.
fn silent_liar(number: u8, hash: &Value, size: u64) -> (String, Canned) {
    let id = format!("0000000{number}-0000-4000-8000-000000000000");
    let file = json!({ "file_id": format!("0000000{number}-0000-7000-8000-000000000000"),
        "original_name": "invoice.exe", "size": size, "uploaded_at": "", "hash": hash });
    let listing = json!({ "status": "success", "peer_id": id, "files": [file],
        "file_count": 1, "total_files": 1, "next": null });
    let canned = Canned::start(move |_, request| {
        if request.starts_with("GET /api/p2p/files") {
            Reply::Json(listing.to_string())
        } else if request.starts_with("GET /api/p2p/blob") {
            Reply::Silence
        } else {
            Reply::Json("{}".to_owned())
        }
    });
    (id, canned)
}

fn introduce(node: &Node, id: &str, address: &str) {
    let message = json!({ "peer_id": id, "address": address, "timestamp": "" });
    let answer = post(node.address, "/api/peers", &message.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn kept(node: &Node, what: &Value) -> Value {
    let answer = post(node.address, "/api/p2p/keep", &what.to_string());
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["keep"]["id"].as_str().unwrap().to_owned();
    until("a copy is here", || {
        let keep = get(node.address, &format!("/api/p2p/keep/{id}"), &[]).json()["keep"].clone();
        (keep["state"] == "kept").then_some(keep)
    })
}

#[test]
fn silent_holders_delay_nobody_and_say_nothing_of_names_and_sizes() {
    let bytes = content(1, 3 * MIB);
    let cable = Relay::new();
    let (_dir, honest) = start(&["--base-url", &cable.url()]);
    cable.connect(honest.address);
    let file = uploaded(honest.address, "holiday.jpg", &bytes);
    let hash = &file["hash"];
    let (_other, node) = start(&["--peer", &cable.url()]);
    until_held(node.address, hash, 1);
    let liars: Vec<_> = (0..5)
        .map(|it| silent_liar(it, hash, [1 << 63, bytes.len() as u64][usize::from(it % 2)]))
        .collect();
    for (id, liar) in &liars {
        introduce(&node, id, &liar.url());
    }
    until_held(node.address, hash, 6);
    let blob = format!("/api/p2p/blob/{}", hash.as_str().unwrap());
    let answer = get(node.address, &blob, &[]);
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    // Also where a liar is asked first, since its file is the one that was asked for.
    let (id, liar) = &liars[1];
    let target = format!("/api/p2p/download/{id}/00000001-0000-7000-8000-000000000000");
    let answer = get(node.address, &target, &[]);
    assert_eq!((answer.status, answer.body == bytes), (200, true));
    let asked = liar.asked();
    assert!(
        asked.iter().any(|it| it.contains("/api/p2p/blob")),
        "{asked:?}"
    );

    let keep = kept(&node, &json!({ "hash": hash }));
    assert_eq!(keep["original_name"], "holiday.jpg");
    let size = json!(bytes.len());
    assert_eq!((&keep["size"], &keep["fetched"]), (&size, &size));
    let id = keep["file_id"].as_str().unwrap();
    let copy = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
    assert!(copy.body == bytes);
    assert!(copy.header("content-disposition").contains("holiday.jpg"));
    // What was here already has its own size, too.
    let again = kept(&node, &json!({ "hash": hash }));
    assert_eq!((&again["size"], &again["fetched"]), (&size, &size));
}

#[test]
fn a_copy_is_called_as_its_user_says() {
    let (_dir, honest) = start(&[]);
    let hash = &uploaded(honest.address, "there", b"content")["hash"];
    let (_other, node) = start(&["--peer", &honest.url("")]);
    until_held(node.address, hash, 1);
    let keep = kept(&node, &json!({ "hash": hash, "original_name": "here" }));
    assert_eq!(keep["original_name"], "here");
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["files"][0]["original_name"], "here");
    let nameless = json!({ "hash": hash, "original_name": "" }).to_string();
    let refusal = post(node.address, "/api/p2p/keep", &nameless).refusal();
    assert_eq!(refusal, (400, "bad_keep".to_owned()));
}

/// A node that knows a slow holder and a fast one, and what the slow one has carried so far.
struct Uneven {
    node: Node,
    cables: [Relay; 2],
    slow: Node,
    file: Value,
    bytes: Vec<u8>,
    _fast: Node,
    _dirs: [TempDir; 3],
}

impl Uneven {
    fn start(pace: u32, seed: u32) -> Self {
        let cables = [Relay::new(), Relay::new()];
        let bytes = content(seed, 24 * MIB);
        let [slow, fast] = cables.each_ref().map(|cable| {
            let (dir, node) = start(&["--base-url", &cable.url()]);
            cable.connect(node.address);
            let file = uploaded(node.address, "same", &bytes);
            (dir, node, file)
        });
        let urls = format!("{},{}", cables[0].url(), cables[1].url());
        let (dir, node) = start(&["--peer", &urls]);
        until_knows(node.address, 2);
        until_held(node.address, &slow.2["hash"], 2);
        cables[0].slow_to(pace);
        Self {
            node,
            cables,
            slow: slow.1,
            file: slow.2,
            bytes,
            _fast: fast.1,
            _dirs: [dir, slow.0, fast.0],
        }
    }

    /// That the slow holder has not brought much since then.
    fn left_the_slow_one(&self, before: u64) {
        let slow = self.cables[0].carried() - before;
        assert!(slow < 6 << 20, "{slow}");
    }
}

#[test]
fn a_slow_holder_is_left_for_a_fast_one() {
    // One that begins late, and one that begins at once and would take a minute.
    for (pace, seed) in [(20_000, 2), (400_000, 3)] {
        let uneven = Uneven::start(pace, seed);
        let before = uneven.cables[0].carried();
        let peer = crate::common::peers::peer_id(uneven.slow.address);
        let id = uneven.file["file_id"].as_str().unwrap();
        let target = format!("/api/p2p/download/{peer}/{id}");
        let answer = get(uneven.node.address, &target, &[]);
        assert_eq!((answer.status, answer.body == uneven.bytes), (200, true));
        uneven.left_the_slow_one(before);
        // Nor is it asked first from now on, whatever its id.
        let hash = uneven.file["hash"].as_str().unwrap();
        let before = uneven.cables[0].carried();
        let answer = get(uneven.node.address, &format!("/api/p2p/blob/{hash}"), &[]);
        assert_eq!((answer.status, answer.body == uneven.bytes), (200, true));
        uneven.left_the_slow_one(before);
    }
}

#[test]
fn the_slowest_holder_does_not_set_the_pace_of_a_copy() {
    for (pace, seed) in [(20_000, 4), (400_000, 5)] {
        let uneven = Uneven::start(pace, seed);
        let before = uneven.cables[0].carried();
        let keep = kept(&uneven.node, &json!({ "hash": uneven.file["hash"] }));
        uneven.left_the_slow_one(before);
        let id = keep["file_id"].as_str().unwrap();
        let copy = get(uneven.node.address, &format!("/api/p2p/file/{id}"), &[]);
        assert!(copy.body == uneven.bytes);
        assert_eq!(held(uneven.node.address)[0]["hash"], uneven.file["hash"]);
    }
}

/// How long it takes until the first byte of a content comes that three nodes read which have read
/// nothing before; the shortest of them, since others work on this machine as well.
fn until_the_first_byte(nodes: &[Node], hash: &Value) -> Duration {
    let target = format!("/api/p2p/blob/{}", hash.as_str().unwrap());
    let times = nodes.iter().map(|node| {
        let mut stream = connect(node.address);
        let began = Instant::now();
        stream.write_all(&head("GET", &target, &[])).unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        began.elapsed()
    });
    times.min().unwrap()
}

#[test]
fn a_hundred_silent_liars_delay_the_first_byte_by_less_than_a_second() {
    let bytes = content(6, 200_000);
    let (_dir, honest) = start(&[]);
    let hash = &uploaded(honest.address, "holiday.jpg", &bytes)["hash"];
    let peer = honest.url("");
    let known = ["--peer", &peer, "--peer-rate", "0"];
    let (_dirs, nodes): (Vec<_>, Vec<_>) = (0..3).map(|_| start(&known)).unzip();
    let liars = (0..100).map(|_| Liar::start(&[&bytes], Lie::at_once(Sends::Nothing)));
    let liars: Vec<_> = liars.collect();
    for node in &nodes {
        for liar in &liars {
            assert_eq!(liar.meet(node.address).status, 200);
        }
    }
    for node in &nodes {
        until_held(node.address, hash, 101);
    }
    let time = until_the_first_byte(&nodes, hash);
    assert!(time < Duration::from_secs(1), "{time:?}");
}

#[test]
fn three_of_four_holders_that_are_cut_off_delay_the_first_byte_by_less_than_a_second() {
    let bytes = content(7, 200_000);
    let cables = [(); 4].map(|()| Relay::new());
    let holders = cables.each_ref().map(|cable| {
        let (dir, node) = start(&["--base-url", &cable.url()]);
        cable.connect(node.address);
        (
            uploaded(node.address, "same", &bytes)["hash"].clone(),
            node,
            dir,
        )
    });
    let hash = &holders[0].0;
    let urls = cables.each_ref().map(Relay::url).join(",");
    let (_dirs, nodes): (Vec<_>, Vec<_>) = (0..3).map(|_| start(&["--peer", &urls])).unzip();
    for node in &nodes {
        until_held(node.address, hash, 4);
    }
    for cable in &cables[..3] {
        cable.stall_after(0);
    }
    let time = until_the_first_byte(&nodes, hash);
    assert!(time < Duration::from_secs(1), "{time:?}");
}
