//! Hundreds of downloads that stand still: the memory they hold together is bounded.

use std::io::Write;
use std::net::TcpStream;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::Node;
use crate::common::raw_http::{connect, get, head};

const MIB: usize = 1 << 20;
const CLIENTS: usize = 600;
/// The room of all pieces, what pieces of the shortest length take beside it, and the node.
const MOST_KIB: u64 = 420 << 10;

/// A node with a small file and one that no buffer between it and a client holds; the paths
/// of the two.
fn start() -> (tempfile::TempDir, Node, [String; 2]) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--log=warn"]);
    let paths = [100, 64 * MIB].map(|length| {
        let file = uploaded(node.address, "file", &content(1, length));
        format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap())
    });
    (dir, node, paths)
}

#[test]
fn answers_that_nobody_reads() {
    let (_dir, node, [small, big]) = start();
    let clients: Vec<TcpStream> = (0..CLIENTS)
        .map(|_| {
            let mut client = connect(node.address);
            client.write_all(&head("GET", &big, &[])).unwrap();
            client
        })
        .collect();
    for client in &clients {
        assert_eq!(client.peek(&mut [0]).unwrap(), 1);
    }
    assert_eq!(get(node.address, &small, &[]).body.len(), 100);
    let most = node.peak_memory();
    assert!(most < MOST_KIB, "{most} KiB");
}
