//! `kill -9` at any moment, over and over, with clients at work.
//!
//! What a client was told must be true after every restart: an uploaded file is there
//! with its bytes, a removed one is gone, the order of the listing and the peer id are
//! those from before. A request that was cut off may have happened or not, but whole.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;
mod ledger;
mod load;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;

use common::http_client::http_client;
use common::process::{Node, until};
use common::random::Random;
use ledger::{Content, Ledger};
use load::Client;

/// How many clients are at work.
const CLIENTS: usize = 6;
/// The longest time between two kills, in milliseconds.
const LONGEST_RUN_MS: u64 = 250;
/// How often the node is killed on one store in a long run: what is listed and compared after each
/// start grows with it.
const OF_A_STORE: usize = 250;
/// How many files are downloaded after each start.
const SAMPLE: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_answers_wait_for_the_sync() {
    kill_and_check(&["--log=warn", "--durability=always"], cycles(120, 7_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_answers_do_not_wait_for_the_sync() {
    kill_and_check(&["--log=warn", "--durability=relaxed"], cycles(50, 3_000)).await;
}

/// How often the node is killed on each of some stores: 10,000 times in all in a long run.
fn cycles(usual: usize, long: usize) -> Vec<usize> {
    match std::env::var_os("LARDER_SOAK") {
        Some(_) => vec![OF_A_STORE; long / OF_A_STORE],
        None => vec![usual],
    }
}

async fn kill_and_check(arguments: &[&str], stores: Vec<usize>) {
    let mut before = 0;
    for cycles in stores {
        kill_and_check_one(arguments, cycles).await;
        before += cycles;
        println!("{before} kills so far");
    }
}

async fn kill_and_check_one(arguments: &[&str], cycles: usize) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut run = Run {
        dir: &dir,
        arguments,
        random: Random::from_environment(),
        ledger: Arc::default(),
        peer_id: None,
    };
    for _ in 0..cycles {
        let node = run.start_and_check(SAMPLE).await;
        run.load_and_kill(node).await;
    }
    let node = run.start_and_check(usize::MAX).await;
    run.expect_no_orphan(&node);
    // Nothing was lost, so nothing may be said to be.
    assert!(!node.log().contains("ERROR"));
    let ledger = run.ledger.lock().unwrap();
    println!(
        "{cycles} kills, {} changes acknowledged and {} cut off: none lost, nothing wrong served",
        ledger.acknowledged, ledger.cut_off
    );
    // Otherwise the test did not test.
    assert!(ledger.acknowledged > 10 * cycles, "{}", ledger.acknowledged);
    assert!(ledger.cut_off > cycles, "{}", ledger.cut_off);
}

struct Run<'a> {
    dir: &'a TempDir,
    arguments: &'a [&'a str],
    random: Random,
    ledger: Arc<Mutex<Ledger>>,
    peer_id: Option<String>,
}

impl Run<'_> {
    /// Starts the node and checks what it has, downloading at most `sample` files.
    async fn start_and_check(&mut self, sample: usize) -> Node {
        let node = Node::start(self.dir, self.arguments);
        let spool = self.dir.path().join("peer_storage/spool");
        let left = spool.read_dir().unwrap().count();
        assert_eq!(left, 0, "interrupted uploads are left");
        let client = self.client(&node);
        let peer_id = client.peer_id().await.unwrap();
        let known = self.peer_id.get_or_insert_with(|| peer_id.clone());
        assert_eq!(*known, peer_id);
        let listing = client.list("").await.unwrap();
        let new = self.ledger.lock().unwrap().check(&listing);
        for (id, content) in self.choose(new, sample) {
            client.check(&id, content).await.unwrap();
        }
        node
    }

    /// Half of the sample from the new files, half from all.
    fn choose(&mut self, mut new: Vec<(String, Content)>, sample: usize) -> Vec<(String, Content)> {
        let mut all = self.ledger.lock().unwrap().files();
        if all.len() <= sample {
            return all;
        }
        let mut chosen = Vec::new();
        for from in [&mut new, &mut all] {
            for _ in 0..(sample / 2).min(from.len()) {
                let n = usize::try_from(self.random.below(from.len() as u64)).unwrap();
                chosen.push(from.swap_remove(n));
            }
        }
        chosen
    }

    /// Lets the clients work for a moment and kills the node under their hands.
    async fn load_and_kill(&mut self, node: Node) {
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(self.client(&node).run());
        }
        let moment = self.random.below(LONGEST_RUN_MS * 1000);
        tokio::time::sleep(Duration::from_micros(moment)).await;
        node.kill();
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
    }

    fn client(&mut self, node: &Node) -> Client {
        Client {
            http: http_client(),
            base: node.url(""),
            ledger: Arc::clone(&self.ledger),
            random: self.random.split(),
        }
    }

    /// Waits until the blobs on disk are exactly those of the files: the node collects
    /// those that no file needs after its start.
    fn expect_no_orphan(&self, node: &Node) {
        let files = self.ledger.lock().unwrap().files();
        let needed: BTreeSet<_> = files
            .iter()
            .map(|(_, file)| file.hash.to_string())
            .collect();
        until("the blobs are those of the files", || {
            let is_clean = names_of(&node.content_files()) == needed
                && names_of(&node.outboard_files()).is_subset(&needed);
            is_clean.then_some(())
        });
    }
}

fn names_of(files: &[PathBuf]) -> BTreeSet<String> {
    let names = files.iter().map(|path| path.file_name().unwrap());
    names
        .map(|name| name.to_str().unwrap().to_owned())
        .collect()
}
