//! The drill of a backup: the database set back to what it was, and the bucket as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use larder::file_line::Line;
use larder::hash::BlobHash;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::commands::{done, json};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::raw_http::{get, head, send};
use crate::nodes::{servers, start_with};
use crate::postgres::{Server, connect, eventually, number};
use crate::s3_store::S3Store;

const LONG: usize = 600_000;

/// Two nodes whose content stays for so long that no file needs any more.
struct Fleet {
    database: Server,
    store: S3Store,
    url: String,
    dirs: [TempDir; 2],
    grace: &'static str,
}

impl Fleet {
    async fn new(grace: &'static str) -> Self {
        let (database, store) = (Server::start(), S3Store::start().await);
        let url = database.database("one").await;
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Self {
            database,
            store,
            url,
            dirs,
            grace,
        }
    }

    fn start(&self) -> [Node; 2] {
        let settings = ["--gc-grace", self.grace];
        let start = |dir| start_with(dir, &self.url, &self.store, &settings);
        self.dirs.each_ref().map(start)
    }

    /// What a check tells, and its exit status.
    fn verify(&self) -> (String, i32) {
        let mut command = larder(self.dirs[0].path());
        command.arg("verify");
        servers(&mut command, &self.url, self.store.endpoint());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (said, output.status.code().unwrap())
    }
}

fn put(node: &Node, seed: u32) -> String {
    let file = uploaded(node.address, &seed.to_string(), &content(seed, LONG));
    format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
}

fn remove(node: &Node, path: &str) {
    assert_eq!(send(node.address, &head("DELETE", path, &[])).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_backup_names_is_missing_where_it_is_younger_than_the_grace() {
    let fleet = Fleet::new("1h").await;
    let [one, other] = fleet.start();
    let kept: Vec<_> = (0..3).map(|seed| put(&one, seed)).collect();
    let backup = fleet.database.dump("one");
    // What happens after it: files go, come, and take the place of what was damaged.
    remove(&other, &kept[0]);
    remove(&one, &kept[1]);
    let later = put(&other, 7);
    let again = put(&one, 1);
    [one, other].into_iter().for_each(Node::stop);

    fleet.database.set_back("one", &backup);
    let [one, other] = fleet.start();
    for node in [&one, &other] {
        for (seed, path) in (0..).zip(&kept) {
            let answer = get(node.address, path, &[]);
            assert!(
                answer.status == 200 && answer.body == content(seed, LONG),
                "{seed}"
            );
        }
        for path in [&later, &again] {
            assert_eq!(get(node.address, path, &[]).status, 404);
        }
    }
    let (said, status) = fleet.verify();
    assert_eq!(status, 0, "{said}");
    // What came after it is in the bucket, and nobody knows it any more.
    assert!(said.contains("no row knows its"), "{said}");
    // New files are behind all that there were, also of those that nobody knows.
    let new = put(&other, 7);
    assert!(new > later && new > again);
    assert_eq!(get(one.address, &new, &[]).body, content(7, LONG));
    [one, other].into_iter().for_each(Node::stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_backup_names_that_is_older_than_the_grace_is_told_and_can_be_uploaded_again() {
    let fleet = Fleet::new("1s").await;
    let [one, other] = fleet.start();
    let (gone, kept) = (put(&one, 1), put(&one, 2));
    let backup = fleet.database.dump("one");
    remove(&other, &gone);
    let client = connect(&fleet.url).await;
    let places = "SELECT count(*) FROM larder.places";
    eventually(async || number(&client, places).await == 1).await;
    [one, other].into_iter().for_each(Node::stop);
    drop(client);

    fleet.database.set_back("one", &backup);
    let (said, status) = fleet.verify();
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("(1): its content") && !said.contains("(2):"),
        "{said}"
    );
    let [one, other] = fleet.start();
    put(&other, 1);
    assert_eq!(fleet.verify().1, 0);
    for (seed, path) in [(1, &gone), (2, &kept)] {
        assert_eq!(get(one.address, path, &[]).body, content(seed, LONG));
    }
    [one, other].into_iter().for_each(Node::stop);
}

/// The names of all files of a moment, as a node tells.
fn moment(node: &Node) -> BTreeSet<u32> {
    let answer = get(node.address, "/api/p2p/moment", &[]);
    let told = String::from_utf8(answer.body).unwrap();
    let lines = told.lines().filter(|it| !it.is_empty());
    let lines: Vec<Line> = lines.map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(matches!(lines.last(), Some(Line::End(_))), "{lines:?}");
    let mut files = BTreeMap::new();
    for line in lines {
        match line {
            Line::File(file) => drop(files.insert(file.id, file.name.parse().unwrap())),
            Line::Gone(id) => drop(files.remove(&id)),
            Line::Moment(_) | Line::End(_) => {}
        }
    }
    files.into_values().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_has_what_other_nodes_have_changed_before_it_and_nothing_of_what_came_after() {
    const FILES: u32 = 1_200;
    const MOVED: u32 = 150;
    let fleet = Fleet::new("1h").await;
    let [one, other] = fleet.start();
    let put = |name: u32| {
        let file = uploaded(other.address, &name.to_string(), b"the same");
        format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
    };
    // More than a page of them.
    let files: Vec<_> = thread::scope(|scope| {
        let put = &put;
        let parts = [0, 1, 2, 3].map(|part| {
            let names = (part * FILES / 4)..((part + 1) * FILES / 4);
            scope.spawn(move || names.map(|it| (it, put(it))).collect::<Vec<_>>())
        });
        parts
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    let (moments, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let names = moment(&one);
                moments.fetch_add(1, Ordering::Relaxed);
                // Each is taken from among the first and put behind all others, one by one.
                let put = names.range(FILES..).count();
                let put = u32::try_from(put).unwrap();
                let left = names.range(..MOVED).copied().collect::<Vec<_>>();
                let first = left.first().copied().unwrap_or(MOVED);
                assert_eq!(left, (first..MOVED).collect::<Vec<_>>());
                assert!(
                    put == first || put == first + 1,
                    "{put} put, {first} removed"
                );
            }
        });
        for (name, path) in &files[..MOVED as usize] {
            put(FILES + name);
            remove(&other, path);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(moments.into_inner() > 5);
    [one, other].into_iter().for_each(Node::stop);
}

/// All that a node tells of its files, but for who and where it is.
fn told(node: &Node) -> Vec<Value> {
    let listing = get(node.address, "/api/p2p/files", &[]).json();
    let mut files = listing["files"].as_array().unwrap().clone();
    for file in &mut files {
        let file = file.as_object_mut().unwrap();
        file.remove("download_url");
        file.remove("peer_id");
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_backed_up_to_a_directory_that_needs_no_server() {
    let fleet = Fleet::new("1h").await;
    let [one, other] = fleet.start();
    for seed in 0..4 {
        put(&one, seed);
        uploaded(other.address, "short", &content(10 + seed, 3_000));
    }
    let (dir, url) = (fleet.dirs[0].path(), one.url(""));
    done(dir, &url, &["backup", "B"]);
    remove(&other, &put(&other, 5));
    uploaded(other.address, "later", b"later");
    // What is there already is not brought again.
    let again = json(dir, &url, &["backup", "B"]);
    assert_eq!(
        (&again[0]["files"], &again[0]["new_contents"]),
        (&9.into(), &1.into())
    );
    let before = told(&other);
    [one, other].into_iter().for_each(Node::stop);
    done(dir, "", &["verify", "B"]);
    done(dir, "", &["restore", "B", "--storage", "restored"]);
    let alone = Node::start(&fleet.dirs[0], &["--storage", "restored"]);
    assert_eq!(told(&alone), before);
    for file in &before {
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        let hash = BlobHash::of(&get(alone.address, &path, &[]).body).to_string();
        assert_eq!(file["hash"], hash);
    }
    alone.stop();
}
