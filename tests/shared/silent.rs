//! Servers that say nothing any more, and scratch that is full: what a node tells of itself.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{Answer, get};
use crate::mounted::Mounted;
use crate::nodes::{command, start_with};
use crate::postgres::Server;
use crate::s3_store::S3Store;

/// What whoever looks after a node waits for an answer: often a second, which this machine may need
/// for itself.
const SOON: Duration = Duration::from_secs(2);

fn in_time(node: &Node, path: &str) -> Answer {
    let asked = Instant::now();
    let answer = get(node.address, path, &[]);
    assert!(asked.elapsed() < SOON, "{path}: {:?}", asked.elapsed());
    answer
}

/// However many ask, a node says in time how it is, which is first well and then not, and says so
/// again once the server goes on.
fn assert_tells(node: &Node, stand_still: impl Fn(Signal)) {
    until("it is ready", || {
        (in_time(node, "/ready").status == 200).then_some(())
    });
    stand_still(Signal::STOP);
    until("it is not ready", || {
        (in_time(node, "/ready").status == 503).then_some(())
    });
    std::thread::scope(|scope| {
        let asking = || {
            for _ in 0..5 {
                let refusal = in_time(node, "/ready").refusal();
                assert_eq!(refusal, (503, "unavailable".to_owned()));
                let health = in_time(node, "/health");
                assert_eq!(
                    (health.status, &health.json()["writable"]),
                    (200, &false.into())
                );
            }
        };
        for _ in 0..4 {
            scope.spawn(asking);
        }
    });
    stand_still(Signal::CONT);
    until("it is ready again", || {
        (in_time(node, "/ready").status == 200).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_at_once_how_it_is_while_a_server_is_silent() {
    let (database, store) = (Server::start(), S3Store::that_can_be_killed().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    assert_tells(&node, |signal| database.signal(signal));
    assert_tells(&node, |signal| store.process().unwrap().signal(signal));
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_for_what_is_on_its_way_says_so_until_there_is() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let scratch = dir.path().join("scratch");
    let mounted = Mounted::tmpfs("size=16m", &scratch);
    let mut command = command(dir.path(), &url, store.endpoint());
    command.arg("--scratch").arg(&scratch);
    let node = Node::spawn(&dir, command);
    let ready = || get(node.address, "/ready", &[]);
    assert_eq!(ready().status, 200);
    let filling = scratch.join("of somebody else");
    std::fs::write(&filling, content(1, 12 << 20)).unwrap();
    until("it is not ready", || (ready().status != 200).then_some(()));
    for _ in 0..10 {
        assert_eq!(ready().refusal(), (503, "disk_full".to_owned()));
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(
            (&health["status"], &health["writable"]),
            (&"degraded".into(), &false.into())
        );
    }
    // What needs no room there is taken.
    uploaded(node.address, "short", b"short");
    std::fs::remove_file(filling).unwrap();
    until("it is ready again", || {
        (ready().status == 200).then_some(())
    });
    node.stop();
    drop(mounted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_over_a_bucket_that_was_emptied_is_not_ready() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    uploaded(node.address, "file", b"content");
    assert_eq!(get(node.address, "/ready", &[]).status, 200);
    let bucket = store.bucket();
    let all: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    assert!(all.len() > 2, "{all:?}");
    for object in all {
        bucket.delete(&object.location).await.unwrap();
    }
    until("it is not ready", || {
        (get(node.address, "/ready", &[]).status == 503).then_some(())
    });
    // Why stands where whoever looks after it reads.
    until("the log has it", || {
        node.log().contains("larder-format").then_some(())
    });
    node.stop();
}
