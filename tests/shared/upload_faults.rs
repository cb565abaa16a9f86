//! Uploads in parts, while what comes of the store is wrong, or late.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use axum::http::{Method, Uri};
use futures_util::TryStreamExt;
use object_store::ObjectStore;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::process::Node;
use crate::common::raw_http::{self, get};
use crate::common::tus::{created, look, offset, patch, patch_request, patched};
use crate::faults::{Fault, Faults};
use crate::nodes::{command, start_with};
use crate::postgres::{Server, connect, eventually, number};
use crate::s3_store::S3Store;

/// Shorter than a part of the bucket's, and longer than what shares an object.
const LENGTH: usize = 300_000;

fn is_read_of_a_part(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && uri.path().contains("/uploading/")
}

/// Two nodes, of which the first reaches the store through a proxy.
async fn nodes(url: &str, store: &S3Store, dirs: &[TempDir; 2]) -> (Faults, [Node; 2]) {
    let faults = Faults::before(store.endpoint()).await;
    let behind = command(dirs[0].path(), url, &faults.endpoint);
    let behind = Node::spawn(&dirs[0], behind);
    (faults, [behind, start_with(&dirs[1], url, store, &[])])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_way_has_changed_once_ends_no_upload() {
    static READS: AtomicUsize = AtomicUsize::new(0);
    /// That of what is put together, behind that of what is gone on with.
    fn is_second_read(method: &Method, uri: &Uri) -> bool {
        is_read_of_a_part(method, uri) && READS.fetch_add(1, Ordering::Relaxed) == 1
    }
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (faults, [behind, other]) = nodes(&url, &store, &dirs).await;
    let bytes = content(1, LENGTH);
    let upload = created(other.address, LENGTH);
    patched(other.address, &upload, 0, &bytes[..100_000]);
    faults.befall(1, is_read_of_a_part, Fault::Flip);
    patched(behind.address, &upload, 100_000, &bytes[100_000..200_000]);
    assert_eq!(faults.heal(), 1);
    patched(other.address, &upload, 200_000, &bytes[200_000..250_000]);
    faults.befall(1, is_second_read, Fault::Flip);
    let last = patched(behind.address, &upload, 250_000, &bytes[250_000..]);
    assert_eq!(faults.heal(), 1);
    let path = format!("/api/p2p/file/{}", last.header("larder-file-id"));
    let answer = get(other.address, &path, &[]);
    assert!(answer.status == 200 && answer.body == bytes);
    behind.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_finds_nothing_of_an_upload_which_others_have_taken_over_changes_nothing() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let client = connect(&url).await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (faults, [behind, other]) = nodes(&url, &store, &dirs).await;
    let bytes = content(1, LENGTH);
    let upload = created(other.address, LENGTH);
    patched(other.address, &upload, 0, &bytes[..100_000]);
    let parts = "SELECT count(*) FROM larder.upload_parts";
    assert_eq!(number(&client, parts).await, 1);
    faults.befall(1, is_read_of_a_part, Fault::Slow);
    let late = thread::spawn({
        let (node, upload, bytes) = (behind.address, upload.clone(), bytes.clone());
        move || patch(node, &upload, 100_000, &bytes[100_000..200_000])
    });
    eventually(async || faults.befallen() == 1).await;
    // What it reads is replaced, and gone.
    patched(other.address, &upload, 100_000, &bytes[100_000..250_000]);
    eventually(async || objects(&store).await == 1).await;
    faults.let_go(1).await;
    let refused = late.join().unwrap();
    assert_eq!(refused.refusal(), (409, "upload_taken_over".to_owned()));
    assert_eq!(offset(other.address, &upload), 250_000);
    let last = patched(other.address, &upload, 250_000, &bytes[250_000..]);
    let path = format!("/api/p2p/file/{}", last.header("larder-file-id"));
    assert!(get(other.address, &path, &[]).body == bytes);
    assert_eq!(look(behind.address, &upload).status, 200);
    behind.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_an_upload_is_waited_for_no_longer_than_its_node_lives_nor_for_what_is_left() {
    fn is_written(method: &Method, uri: &Uri) -> bool {
        method == Method::PUT && uri.path().contains("/blobs/")
    }
    fn is_removed(method: &Method, uri: &Uri) -> bool {
        method == Method::DELETE && uri.path().contains("/uploading/")
    }
    const SOON: Duration = Duration::from_secs(15);
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let faults = Faults::before(store.endpoint()).await;
    let node = |dir: &TempDir, endpoint| {
        let mut command = command(dir.path(), &url, endpoint);
        command.env("LARDER_LEASE", "60s");
        Node::spawn(dir, command)
    };
    let behind = node(&dirs[0], &faults.endpoint);
    let other = node(&dirs[1], store.endpoint());
    let bytes = content(1, LENGTH);
    let upload = created(behind.address, LENGTH);
    faults.befall(1, is_written, Fault::Hang);
    let ending = thread::spawn({
        let (node, upload, bytes) = (behind.address, upload.clone(), bytes.clone());
        move || http_patch(node, &upload, &bytes)
    });
    eventually(async || faults.befallen() == 1).await;
    behind.kill();
    ending.join().unwrap();
    let asked = Instant::now();
    let at = offset(other.address, &upload);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    patched(other.address, &upload, at, &bytes[at..]);

    let behind = node(&dirs[0], &faults.endpoint);
    let (upload, asked) = (created(behind.address, LENGTH), Instant::now());
    patched(behind.address, &upload, 0, &bytes[..200_000]);
    faults.befall(usize::MAX, is_removed, Fault::Hang);
    let last = patched(behind.address, &upload, 200_000, &bytes[200_000..]);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    let path = format!("/api/p2p/file/{}", last.header("larder-file-id"));
    assert!(get(other.address, &path, &[]).body == bytes);
    faults.heal();
    behind.stop();
    other.stop();
}

/// Brings all of an upload by a connection that is cut.
fn http_patch(node: SocketAddr, upload: &str, bytes: &[u8]) {
    let mut stream = raw_http::connect(node);
    stream
        .write_all(&patch_request(upload, 0, bytes, &[]))
        .unwrap();
    // Whatever comes before the cut is no answer.
    let _ = stream.read_to_end(&mut Vec::new());
}

/// How many objects there are of uploads.
async fn objects(store: &S3Store) -> usize {
    let objects = store.bucket().list(None).try_collect::<Vec<_>>();
    let objects = objects.await.unwrap().into_iter();
    let parts = objects.filter(|it| it.location.as_ref().contains("/uploading/"));
    parts.count()
}
