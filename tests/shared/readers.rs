//! What is read from the bucket takes no more memory than is stated: neither for clients that do
//! not read on, nor by answers that are longer than was asked for.

use std::io::{Read, Write};
use std::net::TcpStream;

use axum::http::{Method, Uri};
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::{connect, get, head};
use crate::faults::{Fault, Faults};
use crate::nodes::{command, start_with};
use crate::postgres::Server;
use crate::s3_store::S3Store;

const MIB: u64 = 1 << 20;
/// More than may read at once.
const READERS: usize = 1_200;
/// What the guide says that they take together: what all share, and a piece for each that may read.
const STATED: u64 = (256 + 512) * MIB;
/// What a connection takes besides, as every node's does.
const CONNECTION: u64 = 100 << 10;

/// Whether an answer has begun with content.
fn is_served(mut reader: &TcpStream) -> bool {
    let mut status = [0; 12];
    reader.read_exact(&mut status).unwrap();
    match &status {
        b"HTTP/1.1 200" => true,
        b"HTTP/1.1 503" => false,
        status => panic!("{}", String::from_utf8_lossy(status)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_do_not_read_take_no_more_memory_than_is_stated() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    let bytes = content(1, 16 << 20);
    let id = uploaded(node.address, "file", &bytes)["file_id"].clone();
    let path = format!("/api/p2p/file/{}", id.as_str().unwrap());
    let before = node.peak_memory();
    let readers = [(); READERS].map(|()| connect(node.address));
    for mut reader in &readers {
        reader.write_all(&head("GET", &path, &[])).unwrap();
    }
    let served = readers.iter().filter(|it| is_served(it)).count();
    assert!(served >= 512, "{served}");
    let took = (node.peak_memory() - before) * 1024;
    let most = STATED + u64::try_from(READERS).unwrap() * CONNECTION;
    assert!(took < most, "{} MiB by {served} readers", took / MIB);
    drop(readers);
    until("others are served", || {
        (get(node.address, &path, &[]).body == bytes).then_some(())
    });
    node.stop();
}

fn is_get(method: &Method, _: &Uri) -> bool {
    method == Method::GET
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_claim_to_be_long_or_have_no_end_take_no_memory_and_end_no_node() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dirs) = (
        database.database("one").await,
        [(); 2].map(|()| TempDir::new().unwrap()),
    );
    let one = start_with(&dirs[0], &url, &store, &[]);
    let files = [2_000, 200_000, 5 << 20].map(|length| {
        let bytes = content(1, length);
        let id = uploaded(one.address, "file", &bytes)["file_id"].clone();
        (format!("/api/p2p/file/{}", id.as_str().unwrap()), bytes)
    });
    one.stop();
    let faults = Faults::before(store.endpoint()).await;
    for claimed in [u64::MAX / 2, 6_000_000_000] {
        let node = Node::spawn(&dirs[1], command(dirs[1].path(), &url, &faults.endpoint));
        let before = node.peak_memory();
        faults.befall(usize::MAX, is_get, Fault::Endless(claimed));
        for (path, _) in &files {
            let answer = get(node.address, path, &[]);
            assert_eq!(answer.refusal(), (503, "unavailable".to_owned()), "{path}");
        }
        assert!(faults.heal() >= files.len());
        let took = (node.peak_memory() - before) / 1024;
        assert!(took < 64, "{took} MiB where {claimed} bytes were claimed");
        for (path, bytes) in &files {
            until("it is served", || {
                (get(node.address, path, &[]).body == *bytes).then_some(())
            });
        }
        node.stop();
    }
    faults.befall(usize::MAX, is_get, Fault::Endless(u64::MAX / 2));
    let started = command(dirs[0].path(), &url, &faults.endpoint)
        .output()
        .unwrap();
    assert_eq!(started.status.code(), Some(1), "{started:?}");
}
