//! The drill of a backup: the database set back to what it was, and the bucket as it is.

use tempfile::TempDir;

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
