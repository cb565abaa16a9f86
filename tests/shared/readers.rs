//! Clients that do not read what comes to them from the bucket.

use std::io::{Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::until;
use crate::common::raw_http::{connect, get, head};
use crate::nodes::start_with;
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
