//! Repairs where holders are damaged themselves, and what clients get beside a repair.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::count;
use crate::common::peers::{post, until_held};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::common::rot::flip;

const LONG: usize = 4_000_001;

/// Directories of nodes that have the same content.
struct World {
    dirs: Vec<TempDir>,
    bytes: Vec<u8>,
    hash: String,
}

impl World {
    fn new(nodes: usize, length: usize) -> Self {
        let bytes = content(7, length);
        let (mut dirs, mut hash) = (Vec::new(), String::new());
        for _ in 0..nodes {
            let dir = tempfile::tempdir().unwrap();
            let node = Node::start(&dir, &["--scrub-every", "off"]);
            let file = uploaded(node.address, "file", &bytes);
            file["hash"].as_str().unwrap().clone_into(&mut hash);
            node.stop();
            dirs.push(dir);
        }
        Self { dirs, bytes, hash }
    }

    fn blob(&self, node: usize) -> PathBuf {
        let blobs = self.dirs[node].path().join("peer_storage/blobs");
        blobs.join(&self.hash[..2]).join(&self.hash)
    }

    /// A node that hears of the others by `peer`, and reads everything at once.
    fn start(&self, node: usize, peer: Option<&Node>, more: &[&str]) -> Node {
        let url = peer.map(|it| it.url(""));
        let peer: Vec<_> = url.iter().flat_map(|it| ["--peer", it.as_str()]).collect();
        let often = ["--discover-every", "1", "--scrub-every", "off"];
        let node = Node::start(&self.dirs[node], &[&often[..], &peer, more].concat());
        assert_eq!(post(node.address, "/api/p2p/scrub", "").status, 202);
        node
    }

    fn until_whole(&self, number: usize, node: &Node) {
        until("it is repaired", || {
            let health = get(node.address, "/health", &[]).json();
            (health["damaged"] == 0 && fs::read(self.blob(number)).unwrap() == self.bytes)
                .then_some(())
        });
        let answer = get(node.address, &format!("/api/p2p/blob/{}", self.hash), &[]);
        assert!(answer.status == 200 && answer.body == self.bytes);
    }
}

fn until_damaged(node: &Node) {
    until("the damage shows", || {
        let health = get(node.address, "/health", &[]).json();
        (health["damaged"] == 1).then_some(())
    });
}

/// The last group is what proves how long content is, and is asked for first.
#[test]
fn two_nodes_of_which_one_has_its_last_group_damaged_repair_each_other() {
    let world = World::new(2, LONG);
    flip(&world.blob(0), 9);
    flip(&world.blob(1), LONG - 1);
    let other = world.start(1, None, &[]);
    let node = world.start(0, Some(&other), &[]);
    world.until_whole(0, &node);
    world.until_whole(1, &other);
}

#[test]
fn where_all_holders_have_lost_the_same_group_it_is_tried_seldom_until_another_one_comes() {
    let world = World::new(3, LONG);
    flip(&world.blob(0), LONG - 1);
    flip(&world.blob(1), LONG - 1);
    let other = world.start(1, None, &[]);
    let node = world.start(0, Some(&other), &[]);
    until_damaged(&node);
    until_damaged(&other);
    let failures = |node: &Node| count(node.address, "larder_repair_failures_total");
    let sent = |node: &Node| count(node.address, "larder_sent_bytes_total");
    let (began, before) = (Instant::now(), sent(&other));
    while began.elapsed() < Duration::from_secs(5) {
        // After one second, two and four: not once more in so short a time.
        assert!(failures(&node) <= 4 && failures(&other) <= 4);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        sent(&other) - before < LONG as u64,
        "it is sent again and again"
    );
    let whole = world.start(2, Some(&node), &[]);
    world.until_whole(0, &node);
    world.until_whole(1, &other);
    drop(whole);
}

#[test]
fn whoever_reads_beside_a_repair_gets_the_right_bytes() {
    // Too long for anybody to wait for its repair, which takes some seconds at this pace.
    const FAR: usize = 8_000_000;
    let world = World::new(2, FAR);
    let holder = world.start(1, None, &[]);
    for at in [9, FAR / 2, FAR - 1] {
        flip(&world.blob(0), at);
    }
    let node = world.start(0, Some(&holder), &["--scrub-rate", "2MiB"]);
    until_held(node.address, &world.hash.as_str().into(), 2);
    let is_repairing = || {
        let status = get(node.address, "/api/p2p/status", &[]).json();
        status["repair"]["now"] == world.hash.as_str()
    };
    until("it is repaired now", || is_repairing().then_some(()));
    let path = format!("/api/p2p/blob/{}", world.hash);
    let mut beside = 0;
    for round in 0.. {
        let from = (round * 1_234_567) % (FAR - 1);
        for (from, to) in [(from, FAR), (0, FAR), (FAR - 20_000, FAR), (0, 20_000)] {
            let range = format!("Range: bytes={from}-{}", to - 1);
            let answer = get(node.address, &path, &[&range]);
            assert_eq!(answer.status, 206, "{range}");
            assert!(answer.body == world.bytes[from..to], "{range}");
        }
        if !is_repairing() {
            break;
        }
        beside += 1;
    }
    assert!(beside > 0, "nothing was read beside the repair");
    world.until_whole(0, &node);
}
