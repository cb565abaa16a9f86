//! Members of a network that hold copies for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::content::content;
use super::forms::uploaded;
use super::member_network::{MEMBER, Network};
use super::peers::peer_id;
use super::process::{Node, larder};
use super::raw_http::get;

/// Whose file, and its id there.
pub(crate) type Key = (String, String);

/// Members that ask for three copies of each file, each in a directory of its own.
pub(crate) struct Holders {
    pub(crate) network: Network,
    pub(crate) dirs: Vec<TempDir>,
    /// None while one is off.
    pub(crate) nodes: Vec<Option<Node>>,
    /// On how many members their files are to be.
    copies: String,
    more: Vec<String>,
}

impl Holders {
    /// Members that each offer so much, with these settings, which know each other.
    pub(crate) fn start(offers: &[&str], more: &[&str]) -> Self {
        Self::start_for(3, offers, more)
    }

    /// The same where each file is to be on so many.
    pub(crate) fn start_for(copies: u8, offers: &[&str], more: &[&str]) -> Self {
        let mut holders = Self {
            copies: copies.to_string(),
            network: Network::new(),
            dirs: Vec::new(),
            nodes: Vec::new(),
            more: more.iter().map(ToString::to_string).collect(),
        };
        for offer in offers {
            holders.join(offer);
        }
        holders.until_met();
        holders
    }

    /// One more that has never met any of them, and its number.
    pub(crate) fn join(&mut self, offer: &str) -> usize {
        let (dir, number) = (tempfile::tempdir().unwrap(), self.nodes.len());
        self.network.join(&dir, "1d");
        std::fs::write(dir.path().join("offer"), offer).unwrap();
        self.dirs.push(dir);
        self.nodes.push(None);
        self.turn_on(number);
        number
    }

    /// Has one run again, which meets the others by one that runs.
    pub(crate) fn turn_on(&mut self, number: usize) {
        self.turn_on_by(number, |_| ());
    }

    /// The same with a process that is made otherwise.
    pub(crate) fn turn_on_by(&mut self, number: usize, made: impl Fn(&mut Command)) {
        let peers: Vec<_> = self.running().map(|node| node.url("")).take(1).collect();
        self.turn_on_among(number, &peers, made);
    }

    /// The same of one that looks for these peers.
    pub(crate) fn turn_on_with(&mut self, number: usize, peers: &[String]) {
        self.turn_on_among(number, peers, |_| ());
    }

    fn turn_on_among(&mut self, number: usize, peers: &[String], made: impl Fn(&mut Command)) {
        let dir = &self.dirs[number];
        let offer = std::fs::read_to_string(dir.path().join("offer")).unwrap();
        let mut command = larder(dir.path());
        command
            .args(MEMBER)
            .args(["--copies", self.copies.as_str(), "--offer", offer.trim()]);
        command.args(peers.iter().flat_map(|it| ["--peer", it]));
        command.args(&self.more);
        made(&mut command);
        self.nodes[number] = Some(Node::spawn(dir, command));
    }

    /// Kills one, as a power cut would.
    pub(crate) fn kill(&mut self, number: usize) {
        self.nodes[number].take().unwrap().kill();
    }

    /// Kills one, with its disk.
    pub(crate) fn destroy(&mut self, number: usize) {
        self.kill(number);
        std::fs::remove_dir_all(self.dirs[number].path().join("peer_storage")).unwrap();
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    pub(crate) fn at(&self, number: usize) -> SocketAddr {
        self.nodes[number].as_ref().unwrap().address
    }

    pub(crate) fn until_met(&self) {
        let others = self.running().count() - 1;
        until_for(Duration::from_mins(1), "all have met", || {
            let mut nodes = self.running();
            let met = |node: &Node| {
                let status = get(node.address, "/api/p2p/status", &[]).json();
                status["peers_reachable"] == others && status["copies"]["members"] == others
            };
            nodes.all(met).then_some(())
        });
    }

    /// Uploads so many files to each of some, and how long they are together, in bytes.
    pub(crate) fn upload(&self, numbers: &[usize], files: usize, bytes: usize) -> u64 {
        let mut all = 0;
        std::thread::scope(|scope| {
            for number in numbers {
                let address = self.at(*number);
                scope.spawn(move || {
                    for file in 0..files {
                        let seed = u32::try_from(number * 100_000 + file).unwrap();
                        let bytes = content(seed, 1 + (file * 7919) % (2 * bytes));
                        uploaded(address, &format!("{number}-{file}"), &bytes);
                    }
                });
            }
        });
        for _ in numbers {
            let bytes = (0..files).map(|file| 1 + (file * 7919) % (2 * bytes));
            all += u64::try_from(bytes.sum::<usize>()).unwrap();
        }
        all
    }

    /// On which of those that run each file is.
    pub(crate) fn places(&self) -> BTreeMap<Key, BTreeSet<usize>> {
        let mut places = BTreeMap::<_, BTreeSet<_>>::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            for (key, _) in own(node.address).into_iter().chain(held(node.address)) {
                places.entry(key).or_default().insert(number);
            }
        }
        places
    }

    /// Waits until so many files are there, each on so many that run.
    pub(crate) fn until_on(&self, length: Duration, files: usize, copies: usize) {
        let mut seen = BTreeMap::new();
        let began = Instant::now();
        loop {
            let places = self.places();
            seen.clear();
            for on in places.values() {
                *seen.entry(on.len()).or_insert(0) += 1;
            }
            if seen == BTreeMap::from([(copies, files)]) {
                return;
            }
            assert!(
                began.elapsed() < length,
                "{files} files are not on {copies} each: {seen:?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// How many bytes were fetched for copies by those that run.
    pub(crate) fn fetched(&self) -> u64 {
        let name = "larder_copies_fetched_bytes_total";
        self.running().map(|it| metric(it.address, name)).sum()
    }

    /// What is told of copies in the status of one.
    pub(crate) fn status(&self, number: usize) -> Value {
        get(self.at(number), "/api/p2p/status", &[]).json()["copies"].clone()
    }
}

/// A number of a node's metrics.
pub(crate) fn metric(node: SocketAddr, name: &str) -> u64 {
    let page = get(node, "/metrics", &[]);
    let page = String::from_utf8(page.body).unwrap();
    let mut lines = page.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap().parse().unwrap()
}

/// The files of a node's own, and how long they are.
pub(crate) fn own(node: SocketAddr) -> Vec<(Key, u64)> {
    let id = peer_id(node);
    let listing = get(node, "/api/p2p/files", &[]).json();
    let files = listing["files"].as_array().unwrap().iter();
    let key = |file: &Value| (id.clone(), file["file_id"].as_str().unwrap().to_owned());
    files
        .map(|it| (key(it), it["size"].as_u64().unwrap()))
        .collect()
}

/// The files of others that it holds, and how long they are.
pub(crate) fn held(node: SocketAddr) -> Vec<(Key, u64)> {
    let (mut held, mut after) = (Vec::new(), String::new());
    loop {
        let page = get(node, &format!("/api/p2p/copies{after}"), &[]).json();
        for entry in page["entries"].as_array().unwrap() {
            let copy = &entry["copy"];
            if let (Some(owner), Some(file)) = (copy["owner"].as_str(), copy["file_id"].as_str()) {
                let key = (owner.to_owned(), file.to_owned());
                held.push((key, copy["size"].as_u64().unwrap()));
            }
        }
        let Some(next) = page["next"].as_str() else {
            return held;
        };
        after = format!("?after={next}");
    }
}

/// Waits for something that may take so long.
pub(crate) fn until_for<T>(length: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < length, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
