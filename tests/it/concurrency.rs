//! Requests for one content that meet: uploads at once, and a removal among them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{get, head, send};

/// A content that is spooled in memory, and one that is spooled in a file.
const LENGTHS: [usize; 2] = [1000, 200_000];

fn start() -> (TempDir, Node) {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &["--log=warn"]);
    (dir, node)
}

fn id(file: &Value) -> String {
    file["file_id"].as_str().unwrap().to_owned()
}

fn path(id: &str) -> String {
    format!("/api/p2p/file/{id}")
}

fn remove(address: SocketAddr, id: &str) {
    let answer = send(address, &head("DELETE", &path(id), &[]));
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn expect_content(address: SocketAddr, id: &str, content: &[u8]) {
    let answer = get(address, &path(id), &[]);
    assert_eq!(answer.status, 200, "{id}");
    assert!(answer.body == content, "{id} has other bytes");
}

/// Waits until so many blobs are on disk, and no upload under way.
fn expect_blobs(node: &Node, count: usize) {
    until("only the blobs that files need are on disk", || {
        let files = node.content_files();
        let blobs = files
            .iter()
            .filter(|file| !file.iter().any(|dir| dir == "spool"));
        (files.len() == count && blobs.count() == count).then_some(())
    });
}

#[test]
fn one_content_uploaded_64_times_at_once_is_64_files_and_one_blob() {
    const CLIENTS: usize = 64;
    for len in LENGTHS {
        let (_dir, node) = start();
        let (address, content) = (node.address, content(1, len));
        let together = Barrier::new(CLIENTS);
        let upload = |n: usize| {
            together.wait();
            id(&uploaded(address, &format!("{n}.bin"), &content))
        };
        let ids: Vec<String> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|n| scope.spawn(move || upload(n)))
                .collect();
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .collect()
        });
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), CLIENTS);
        expect_blobs(&node, 1);
        for id in &ids {
            expect_content(address, id, &content);
        }
        let (last, others) = ids.split_last().unwrap();
        for id in others {
            remove(address, id);
        }
        expect_content(address, last, &content);
        expect_blobs(&node, 1);
        remove(address, last);
        expect_blobs(&node, 0);
    }
}

#[test]
fn an_upload_keeps_its_bytes_while_the_same_content_is_removed() {
    let rounds = if std::env::var_os("LARDER_SOAK").is_some() {
        20_000
    } else {
        500
    };
    for len in LENGTHS {
        let (_dir, node) = start();
        let (address, content) = (node.address, content(2, len));
        let upload = || id(&uploaded(address, "same.bin", &content));
        let mut old = upload();
        for round in 0..rounds {
            // The removal meets the uploads at another moment in each round.
            let delay = Duration::from_micros(round % 30 * 50);
            let (first, second) = thread::scope(|scope| {
                let uploads = (scope.spawn(upload), scope.spawn(upload));
                thread::sleep(delay);
                remove(address, &old);
                (uploads.0.join().unwrap(), uploads.1.join().unwrap())
            });
            expect_content(address, &first, &content);
            expect_content(address, &second, &content);
            remove(address, &first);
            old = second;
        }
        remove(address, &old);
        expect_blobs(&node, 0);
    }
}
