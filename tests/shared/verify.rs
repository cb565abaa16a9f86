//! `larder verify` of what several nodes share.

use std::collections::BTreeSet;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use axum::http::{Method, Uri};
use futures_util::TryStreamExt;
use larder::hash::BlobHash;
use larder::place::Place;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::metrics::Metrics;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::{get, head, send};
use crate::faults::{Fault, Faults};
use crate::nodes::{servers, start_with};
use crate::postgres::{Server, connect, number};
use crate::s3_store::S3Store;

/// Long enough to be an object of its own, and for more than one piece.
const LONG: usize = 600_000;

/// Two nodes over one database and one bucket.
struct Fleet {
    nodes: [Node; 2],
    store: S3Store,
    client: Client,
    url: String,
    dirs: [TempDir; 2],
    _database: Server,
}

impl Fleet {
    async fn start() -> Self {
        let (database, store) = (Server::start(), S3Store::start().await);
        let url = database.database("one").await;
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let nodes = dirs
            .each_ref()
            .map(|dir| start_with(dir, &url, &store, &[]));
        Self {
            nodes,
            client: connect(&url).await,
            store,
            url,
            dirs,
            _database: database,
        }
    }

    fn verify(&self, arguments: &[&str]) -> Output {
        let mut command = verify(&self.dirs[0], &self.url, &self.store);
        command.args(arguments).output().unwrap()
    }

    /// What it finds, as JSON, and its exit status.
    fn found(&self) -> (Vec<Value>, i32) {
        let output = self.verify(&["--json"]);
        let said = String::from_utf8(output.stdout).unwrap();
        let lines = said.lines().map(|it| serde_json::from_str(it).unwrap());
        (lines.collect(), output.status.code().unwrap())
    }

    fn upload(&self, node: usize, seed: u32) -> (String, String) {
        let name = seed.to_string();
        let file = uploaded(self.nodes[node].address, &name, &content(seed, LONG));
        let text = |name| file[name].as_str().unwrap().to_owned();
        (text("hash"), text("file_id"))
    }

    /// The key of an object beside or of a content.
    async fn key(&self, folder: &str, hash: &str) -> Key {
        let hash: BlobHash = hash.parse().unwrap();
        let sql = "SELECT place FROM larder.blobs WHERE hash = $1";
        let row = self.client.query_one(sql, &[&&hash.as_bytes()[..]]).await;
        let place: Vec<u8> = row.unwrap().get(0);
        let place = Place::from_bytes(place.try_into().unwrap());
        Key::from(format!("fleet/{folder}/{place}"))
    }

    async fn flip(&self, key: &Key, at: usize) {
        let bucket = self.store.bucket();
        let mut bytes = bucket
            .get(key)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .to_vec();
        bytes[at] ^= 1;
        bucket.put(key, bytes.into()).await.unwrap();
    }

    fn know_of_damage(&self, contents: u64) {
        for node in &self.nodes {
            until("all know it", || {
                let known = Metrics::of(node.address).get("larder_damaged_blobs", &[]);
                (known.to_string() == contents.to_string()).then_some(())
            });
        }
    }

    fn stop(self) {
        self.nodes.into_iter().for_each(Node::stop);
    }
}

fn verify(dir: &TempDir, url: &str, store: &S3Store) -> Command {
    let mut command = larder(dir.path());
    command.arg("verify");
    servers(&mut command, url, store.endpoint());
    command
}

fn texts(lines: &[Value], key: &str) -> BTreeSet<String> {
    let texts = lines.iter().filter_map(|it| it[key].as_str());
    texts.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_bucket_has_lost_or_damaged_is_told_per_file_and_mended_by_the_next_upload() {
    let fleet = Fleet::start().await;
    let files: Vec<_> = (0..4).map(|seed| fleet.upload(0, seed)).collect();
    let same = fleet.upload(1, 1);
    let (lines, status) = fleet.found();
    let counts = serde_json::json!({ "files": 5, "blobs": 4, "blob_bytes": 4 * LONG,
        "problems": 0, "left_over": 0 });
    assert_eq!((lines, status), (vec![counts], 0));

    let bucket = fleet.store.bucket();
    fleet
        .flip(&fleet.key("blobs", &files[1].0).await, LONG / 2)
        .await;
    bucket
        .delete(&fleet.key("blobs", &files[2].0).await)
        .await
        .unwrap();
    fleet
        .flip(&fleet.key("outboards", &files[3].0).await, 40)
        .await;
    let unknown = Place::numbered(7);
    let stray = Key::from(format!("fleet/blobs/{unknown}"));
    bucket.put(&stray, b"stray".to_vec().into()).await.unwrap();
    let foreign = Key::from("fleet/blobs/notes.txt");
    bucket
        .put(&foreign, b"notes".to_vec().into())
        .await
        .unwrap();
    let (lines, status) = fleet.found();
    assert_eq!(status, 1);
    let problems = BTreeSet::from([
        format!("blob {}: damaged, its bytes have another hash", files[1].0),
        format!("blob {}: missing, and a file needs it", files[2].0),
        format!(
            "outboard of {}: damaged (the node derives it anew)",
            files[3].0
        ),
    ]);
    assert_eq!(texts(&lines, "problem"), problems);
    let told = |(hash, id): &(String, String), name: u32| {
        format!("file {id} ({name}): its content {hash} is not whole")
    };
    let per_file = BTreeSet::from([told(&files[1], 1), told(&same, 1), told(&files[2], 2)]);
    assert_eq!(texts(&lines, "file"), per_file);
    let left =
        format!("object {stray}: no row knows its 5 bytes (a node removes it once it is old)");
    assert_eq!(texts(&lines, "left_over"), BTreeSet::from([left]));
    let counts = lines.last().unwrap();
    assert_eq!(
        (&counts["problems"], &counts["left_over"]),
        (&3.into(), &1.into())
    );
    // In words it is the same, and ends with the counts.
    let output = fleet.verify(&[]);
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said.lines().last().unwrap();
    let expected = format!(
        "5 files, 4 blobs of {} bytes: 2 problems, 1 left over",
        4 * LONG
    );
    assert_eq!((last, output.status.code()), (&*expected, Some(1)));

    bucket.delete(&stray).await.unwrap();
    mended(&fleet, &files).await;
    assert!(bucket.head(&foreign).await.is_ok());
    fleet.stop();
}

/// Both nodes know of the damage of two contents, and each takes what mends one.
async fn mended(fleet: &Fleet, files: &[(String, String)]) {
    let damaged = "SELECT count(*) FROM larder.blobs WHERE is_damaged";
    assert_eq!(number(&fleet.client, damaged).await, 2);
    fleet.know_of_damage(2);
    fleet.upload(0, 1);
    fleet.upload(1, 2);
    fleet.know_of_damage(0);
    for node in &fleet.nodes {
        for (seed, (_, id)) in (0..).zip(files) {
            let answer = get(node.address, &format!("/api/p2p/file/{id}"), &[]);
            assert!(answer.status == 200 && answer.body == content(seed, LONG));
        }
    }
    let output = fleet.verify(&[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_mends_what_nobody_has_looked_at_and_writes_over_no_object() {
    let fleet = Fleet::start().await;
    let files: Vec<_> = (0..2).map(|seed| fleet.upload(0, seed)).collect();
    let bucket = fleet.store.bucket();
    let damaged = fleet.key("blobs", &files[0].0).await;
    let lost = fleet.key("blobs", &files[1].0).await;
    fleet.flip(&damaged, 0).await;
    bucket.delete(&lost).await.unwrap();
    for (seed, (hash, _)) in (0..).zip(&files) {
        fleet.upload(1, seed);
        let now = fleet.key("blobs", hash).await;
        assert!(now != damaged && now != lost, "{seed}");
    }
    assert_eq!(fleet.found().1, 0);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_beside_nodes_that_take_and_remove_files_finds_nothing_wrong() {
    let fleet = Fleet::start().await;
    let is_over = AtomicBool::new(false);
    let changed = thread::scope(|scope| {
        let changing = fleet.nodes.each_ref().map(|node| {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut count = 0;
                while !is_over.load(Ordering::Relaxed) {
                    count += 1;
                    // Some are alike on both nodes.
                    let form =
                        form(&[file("f", &content(count % 50, 1000 * (count % 9) as usize))]);
                    let answer = upload(node.address, &form);
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let id = answer.json()["file"]["file_id"]
                        .as_str()
                        .unwrap()
                        .to_owned();
                    let removal = head("DELETE", &format!("/api/p2p/file/{id}"), &[]);
                    assert_eq!(send(node.address, &removal).status, 200);
                }
                count
            })
        });
        for _ in 0..12 {
            let (lines, status) = fleet.found();
            assert_eq!((lines.len(), status), (1, 0), "{lines:?}");
        }
        is_over.store(true, Ordering::Relaxed);
        changing.map(|it| it.join().unwrap())
    });
    assert!(changed.iter().all(|it| *it > 10), "{changed:?}");
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_that_was_thought_damaged_and_is_whole_is_noted_so() {
    let fleet = Fleet::start().await;
    let (hash, _) = fleet.upload(0, 1);
    let key = fleet.key("blobs", &hash).await;
    fleet.flip(&key, 7).await;
    assert_eq!(fleet.found().1, 1);
    fleet.know_of_damage(1);
    fleet.flip(&key, 7).await;
    let (lines, status) = fleet.found();
    assert_eq!((lines.len(), status), (1, 0), "{lines:?}");
    fleet.know_of_damage(0);
    let checked = "SELECT count(*) FROM larder.blobs WHERE checked_at IS NOT NULL";
    assert_eq!(number(&fleet.client, checked).await, 1);
    fleet.stop();
}

static UNREADABLE: OnceLock<String> = OnceLock::new();

fn is_unreadable(_: &Method, uri: &Uri) -> bool {
    UNREADABLE
        .get()
        .is_some_and(|it| uri.path().ends_with(&**it))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_alone_cannot_be_read_is_told_as_unchecked_and_the_rest_is_checked() {
    let fleet = Fleet::start().await;
    let files: Vec<_> = (0..40).map(|seed| fleet.upload(0, seed)).collect();
    // Somewhere in the middle, in whatever order they are read.
    let mut hashes: Vec<_> = files.iter().map(|(hash, _)| hash).collect();
    hashes.sort();
    let key = fleet.key("blobs", hashes[9]).await;
    UNREADABLE.set(key.to_string()).unwrap();
    fleet
        .flip(&fleet.key("blobs", hashes[39]).await, LONG / 2)
        .await;
    let faults = Faults::before(fleet.store.endpoint()).await;
    faults.befall(usize::MAX, is_unreadable, Fault::Answer(500, ""));
    let mut command = larder(fleet.dirs[0].path());
    command.args(["verify", "--json"]);
    servers(&mut command, &fleet.url, &faults.endpoint);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = said
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let problems = texts(&lines, "problem");
    let damaged = format!("blob {}: damaged, its bytes have another hash", hashes[39]);
    assert!(problems.contains(&damaged), "{said}");
    let unchecked: Vec<_> = problems
        .iter()
        .filter(|it| it.contains("not checked"))
        .collect();
    assert!(
        unchecked.len() == 1 && unchecked[0].contains(hashes[9]),
        "{said}"
    );
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_larder_has_kept_anything_nothing_is_checked_and_nothing_made() {
    let (mut database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, tempfile::tempdir().unwrap());
    let refused = |told: &str| {
        let output = verify(&dir, &url, &store).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    };
    refused("no larder has kept anything in the database");
    let client = connect(&url).await;
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'larder'";
    assert_eq!(number(&client, made).await, 0);
    drop(
        larder::index::postgres::PostgresIndex::open(&options(&url))
            .await
            .unwrap(),
    );
    refused("no larder has kept anything in the bucket under this prefix");
    let objects: Vec<_> = store.bucket().list(None).try_collect().await.unwrap();
    assert!(objects.is_empty(), "{objects:?}");
    database.kill();
    refused("the database at 127.0.0.1");
}

fn options(url: &str) -> larder::index::postgres::Options {
    larder::index::postgres::Options::new(url).unwrap()
}
