//! What several nodes share is read again and repaired, by one of them at a time, and all know.

use std::collections::BTreeSet;

use larder::hash::BlobHash;
use larder::place::Place;
use object_store::ObjectStoreExt;
use object_store::path::Path as Key;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::metrics::count;
use crate::common::peers::{post, until_held};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::relay::Relay;
use crate::fleet::Fleet;
use crate::nodes::servers;

const MIB: usize = 1 << 20;
/// Short enough for a pack.
const SHORT: usize = 5_000;

/// Where a content is in the bucket, and where it begins in that.
async fn object(fleet: &Fleet, hash: &str) -> (Key, usize) {
    let hash: BlobHash = hash.parse().unwrap();
    let sql = "SELECT place FROM larder.blobs WHERE hash = $1";
    let row = fleet.client.query_one(sql, &[&&hash.as_bytes()[..]]).await;
    let place = Place::read(row.unwrap().get(0)).unwrap();
    let key = format!("fleet/blobs/{}", place.object());
    (Key::from(key), place.at().unwrap_or(0) as usize)
}

/// Flips a bit of a content, so many bytes behind where it begins.
async fn flip(fleet: &Fleet, hash: &str, at: usize) {
    let (key, start) = object(fleet, hash).await;
    let bucket = fleet.store.bucket();
    let found = bucket.get(&key).await.unwrap().bytes().await.unwrap();
    let mut bytes = found.to_vec();
    bytes[start + at] ^= 1;
    bucket.put(&key, bytes.into()).await.unwrap();
}

fn upload(node: &Node, seed: u32, length: usize) -> String {
    let file = uploaded(node.address, &seed.to_string(), &content(seed, length));
    file["hash"].as_str().unwrap().to_owned()
}

/// What a node tells of the scrub.
fn scrub(node: &Node) -> Value {
    get(node.address, "/api/p2p/scrub", &[]).json()
}

fn unsound(node: &Node) -> BTreeSet<String> {
    let told = scrub(node);
    let unsound = told["unsound"].as_array().unwrap().iter();
    unsound
        .map(|it| it["hash"].as_str().unwrap().to_owned())
        .collect()
}

/// Has everything read by whoever has the turn, and waits until another node knows the end.
fn read_again(asked: &Node, told: &Node) -> Value {
    let answer = post(asked.address, "/api/p2p/scrub", "");
    assert_eq!(answer.status, 202, "{answer:?}");
    let number = answer.json()["number"].as_u64().unwrap();
    until("everything was read", || {
        let last = scrub(told)["scrub"]["last"].clone();
        (last["number"].as_u64()? >= number).then_some(last)
    })
}

fn read_bytes(node: &Node) -> u64 {
    count(node.address, "larder_scrub_read_bytes_total")
}

fn damaged(node: &Node) -> u64 {
    let health = get(node.address, "/health", &[]).json();
    health["damaged"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rots_in_a_bucket_is_found_by_one_node_and_known_by_all() {
    let fleet = Fleet::start(&["--scrub-every", "off"]).await;
    let nodes = [0, 1, 2].map(|it| fleet.node(it));
    let long: Vec<_> = (0..4).map(|it| upload(nodes[0], it, 3 * MIB)).collect();
    let short: Vec<_> = (10..30).map(|it| upload(nodes[1], it, SHORT)).collect();
    let last = read_again(nodes[0], nodes[1]);
    let total = 4 * 3 * MIB + 20 * SHORT;
    assert_eq!(
        (&last["blobs"], &last["bytes"]),
        (&24.into(), &total.into())
    );
    assert_eq!(nodes.map(damaged), [0; 3]);

    flip(&fleet, &long[1], 2 * MIB).await;
    let (gone, _) = object(&fleet, &long[2]).await;
    fleet.store.bucket().delete(&gone).await.unwrap();
    // Behind the head of its entry.
    flip(&fleet, &short[7], 1_000).await;
    let before = nodes.map(read_bytes);
    let last = read_again(nodes[1], nodes[2]);
    assert_eq!(
        (&last["damaged"], &last["unchecked"]),
        (&3.into(), &0.into()),
        "{last}"
    );
    let rotten = [&long[1], &long[2], &short[7]];
    let rotten: BTreeSet<_> = rotten.into_iter().cloned().collect();
    for node in nodes {
        until("all know", || (damaged(node) == 3).then_some(()));
        assert_eq!(unsound(node), rotten);
    }
    // One of them has read.
    let have_read = nodes.map(read_bytes).into_iter().zip(before);
    assert_eq!(have_read.filter(|(now, then)| now > then).count(), 1);
    // Whoever brings it again mends it, and the next look sees so.
    uploaded(nodes[2].address, "again", &content(1, 3 * MIB));
    assert_eq!(read_again(nodes[2], nodes[0])["damaged"], 2);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_goes_on_with_another_node_where_that_of_its_turn_is_killed() {
    let mut fleet = Fleet::start(&["--scrub-every", "off"]).await;
    for seed in 0..16 {
        upload(fleet.node(0), seed, MIB);
    }
    for node in 0..3 {
        fleet.kill(node);
        fleet.start_again(node, &["--lease", "1s", "--scrub-rate", "4MiB"]);
    }
    let has_turn = until("some of it is read, and known", || {
        let turn = (0..3).find(|it| read_bytes(fleet.node(*it)) > 5 << 20)?;
        let other = fleet.node((turn + 1) % 3);
        let round = scrub(other)["scrub"]["round"].clone();
        (round["bytes"].as_u64()? > 4 << 20).then_some(turn)
    });
    fleet.kill(has_turn);
    let left = [(has_turn + 1) % 3, (has_turn + 2) % 3].map(|it| fleet.node(it));
    let last = until("everything was read", || {
        let last = scrub(left[0])["scrub"]["last"].clone();
        last.is_object().then_some(last)
    });
    assert_eq!((&last["number"], &last["blobs"]), (&1.into(), &16.into()));
    let read: u64 = left.map(read_bytes).iter().sum();
    assert!(read < 14 << 20, "{read}");
    fleet.stop();
}

/// A node that has what several others have that are one peer, and know it.
struct Neighbour {
    cable: Relay,
    node: Node,
    fleet: Fleet,
    _dir: TempDir,
}

impl Neighbour {
    async fn new(contents: &[(u32, usize)]) -> Self {
        let (cable, dir) = (Relay::new(), tempfile::tempdir().unwrap());
        let often = ["--discover-every", "1", "--scrub-every", "off"];
        let at = cable.url();
        let node = Node::start(&dir, &[&often[..], &["--base-url", &at]].concat());
        cable.connect(node.address);
        let fleet = Fleet::start(&[&often[..], &["--peer", &at]].concat()).await;
        for (seed, length) in contents {
            let hash = upload(&node, *seed, *length).into();
            upload(fleet.node(0), *seed, *length);
            for one in fleet.nodes.iter().flatten() {
                until_held(one.address, &hash, 2);
            }
        }
        Self {
            cable,
            node,
            fleet,
            _dir: dir,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_comes_again_from_a_peer_once_and_only_as_much_as_is_wrong() {
    let contents = [(1, 8 * MIB), (2, SHORT), (3, 300_000), (4, 2 * MIB)];
    let it = Neighbour::new(&contents).await;
    let fleet = &it.fleet;
    let nodes = [0, 1, 2].map(|it| fleet.node(it));
    let hashes = contents.map(|(seed, length)| BlobHash::of(&content(seed, length)).to_string());
    flip(fleet, &hashes[0], 5 * MIB).await;
    flip(fleet, &hashes[1], 100).await;
    let (gone, _) = object(fleet, &hashes[2]).await;
    fleet.store.bucket().delete(&gone).await.unwrap();
    let (cut, _) = object(fleet, &hashes[3]).await;
    let end = content(4, 2 * MIB)[..2 * MIB - 5_000].to_vec();
    fleet.store.bucket().put(&cut, end.into()).await.unwrap();
    let carried = it.cable.carried();
    read_again(nodes[0], nodes[1]);
    let all_are_whole = || {
        for node in nodes {
            until("all is whole", || {
                (damaged(node) == 0 && unsound(node).is_empty()).then_some(())
            });
        }
        let repaired = nodes.map(|it| count(it.address, "larder_repaired_blobs_total"));
        repaired.iter().sum::<u64>()
    };
    assert_eq!(all_are_whole(), 4);
    // A piece of the first one and of the last, and the other two.
    let carried = it.cable.carried() - carried;
    assert!(carried < 1_500_000, "{carried}");
    // What a command has found comes again as well.
    flip(fleet, &hashes[0], MIB).await;
    let mut verify = larder(fleet.dirs[0].path());
    verify.arg("verify");
    servers(&mut verify, fleet.url(), fleet.store.endpoint());
    assert_eq!(verify.output().unwrap().status.code(), Some(1));
    until("it is repaired", || (all_are_whole() == 5).then_some(()));
    // It is here again.
    it.node.stop();
    for (hash, (seed, length)) in hashes.iter().zip(contents) {
        let path = format!("/api/p2p/blob/{hash}");
        for node in nodes {
            let answer = get(node.address, &path, &[]);
            assert!(answer.status == 200 && answer.body == content(seed, length));
        }
    }
    assert_eq!(read_again(nodes[2], nodes[1])["damaged"], 0);
    it.fleet.stop();
}
