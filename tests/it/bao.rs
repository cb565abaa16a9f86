//! `GET /api/p2p/blob/{hash}/bao` of a running node: every answer proves its bytes, and
//! nothing that is damaged on the disk is passed on.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use larder::hash::BlobHash;
use larder::outboard::{GROUP_BYTES, Tree, VerifyError};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::encoded::verified;
use crate::common::forms::uploaded;
use crate::common::process::Node;
use crate::common::raw_http::{Answer, connect, get, head, send};

const GROUP: usize = 16 * 1024;
/// Longer than what an answer is made of at once.
const LONG: usize = 3_000_001;

/// A node with one blob.
struct World {
    dir: TempDir,
    node: Node,
    bytes: Vec<u8>,
    hash: BlobHash,
}

impl World {
    fn new(size: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let bytes = content(1, size);
        let file = uploaded(node.address, "a", &bytes);
        let hash = file["hash"].as_str().unwrap().parse().unwrap();
        Self {
            dir,
            node,
            bytes,
            hash,
        }
    }

    fn target(&self, query: &str) -> String {
        format!("/api/p2p/blob/{}/bao{query}", self.hash)
    }

    fn get(&self, query: &str) -> Answer {
        get(self.node.address, &self.target(query), &[])
    }

    /// Asks for all and returns the body and whether it came whole.
    fn get_all(&self) -> (Vec<u8>, bool) {
        let mut stream = connect(self.node.address);
        let request = head("GET", &self.target(""), &["Connection: close"]);
        stream.write_all(&request).unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let behind_head = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap() + 4;
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        let body = answer.split_off(behind_head);
        let expected = Tree::new(self.size()).encoded_len(&(0..self.size()));
        let whole = ended.is_ok() && body.len() as u64 == expected;
        (body, whole)
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn blob_file(&self) -> PathBuf {
        in_shard(&self.dir.path().join("peer_storage/blobs"), self.hash)
    }

    fn outboard_file(&self) -> PathBuf {
        in_shard(&self.dir.path().join("peer_storage/outboards"), self.hash)
    }

    fn assert_whole(&self) {
        let (body, whole) = self.get_all();
        assert!(whole);
        let (proven, ended) = verified(self.hash, self.size(), 0..self.size(), [body.into()]);
        assert_eq!(ended, Ok(()));
        assert!(proven == self.bytes);
    }
}

fn in_shard(dir: &Path, hash: BlobHash) -> PathBuf {
    let name = hash.to_string();
    dir.join(&name[..2]).join(name)
}

/// Changes one byte of a file.
fn damage(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn every_range_is_proven() {
    for size in [0, 1, GROUP, GROUP + 1, 65_536, 65_537, LONG] {
        let world = World::new(size);
        let size = size as u64;
        let last = size.saturating_sub(1);
        let tree = Tree::new(size);
        for (query, range) in [
            (String::new(), 0..size),
            ("?start=0".to_owned(), 0..size),
            (format!("?end={size}"), 0..size),
            (format!("?start={last}&end={size}"), last..size),
            (format!("?start={size}"), size..size),
            ("?end=0".to_owned(), 0..0),
            (format!("?end={}", u64::MAX), 0..size),
            (format!("?end={GROUP_BYTES}"), 0..GROUP_BYTES.min(size)),
            (
                format!("?start={}", last.min(GROUP_BYTES)),
                last.min(GROUP_BYTES)..size,
            ),
            (
                format!("?start={}&end={}", last.min(16_383), last.min(16_385)),
                last.min(16_383)..last.min(16_385),
            ),
        ] {
            let answer = world.get(&query);
            assert_eq!(answer.status, 200, "{query}");
            assert_eq!(answer.header("blob-size"), size.to_string());
            assert_eq!(answer.header("content-type"), "application/octet-stream");
            assert_eq!(
                answer.body.len() as u64,
                tree.encoded_len(&range),
                "{query}"
            );
            let (proven, ended) = verified(world.hash, size, range.clone(), [answer.body.into()]);
            assert_eq!(ended, Ok(()), "{query} of {size}");
            let at = |at| usize::try_from(at).unwrap();
            assert!(
                proven == world.bytes[at(range.start)..at(range.end)],
                "{query}"
            );
        }
    }
}

#[test]
fn a_head_tells_how_long_the_answer_is() {
    let world = World::new(LONG);
    let request = head("HEAD", &world.target("?start=5&end=7"), &[]);
    let answer = send(world.node.address, &request);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("blob-size"), LONG.to_string());
    let expected = Tree::new(world.size()).encoded_len(&(5..7));
    assert_eq!(answer.header("content-length"), expected.to_string());
    assert!(answer.body.is_empty());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = World::new(100);
    for query in [
        "?start=x",
        "?end=",
        "?start=-1",
        "?start=1.5",
        "?start=18446744073709551616",
        "?start=5&end=4",
        "?start=101",
        "?start=101&end=200",
        "?start=1&start=2",
    ] {
        let refusal = world.get(query).refusal();
        assert_eq!(refusal, (400, "bad_query".to_owned()), "{query}");
    }
    let unknown = BlobHash::of(b"unknown").to_string();
    for hash in [unknown.as_str(), "x", "%ff"] {
        let answer = get(
            world.node.address,
            &format!("/api/p2p/blob/{hash}/bao"),
            &[],
        );
        assert_eq!(answer.refusal(), (404, "unknown_blob".to_owned()), "{hash}");
    }
}

#[test]
fn an_outboard_that_is_missing_or_damaged_is_made_anew() {
    let world = World::new(LONG);
    world.assert_whole();
    let outboard = world.outboard_file();
    let sound = fs::read(&outboard).unwrap();
    assert_eq!(sound.len() as u64, Tree::new(world.size()).outboard_len());
    let damages: [&dyn Fn(); 5] = [
        &|| fs::remove_file(&outboard).unwrap(),
        &|| fs::write(&outboard, b"").unwrap(),
        &|| fs::write(&outboard, &sound[..sound.len() / 2]).unwrap(),
        &|| damage(&outboard, 0),
        &|| damage(&outboard, sound.len() - 1),
    ];
    for damage in damages {
        damage();
        world.assert_whole();
        assert!(fs::read(&outboard).unwrap() == sound);
    }
}

#[test]
fn a_damaged_blob_is_never_passed_on() {
    let world = World::new(LONG);
    world.assert_whole();
    let blob = world.blob_file();
    // Not at the end, which proves the length before anything is sent.
    damage(&blob, LONG - 3 * GROUP);
    let (body, whole) = world.get_all();
    assert!(!whole);
    // What is there is good, as far as it goes.
    let (proven, ended) = verified(world.hash, world.size(), 0..world.size(), [body.into()]);
    assert_eq!(ended, Err(VerifyError::TooShort));
    assert!(proven.len() > LONG / 2 && world.bytes.starts_with(&proven));
    // What is right of it is given out still: others may repair theirs with that.
    let last = world.get(&format!("?start={}", LONG - 1));
    let range = world.size() - 1..world.size();
    let (proven, ended) = verified(world.hash, world.size(), range, [last.body.into()]);
    assert_eq!((last.status, ended), (200, Ok(())));
    assert!(world.bytes.ends_with(&proven));
    // Found in time, damage is told as such; also while the outboard is derived.
    let damaged = format!("?start={}", LONG - 3 * GROUP);
    assert_eq!(world.get(&damaged).refusal(), (500, "damaged".to_owned()));
    fs::remove_file(world.outboard_file()).unwrap();
    assert_eq!(world.get("").refusal(), (500, "damaged".to_owned()));
    assert!(!world.outboard_file().exists());
    let shorter = fs::File::options().write(true).open(&blob).unwrap();
    shorter.set_len(LONG as u64 / 2).unwrap();
    assert_eq!(world.get("").refusal(), (500, "damaged".to_owned()));
    shorter.set_len(10).unwrap();
    assert_eq!(world.get("").refusal(), (500, "damaged".to_owned()));
    assert!(
        world
            .node
            .log()
            .contains(&format!("blob {} is damaged", world.hash))
    );
}

/// Neither an answer nor a blob whose outboard is derived is ever in memory as a whole.
#[test]
fn long_answers_take_little_memory() {
    let world = World::new(96 << 20);
    fs::remove_file(world.outboard_file()).unwrap();
    let before = world.node.peak_memory();
    world.assert_whole();
    world.assert_whole();
    let more = world.node.peak_memory() - before;
    assert!(more < 16 << 10, "{more} KiB");
}
