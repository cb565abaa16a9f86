//! Nodes that stop while something long is done for a request.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::Node;
use crate::common::raw_http::{connect, head};
use crate::common::traced::TracedReads;
use crate::common::tus;

/// Long enough that its pieces take minutes where each takes a second.
const LONG: usize = 64 << 20;

/// A node with long content, and where that is.
struct Long {
    dir: TempDir,
    node: Node,
    hash: String,
}

impl Long {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(&dir, &[]);
        let file = uploaded(node.address, "long", &content(5, LONG));
        let hash = file["hash"].as_str().unwrap().to_owned();
        Self { dir, node, hash }
    }

    fn in_shard(&self, dir: &str) -> PathBuf {
        let dir = self.dir.path().join("peer_storage").join(dir);
        dir.join(&self.hash[..2]).join(&self.hash)
    }

    /// Asks what has the node read the file at `path`, and stops it then, which takes no longer
    /// than a few of those reads.
    fn stops_while_reading(self, path: PathBuf, arguments: &[&str], request: &[u8]) {
        self.node.stop();
        let arguments = [&["--shutdown-grace", "1"], arguments].concat();
        let node = Node::start(&self.dir, &arguments);
        let path = fs::canonicalize(path).unwrap();
        let reads = TracedReads::new(&node, &path, "delay_enter=1000000");
        let mut stream = connect(node.address);
        stream.write_all(request).unwrap();
        reads.until_read();
        node.stop();
    }
}

#[test]
fn a_stop_waits_for_no_outboard_to_be_derived() {
    let long = Long::new();
    fs::remove_file(long.in_shard("outboards")).unwrap();
    let request = head("GET", &format!("/api/p2p/blob/{}", long.hash), &[]);
    let blob = long.in_shard("blobs");
    long.stops_while_reading(blob, &[], &request);
}

#[test]
fn a_stop_waits_for_no_content_that_is_read_to_be_proven() {
    let long = Long::new();
    fs::remove_file(long.in_shard("outboards")).unwrap();
    let request = head("GET", &format!("/api/p2p/blob/{}", long.hash), &[]);
    let blob = long.in_shard("blobs");
    // Nothing can be written down, as on a full disk.
    long.stops_while_reading(blob, &["--min-free", "8000TiB"], &request);
}

#[test]
fn a_stop_waits_for_no_upload_of_which_what_is_there_is_read() {
    let long = Long::new();
    let address = long.node.address;
    let upload = tus::created(address, LONG + 1);
    tus::patched(address, &upload, 0, &content(6, LONG));
    let (_, id) = upload.rsplit_once('/').unwrap();
    let path = long.dir.path().join("peer_storage/uploading").join(id);
    let request = tus::request("HEAD", &upload, &[], &[]);
    long.stops_while_reading(path, &[], &request);
}

#[test]
fn a_stop_waits_for_no_content_that_came_again_to_be_compared() {
    let long = Long::new();
    let bytes = content(5, LONG);
    let length = format!("Content-Length: {LONG}");
    let request = head("PUT", "/api/p2p/upload/again", &[&length]);
    let blob = long.in_shard("blobs");
    long.stops_while_reading(blob, &[], &[request, bytes].concat());
}
