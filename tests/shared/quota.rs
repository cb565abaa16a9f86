//! A quota that several nodes have together.

use std::net::SocketAddr;
use std::thread;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::until;
use crate::common::raw_http::{Answer, get, head, send};
use crate::common::tus;
use crate::fleet::Fleet;
use crate::postgres::number;

/// How long each content is, and how many of them are the quota.
const BYTES: usize = 50_000;
const FIT: usize = 20;
const OVER_QUOTA: (u16, &str) = (507, "over_quota");

fn bytes_of(contents: usize) -> i64 {
    i64::try_from(contents * BYTES).unwrap()
}

fn put(node: SocketAddr, seed: u32, bytes: usize) -> Result<(), (u16, String)> {
    let name = seed.to_string();
    let answer = upload(node, &form(&[file(&name, &content(seed, bytes))]));
    match answer.status {
        200 => Ok(()),
        _ => Err(answer.refusal()),
    }
}

/// Nodes that have a quota of so many bytes together.
async fn fleet() -> Fleet {
    Fleet::start(&["--quota", &(FIT * BYTES).to_string()]).await
}

/// Longer than what goes to the bucket at once.
const LONG: usize = (8 << 20) + 1;

#[tokio::test]
async fn content_of_any_length_comes_within_a_quota() {
    let fleet = Fleet::start(&["--quota", "100MB"]).await;
    for (seed, bytes) in (0..).zip([0, 1, BYTES, 1 << 20, LONG - 1, LONG, 2 * LONG]) {
        let (node, bytes) = (fleet.node(0).address, content(seed, bytes));
        let taken = uploaded(node, "any", &bytes);
        let path = format!("/api/p2p/file/{}", taken["file_id"].as_str().unwrap());
        let answer = get(fleet.node(1).address, &path, &[]);
        assert!(answer.status == 200 && answer.body == bytes, "{seed}");
    }
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_is_never_exceeded_by_what_several_nodes_take_at_once_and_can_be_filled() {
    let fleet = fleet().await;
    let nodes = fleet.addresses();
    let mut taken = thread::scope(|scope| {
        let uploads = (0..64).map(|seed| {
            let node = nodes[(seed % 3) as usize];
            scope.spawn(move || put(node, seed, BYTES).is_ok())
        });
        let uploads: Vec<_> = uploads.collect();
        let taken = uploads.into_iter().map(|it| it.join().unwrap());
        taken.filter(|it| *it).count()
    });
    assert!(taken > 0);
    let sum = "SELECT sum(size)::bigint FROM larder.blobs";
    assert_eq!(number(&fleet.client, sum).await, bytes_of(taken));
    assert!(taken <= FIT, "{taken}");
    // What was refused at once has left room that is to be had.
    for seed in 100.. {
        match put(nodes[0], seed, BYTES) {
            Ok(()) => taken += 1,
            Err((status, code)) => {
                assert_eq!((status, &*code), OVER_QUOTA);
                break;
            }
        }
    }
    assert_eq!(taken, FIT);
    assert_eq!(number(&fleet.client, sum).await, bytes_of(FIT));
    let heads = "SELECT blob_bytes FROM larder.heads";
    assert_eq!(number(&fleet.client, heads).await, bytes_of(FIT));
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_has_kept_takes_no_room_of_the_quota() {
    let fleet = fleet().await;
    let [one, other, _] = fleet.addresses();
    put(one, 1, 600_000).unwrap();
    knows(other, 600_000);
    // Who looks which lengths are kept, since there is no room, does so now.
    refused_in_parts(other, 2, 500_000);
    put(one, 3, 300_000).unwrap();
    knows(other, 900_000);
    assert_eq!(put_in_parts(other, 3, 300_000).status, 204);
    refused_in_parts(other, 4, 300_000);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn room_that_one_node_gives_back_is_there_for_every_other_at_once() {
    let fleet = fleet().await;
    let [one, other, _] = fleet.addresses();
    for seed in 1..=10 {
        put(one, seed, 900_000).unwrap();
        knows(other, 900_000);
        remove_all(one);
        let (whole, in_parts) = (300 + seed, 400 + seed);
        put(other, whole, 400_000).unwrap();
        assert_eq!(put_in_parts(other, in_parts, 400_000).status, 204);
        remove_all(other);
    }
    fleet.stop();
}

/// Removes all files, by way of this node.
fn remove_all(node: SocketAddr) {
    let list = get(node, "/api/p2p/files", &[]).json();
    for file in list["files"].as_array().unwrap() {
        let file = file["file_id"].as_str().unwrap();
        let remove = head("DELETE", &format!("/api/p2p/file/{file}"), &[]);
        assert_eq!(send(node, &remove).status, 200);
    }
}

/// Waits until a node counts as much content as there is.
fn knows(node: SocketAddr, bytes: u64) {
    until("it knows what others keep", || {
        let status = get(node, "/api/p2p/status", &[]).json();
        (status["blob_bytes"] == bytes).then_some(())
    });
}

/// Brings content whose length is told first.
fn put_in_parts(node: SocketAddr, seed: u32, bytes: usize) -> Answer {
    let created = tus::create(node, bytes, &[]);
    match created.status {
        201 => tus::patch(node, &tus::path_of(&created), 0, &content(seed, bytes)),
        _ => created,
    }
}

fn refused_in_parts(node: SocketAddr, seed: u32, bytes: usize) {
    let (status, code) = put_in_parts(node, seed, bytes).refusal();
    assert_eq!((status, &*code), OVER_QUOTA);
}
