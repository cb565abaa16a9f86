//! Room is given back: what a small store takes on the disk after a churn of ten times its size, in
//! blocks that are allocated.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::Node;
use crate::common::random::Random;
use crate::common::raw_http::{head, send};

/// What a file may take beside its bytes.
const A_FILE: u64 = 400;
/// What a node keeps to itself for a full disk, which does not grow.
const APART: [&str; 2] = ["ballast", "spare-files"];

/// How many files there are, and of which lengths, in bytes.
type Kind = (usize, u64, u64);

/// Files of one kind, which come and go.
struct Files {
    node: SocketAddr,
    kind: Kind,
    random: Random,
    seed: u32,
    live: Vec<(String, u64)>,
}

impl Files {
    fn new(node: SocketAddr, kind: Kind) -> Self {
        let mut files = Self {
            node,
            kind,
            random: Random(kind.1),
            seed: u32::try_from(kind.1).unwrap() << 8,
            live: Vec::new(),
        };
        for _ in 0..kind.0 {
            files.upload();
        }
        files
    }

    fn upload(&mut self) -> u64 {
        let (_, least, most) = self.kind;
        let size = least + self.random.below(most - least);
        self.seed += 1;
        let bytes = content(self.seed, usize::try_from(size).unwrap());
        let file = uploaded(self.node, "a", &bytes);
        self.live
            .push((file["file_id"].as_str().unwrap().to_owned(), size));
        size
    }

    fn remove(&mut self) {
        let at = usize::try_from(self.random.below(self.live.len() as u64)).unwrap();
        let path = format!("/api/p2p/file/{}", self.live.swap_remove(at).0);
        assert_eq!(send(self.node, &head("DELETE", &path, &[])).status, 200);
    }

    fn payload(&self) -> u64 {
        self.live.iter().map(|(_, size)| size).sum()
    }

    /// Replaces files until ten times as much has come as there is.
    fn churn(&mut self) {
        let all = 10 * self.payload();
        let mut come = 0;
        while come < all {
            self.remove();
            come += self.upload();
        }
    }
}

/// What is on the disk, in bytes, by what it is.
fn on_disk(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if !APART.contains(&name.as_str()) {
            found.push((name, below(&entry.path())));
        }
    }
    found
}

fn below(path: &Path) -> u64 {
    // Files come and go.
    let Ok(look) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = look.blocks() * 512;
    match fs::read_dir(path) {
        Ok(entries) => own + entries.flatten().map(|it| below(&it.path())).sum::<u64>(),
        Err(_) => own,
    }
}

/// The least that a store comes to within a while after a churn, and what it may take beside
/// `beside`.
fn measured(kinds: &[Kind], beside: u64) {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--scrub-every", "off", "--durability", "relaxed"];
    let node = Node::start(&dir, &arguments);
    let mut files: Vec<_> = kinds
        .iter()
        .map(|it| Files::new(node.address, *it))
        .collect();
    files.iter_mut().for_each(Files::churn);
    let payload: u64 = files.iter().map(Files::payload).sum();
    let count: u64 = files.iter().map(|it| it.live.len() as u64).sum();
    let allowed = payload + A_FILE * count;
    let allowed = allowed + allowed * 3 / 10 + beside;
    let storage = dir.path().join("peer_storage");
    let (began, mut taken) = (Instant::now(), on_disk(&storage));
    while taken.iter().map(|it| it.1).sum::<u64>() > allowed {
        let waited = began.elapsed();
        assert!(
            waited < Duration::from_mins(1),
            "{taken:?} for {payload} bytes of {count} files"
        );
        std::thread::sleep(Duration::from_millis(50));
        taken = on_disk(&storage);
    }
    println!("{taken:?} for {payload} bytes of {count} files");
    node.stop();
    let stopped = on_disk(&storage);
    assert!(
        stopped.iter().map(|it| it.1).sum::<u64>() <= allowed,
        "stopped: {stopped:?}"
    );
}

#[test]
fn ten_mebibytes_take_no_more_than_is_promised_after_a_churn() {
    let kinds = [(500, 1, 8192), (30, 8192, 65_536), (3, 1 << 20, 3 << 20)];
    measured(&kinds, 0);
}

/// Each of the 256 directories of contents takes a block, and sled what it takes at least.
#[test]
fn one_mebibyte_takes_little_more() {
    measured(&[(150, 1, 8192), (10, 8192, 65_536)], 2 << 20);
}
