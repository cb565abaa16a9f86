//! Moving a storage directory to what several nodes share, and back.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use larder::disk::RealDisk;
use larder::small_state::SmallState;
use larder::small_state::local::LocalState;
use larder::store::MOVING_IN;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::{field, file, form, upload, uploaded};
use crate::common::peers::peer_id;
use crate::common::process::{Node, larder};
use crate::common::raw_http::{get, head, send};
use crate::common::tus;
use crate::nodes::{servers, start_with};
use crate::postgres::{Server, connect, number};
use crate::s3_store::S3Store;

/// A storage directory with files, and servers to which they can be moved.
struct Move {
    dir: TempDir,
    url: String,
    store: S3Store,
    database: Server,
}

/// What a node tells of all its files, and their contents.
type Files = Vec<(Value, Vec<u8>)>;

fn files_of(node: &Node) -> Files {
    let (mut files, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(
            node.address,
            &format!("/api/p2p/files?limit=100{after}"),
            &[],
        )
        .json();
        let page = page["files"].as_array().unwrap().clone();
        let Some(last) = page.last() else {
            return files;
        };
        after = format!("&after={}", last["file_id"].as_str().unwrap());
        for mut file in page {
            let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
            let answer = get(node.address, &path, &[]);
            assert_eq!(answer.status, 200, "{file}");
            // That is of the node and not of the file.
            file["download_url"] = Value::Null;
            files.push((file, answer.body));
        }
    }
}

/// Files of every kind: described, of a type, long, empty, alike, with odd names, many.
fn fill(node: &Node, many: u32) {
    let described = form(&[
        field("description", "two\nlines \u{e9}"),
        file("a/b c", b"short"),
    ]);
    assert_eq!(upload(node.address, &described).status, 200);
    for (name, bytes) in [
        ("empty", vec![]),
        ("long", content(1, 9_000_000)),
        ("the same", content(1, 9_000_000)),
        ("e\u{301} \u{202e}", content(2, 70_000)),
        ("e\u{301} \u{202e}", content(3, 100)),
    ] {
        uploaded(node.address, name, &bytes);
    }
    for seed in 10..10 + many {
        let len = usize::try_from(seed * 977 % 90_000).unwrap();
        uploaded(node.address, &format!("dir/{seed}"), &content(seed, len));
    }
    let gone = uploaded(node.address, "gone", b"gone");
    let path = format!("/api/p2p/file/{}", gone["file_id"].as_str().unwrap());
    assert_eq!(send(node.address, &head("DELETE", &path, &[])).status, 200);
}

impl Move {
    async fn new(many: u32) -> (Self, Files, String) {
        let (database, store) = (Server::start(), S3Store::start().await);
        let url = database.database("one").await;
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        fill(&node, many);
        let (files, peer) = (files_of(&node), peer_id(node.address));
        node.stop();
        let this = Self {
            dir,
            url,
            store,
            database,
        };
        (this, files, peer)
    }

    fn command(&self, to: &str, storage: &str) -> Command {
        let mut command = larder(self.dir.path());
        command.args(["migrate", "--to", to, "--storage", storage]);
        servers(&mut command, &self.url, self.store.endpoint());
        command
    }

    fn run(&self, to: &str, storage: &str, more: &[&str]) -> Output {
        self.command(to, storage).args(more).output().unwrap()
    }

    fn refused(&self, to: &str, storage: &str, told: &str) {
        let output = self.run(to, storage, &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }

    /// What a check of a directory, or of the servers, finds; nothing wrong.
    fn check(&self, storage: Option<&str>) {
        let mut command = larder(self.dir.path());
        command.arg("verify");
        if let Some(storage) = storage {
            command.args(["--storage", storage]);
        } else {
            servers(&mut command, &self.url, self.store.endpoint());
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// Runs it again and again, ended at any moment, until it comes to its end; tells how often.
    fn killed_until_done(&self, to: &str, storage: &str) -> u32 {
        for run in 1.. {
            let mut process = self.command(to, storage).spawn().unwrap();
            // Each later than the one before, so that one comes to the end however slow it is.
            sleep(Duration::from_millis(u64::from(150 + 60 * run)));
            if let Some(status) = process.try_wait().unwrap() {
                assert!(status.success());
                return run;
            }
            process.kill().unwrap();
            process.wait().unwrap();
        }
        unreachable!()
    }
}

fn counted(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storage_directory_is_moved_to_servers_and_back_with_all_that_is_known_of_its_files() {
    let (it, files, peer) = Move::new(150).await;
    // Once it has come to its end nothing is left to do.
    for _ in 0..2 {
        let told = counted(&it.run("servers", "peer_storage", &["--json"]));
        assert_eq!(told["files"], files.len());
    }
    it.check(None);
    let own = tempfile::tempdir().unwrap();
    let node = start_with(&own, &it.url, &it.store, &[]);
    assert!(files_of(&node) == files);
    assert_eq!(peer_id(node.address), peer);
    // They go on from there, in this order.
    uploaded(node.address, "later", b"later");
    let with_later = files_of(&node);
    assert_eq!(with_later.len(), files.len() + 1);
    assert!(with_later[..files.len()] == files);
    node.stop();
    it.refused("servers", "peer_storage", "changed since");

    let told = counted(&it.run("storage", "back", &["--json"]));
    assert_eq!(told["files"], with_later.len());
    it.check(Some("back"));
    let back = Node::start(&it.dir, &["--storage", "back"]);
    assert!(files_of(&back) == with_later);
    assert_eq!(peer_id(back.address), peer);
    uploaded(back.address, "last", b"last");
    assert_eq!(files_of(&back).last().unwrap().1, b"last");
    back.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_from_servers_takes_what_nodes_are_given_until_they_are_stopped() {
    let (it, ..) = Move::new(1).await;
    counted(&it.run("servers", "peer_storage", &["--json"]));
    let own = tempfile::tempdir().unwrap();
    let node = start_with(&own, &it.url, &it.store, &[]);
    let mut command = it.command("storage", "back");
    let mut moving = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(moving.stderr.take().unwrap()).lines();
    assert!(said.any(|it| {
        it.unwrap()
            .contains("all is there, and nodes are still connected")
    }));
    uploaded(node.address, "as late as that", &content(90, 200_000));
    let files = files_of(&node);
    assert!(moving.try_wait().unwrap().is_none());
    node.stop();
    assert_eq!(said.last().map(Result::unwrap), None);
    assert!(moving.wait().unwrap().success());
    let back = Node::start(&it.dir, &["--storage", "back"]);
    assert!(files_of(&back) == files);
    back.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_is_killed_at_any_moment_goes_on_until_all_is_there_and_once() {
    let (it, files, _) = Move::new(400).await;
    let runs = it.killed_until_done("servers", "peer_storage");
    assert!(runs > 1, "it was never killed");
    it.check(None);
    let own = tempfile::tempdir().unwrap();
    let node = start_with(&own, &it.url, &it.store, &[]);
    assert!(files_of(&node) == files);
    node.stop();
    let runs = it.killed_until_done("storage", "back");
    assert!(runs > 1, "it was never killed");
    it.check(Some("back"));
    let back = Node::start(&it.dir, &["--storage", "back"]);
    assert!(files_of(&back) == files);
    back.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_moved_is_told_before_anything_is() {
    let (it, ..) = Move::new(0).await;
    let rows = async || number(&connect(&it.url).await, "SELECT count(*) FROM larder.files").await;
    it.refused("servers", "nowhere", "nowhere is no storage directory");
    let node = Node::start(&it.dir, &[]);
    it.refused("servers", "peer_storage", "in use");
    let upload = tus::created(node.address, 1000);
    tus::patched(node.address, &upload, 0, b"not all");
    node.stop();
    it.refused("servers", "peer_storage", "unfinished uploads and copies");
    assert_eq!(rows().await, 0);
    fs::create_dir(it.dir.path().join("other")).unwrap();
    fs::write(it.dir.path().join("other/file"), b"").unwrap();
    it.refused("storage", "other", "something else is in other");

    // Where others have put files none are moved, to either side.
    let own = tempfile::tempdir().unwrap();
    let node = start_with(&own, &it.url, &it.store, &[]);
    let file = uploaded(node.address, "other", b"other");
    it.refused("storage", "peer_storage", "files are there");
    node.stop();
    let output = it.run("servers", "peer_storage", &["--leave-unfinished"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("files are there"), "{said}");
    assert_eq!(rows().await, 1);
    let node = start_with(&own, &it.url, &it.store, &[]);
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert_eq!(get(node.address, &path, &[]).body, b"other");
    node.stop();
}

/// The one long blob of a storage directory that is of this length.
fn blob(storage: &Path, len: u64) -> std::path::PathBuf {
    let shards = fs::read_dir(storage.join("blobs")).unwrap();
    let shards = shards.map(|it| it.unwrap().path()).filter(|it| it.is_dir());
    let blobs = shards.flat_map(|it| fs::read_dir(it).unwrap().map(|it| it.unwrap().path()));
    let mut of_len = blobs.filter(|it| it.metadata().unwrap().len() == len);
    of_len.next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_ends_a_move_and_names_the_file_and_no_node_serves_half_of_it() {
    let (it, files, _) = Move::new(20).await;
    let storage = it.dir.path().join("peer_storage");
    let damaged = blob(&storage, 9_000_000);
    let whole = fs::read(&damaged).unwrap();
    let mut bytes = whole.clone();
    bytes[5_000_000] ^= 1;
    fs::write(&damaged, bytes).unwrap();
    let output = it.run("servers", "peer_storage", &[]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("(long) is not whole"), "{said}");
    it.refused("servers", "peer_storage", "damaged");

    // What is half there nobody takes for all.
    let own = tempfile::tempdir().unwrap();
    let mut command = crate::nodes::command(own.path(), &it.url, it.store.endpoint());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("larder migrate"),
        "{said}"
    );
    fs::write(&damaged, whole).unwrap();
    let node = Node::start(&it.dir, &[]);
    uploaded(node.address, "again", &content(1, 9_000_000));
    let files = [files, files_of(&node).split_off(26)].concat();
    node.stop();
    counted(&it.run("servers", "peer_storage", &["--json"]));
    let node = start_with(&own, &it.url, &it.store, &[]);
    assert!(files_of(&node) == files);
    node.stop();
    drop(it.database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_into_which_files_are_still_restored_is_moved_nowhere() {
    let (it, ..) = Move::new(1).await;
    let dir = it.dir.path().join("peer_storage");
    let state = LocalState::new(&dir, Arc::new(RealDisk));
    let saved = state.save(&MOVING_IN, b"backup 1".to_vec()).await;
    saved.unwrap();
    it.refused("servers", "peer_storage", "`larder restore`");
    state.remove(&MOVING_IN).await.unwrap();
    counted(&it.run("servers", "peer_storage", &["--json"]));
}
