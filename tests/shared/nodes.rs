//! Nodes over one database and one bucket, as people run them.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::peer_id;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{Answer, head, send};
use crate::fleet::Fleet;
use crate::postgres::{Server, eventually};
use crate::s3_store::{Endpoint, S3Store, keys};

/// A node whose own directory is in `dir`.
fn start(dir: &TempDir, index: &str, store: &S3Store) -> Node {
    start_with(dir, index, store, &[])
}

/// The same with other settings beside.
pub(crate) fn start_with(dir: &TempDir, index: &str, store: &S3Store, settings: &[&str]) -> Node {
    let mut command = command(dir.path(), index, store.endpoint());
    command.args(settings);
    Node::spawn(dir, command)
}

/// The command that runs a node in `dir` over the store at `endpoint`.
pub(crate) fn command(dir: &Path, index: &str, endpoint: &Endpoint) -> Command {
    let mut command = larder(dir);
    command
        .args(["serve", "--open"])
        .env("LARDER_LEASE", "2s")
        .env("LARDER_GC_GRACE", "1s");
    servers(&mut command, index, endpoint);
    command
}

/// Tells a command which servers keep what nodes share.
pub(crate) fn servers(command: &mut Command, index: &str, endpoint: &Endpoint) {
    command
        .args(["--blobs", &format!("s3://{}/fleet", endpoint.bucket)])
        .args(["--s3-endpoint", &endpoint.url])
        .env("LARDER_INDEX", index)
        .envs(keys());
}

fn get(node: &Node, path: &str) -> Answer {
    send(node.address, &head("GET", path, &[]))
}

fn delete(node: &Node, path: &str) -> Answer {
    send(node.address, &head("DELETE", path, &[]))
}

fn path_of(node: &Node, name: &str, content: &[u8]) -> String {
    let file = uploaded(node.address, name, content);
    format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
}

/// The ids of all files, as a node lists them.
fn listed(node: &Node) -> Vec<Value> {
    let list = get(node, "/api/p2p/files").json();
    let files = list["files"].as_array().unwrap().iter();
    files.map(|it| it["file_id"].clone()).collect()
}

/// How many contents are in the bucket.
async fn stored(store: &S3Store) -> usize {
    let objects = store.bucket().list(None).try_collect::<Vec<_>>().await;
    let objects = objects.unwrap().into_iter();
    let blobs = objects.filter(|it| it.location.as_ref().contains("/blobs/"));
    blobs.count()
}

/// A node says that a server is away, however often it is asked between two trials.
fn assert_takes_nothing(node: &Node) {
    for _ in 0..50 {
        let ready = get(node, "/ready").refusal();
        assert_eq!(ready, (503, "unavailable".to_owned()));
        let health = get(node, "/health").json();
        assert!(health["writable"] == false && health["status"] == "degraded");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_over_one_database_and_one_bucket_are_one_service() {
    let (mut database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [one, other] = dirs.each_ref().map(|dir| start(dir, &url, &store));
    let long = content(1, 3_000_000);
    let paths = [
        path_of(&one, "short", b"short"),
        path_of(&one, "long", &long),
    ];
    let same = path_of(&other, "same", &long);
    assert_eq!(get(&other, &paths[0]).body, b"short");
    for (node, path) in [(&other, &paths[1]), (&one, &same)] {
        assert!(get(node, path).body == long, "{path}");
    }
    assert_eq!(stored(&store).await, 2, "a content is there once");
    assert_eq!(listed(&one).len(), 3);
    assert_eq!(listed(&other), listed(&one));
    // A bucket has no end that it would tell of.
    assert_eq!(get(&one, "/api/p2p/status").json().get("room_bytes"), None);

    // One that is killed has lost nothing, and is not missed.
    one.kill();
    assert!(get(&other, &same).body == long);
    let one = start(&dirs[0], &url, &store);
    assert_eq!(get(&one, &paths[0]).body, b"short");
    assert_eq!(delete(&other, &paths[0]).status, 200);
    let removed = Instant::now();
    until("the other forgets it", || {
        (get(&one, &paths[0]).status == 404).then_some(())
    });
    assert!(
        removed.elapsed() < Duration::from_secs(2),
        "{:?}",
        removed.elapsed()
    );
    for path in [&paths[1], &same] {
        assert_eq!(delete(&one, path).status, 200);
    }
    // Nobody changes anything any more, and what no file needs goes all the same.
    eventually(async || stored(&store).await == 0).await;

    // Without the database no node is any use, none is to be restarted for that, and all heal.
    let last = path_of(&one, "last", b"last");
    database.kill();
    for node in [&one, &other] {
        until("the database is missed", || {
            (get(node, &last).status == 503).then_some(())
        });
        assert!(!get(node, &last).header("retry-after").is_empty());
        assert_eq!(get(node, "/health").status, 200);
        until("it is not ready", || {
            (get(node, "/ready").status == 503).then_some(())
        });
        assert_takes_nothing(node);
    }
    database.start_again();
    for node in [&one, &other] {
        until("the database is found again", || {
            (get(node, &last).body == b"last").then_some(())
        });
        until("it is ready again", || {
            (get(node, "/ready").status == 200).then_some(())
        });
    }
    path_of(&other, "more", b"more");
    one.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_has_acknowledged_every_other_counts_from_then_on() {
    let fleet = Fleet::start(&[]).await;
    let (one, other) = (fleet.node(0), fleet.node(1));
    let said = [one, other].map(|it| get(it, "/api/p2p/status").json()["storage_dir"].clone());
    let blobs = format!("s3://{}/fleet", fleet.store.endpoint().bucket);
    assert_eq!(said, [blobs.as_str(); 2]);
    for seed in 1..=20 {
        let path = path_of(one, "one", &content(seed, 10));
        let counts = [
            &get(other, "/api/p2p/status").json()["local_files"],
            &get(other, "/api/p2p/files?limit=1").json()["total_files"],
            &get(other, "/api/p2p/network?limit=1").json()["total_files"],
        ]
        .map(Value::clone);
        assert_eq!(counts, [1, 1, 1], "{seed}");
        assert_eq!(delete(one, &path).status, 200);
        let left = get(other, "/api/p2p/status").json()["blob_bytes"].clone();
        assert_eq!(left, 0, "{seed}");
    }
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_over_one_database_are_one_peer_whatever_became_of_their_directories() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        // They begin together, and nothing is left of those before them.
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let nodes = thread::scope(|scope| {
            let starts = dirs.each_ref();
            let starts = starts.map(|dir| scope.spawn(|| start(dir, &url, &store)));
            starts.map(|it| it.join().unwrap())
        });
        ids.extend(nodes.iter().map(|it| peer_id(it.address)));
        assert!(!dirs[0].path().join("node.key").exists());
        nodes.into_iter().for_each(Node::stop);
    }
    assert_eq!(ids.len(), 6);
    assert!(ids.iter().all(|it| *it == ids[0]), "{ids:?}");
    let other = database.database("other").await;
    let dir = tempfile::tempdir().unwrap();
    let mut elsewhere = store.endpoint().clone();
    elsewhere.bucket.push_str("/other");
    let stranger = Node::spawn(&dir, command(dir.path(), &other, &elsewhere));
    assert_ne!(peer_id(stranger.address), ids[0]);
    stranger.stop();
}

/// What `larder config` says of settings that cannot be.
fn refused(dir: &Path, arguments: &[&str]) -> String {
    let mut command = larder(dir);
    let output = command.arg("config").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_database_without_a_bucket_is_refused_and_a_secret_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let index = "postgres://larder:hidden@localhost/larder";
    for (arguments, told) in [
        (&["--index", index][..], "both"),
        (&["--blobs", "s3://bucket"], "both"),
        (&["--index", index, "--blobs", "bucket"], "s3://bucket"),
        (&["--index", "hidden", "--blobs", "s3://b"], "postgres://"),
        (&["--lease", "0s"], "1s"),
    ] {
        let said = refused(dir.path(), arguments);
        assert!(said.contains(told) && !said.contains("hidden"), "{said}");
    }
    let mut command = larder(dir.path());
    command.args([
        "config",
        "--index",
        index,
        "--blobs",
        "s3://bucket/deep/prefix",
    ]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8(output.stdout).unwrap().contains("hidden"));
}
