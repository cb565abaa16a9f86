//! Nodes that write packs, killed, stopped and raced at every point of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use axum::http::{Method, Uri};
use futures_util::TryStreamExt;
use object_store::ObjectStore;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio_postgres::Client;

use crate::common::content::content;
use crate::common::forms::{file, form, upload};
use crate::common::process::Node;
use crate::common::raw_http::{Answer, head, send};
use crate::common::tus;
use crate::faults::{Fault, Faults};
use crate::fleet::Fleet;
use crate::nodes::{command, start_with};
use crate::postgres::{Server, connect, eventually, number};
use crate::s3_store::S3Store;

/// Objects that have nothing to do with contents fail nobody.
fn is_put(method: &Method, uri: &Uri) -> bool {
    method == Method::PUT && uri.path().contains("/blobs/")
}

fn ask(method: &str, node: SocketAddr, path: &str) -> Answer {
    send(node, &head(method, path, &[]))
}

/// Uploads a content, and tells the path of its file; or with what it was refused.
fn put(node: SocketAddr, bytes: &[u8]) -> Result<String, u16> {
    let answer = upload(node, &form(&[file("short", bytes)]));
    if answer.status != 200 {
        return Err(answer.status);
    }
    let id = answer.json()["file"]["file_id"]
        .as_str()
        .unwrap()
        .to_owned();
    Ok(format!("/api/p2p/file/{id}"))
}

/// How many objects of contents there are.
async fn objects(store: &S3Store) -> i64 {
    let all = store.bucket().list(None).try_collect::<Vec<_>>().await;
    let all = all.unwrap().into_iter();
    let blobs = all.filter(|it| it.location.as_ref().contains("/blobs/"));
    i64::try_from(blobs.count()).unwrap()
}

/// Waits until the bucket has what files need and nothing else, as the rows say.
async fn adds_up(client: &Client, store: &S3Store) {
    let places = "SELECT count(*) FROM larder.places";
    let needed = "SELECT count(DISTINCT substring(place FOR 32)) FROM larder.blobs";
    eventually(async || {
        let needed = number(client, needed).await;
        number(client, places).await == needed && objects(store).await == needed
    })
    .await;
    let wrong = "SELECT count(*) FROM larder.places WHERE live <> ( \
         SELECT coalesce(sum(blobs.size + 44), 0) FROM larder.blobs \
         WHERE substring(blobs.place FOR 32) = places.place)";
    assert_eq!(number(client, wrong).await, 0);
    let sums = "SELECT count(*) FROM larder.heads WHERE \
         files = (SELECT count(*) FROM larder.files) \
         AND blobs = (SELECT count(*) FROM larder.blobs) \
         AND blob_bytes = (SELECT coalesce(sum(size), 0) FROM larder.blobs)";
    assert_eq!(number(client, sums).await, 1);
}

/// A node that reaches the store through a proxy.
async fn behind(store: &S3Store, dir: &TempDir, url: &str) -> (Faults, Node) {
    let faults = Faults::before(store.endpoint()).await;
    let node = command(dir.path(), url, &faults.endpoint);
    (faults, Node::spawn(dir, node))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_files_of_many_clients_share_objects_and_are_there_from_every_node() {
    let fleet = Fleet::start(&[]).await;
    let (client, store) = (&fleet.client, &fleet.store);
    let [one, other, _] = fleet.addresses();
    let files: Vec<_> = thread::scope(|scope| {
        let clients = (0..16u32).map(|client| {
            scope.spawn(move || {
                let contents = (0..10).map(|it| content(client * 100 + it, 3_000));
                let files = contents.map(|it| (put(one, &it).unwrap(), it));
                files.collect::<Vec<_>>()
            })
        });
        let clients: Vec<_> = clients.collect();
        clients
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    let shared = objects(store).await;
    assert!(shared < 80, "{shared} objects for {} contents", files.len());
    adds_up(client, store).await;
    // What comes in parts goes there, too.
    let created = tus::create(other, 2_000, &[]);
    let in_parts = content(9_999, 2_000);
    let patched = tus::patch(other, &tus::path_of(&created), 0, &in_parts);
    assert_eq!(patched.status, 204);
    let packed = "SELECT count(*) FROM larder.blobs WHERE length(place) = 36";
    assert_eq!(number(client, packed).await, 161);
    for (path, bytes) in &files {
        assert!(ask("GET", other, path).body == *bytes);
    }
    for (path, _) in &files {
        assert_eq!(ask("DELETE", other, path).status, 200);
    }
    adds_up(client, store).await;
    assert_eq!(objects(store).await, 1);
    fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_or_stopped_between_its_pack_and_the_records_leaves_no_file_and_nothing_else()
{
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (faults, broken) = behind(&store, &dirs[0], &url).await;
    let other = start_with(&dirs[1], &url, &store, &[]);
    let client = connect(&url).await;
    let bytes = content(1, 5_000);
    let kept = put(broken.address, b"kept").unwrap();

    // The pack is there, and the node never hears of it.
    faults.befall(1_000, is_put, Fault::Swallow);
    let address = broken.address;
    let asked = thread::spawn({
        let bytes = bytes.clone();
        move || std::panic::catch_unwind(|| put(address, &bytes))
    });
    eventually(async || objects(&store).await == 2).await;
    broken.kill();
    // Nobody was told that it is kept.
    assert!(!matches!(asked.join().unwrap(), Ok(Ok(_))));
    faults.heal();
    let files = "SELECT count(*) FROM larder.files";
    assert_eq!(number(&client, files).await, 1);
    adds_up(&client, &store).await;
    assert_eq!(objects(&store).await, 1);

    // The same where it only stands still, for longer than its lease, and then goes on.
    let (faults, slow) = behind(&store, &dirs[0], &url).await;
    faults.befall(1_000, is_put, Fault::Swallow);
    let address = slow.address;
    let asked = thread::spawn({
        let bytes = bytes.clone();
        move || put(address, &bytes)
    });
    eventually(async || objects(&store).await == 2).await;
    slow.signal(Signal::STOP);
    adds_up(&client, &store).await;
    assert_eq!(objects(&store).await, 1);
    faults.heal();
    slow.signal(Signal::CONT);
    let late = asked.join().unwrap();
    match &late {
        // It has begun anew, with another pack.
        Ok(path) => assert!(ask("GET", other.address, path).body == bytes),
        Err(status) => assert!((500..600).contains(status), "{status}"),
    }
    let made = i64::from(late.is_ok());
    assert_eq!(number(&client, files).await, 1 + made);
    let again = put(slow.address, &bytes).unwrap();
    for node in [&slow, &other] {
        assert!(ask("GET", node.address, &again).body == bytes);
        assert_eq!(ask("GET", node.address, &kept).body, b"kept");
    }
    slow.stop();
    other.stop();
}

/// Which files there are, by their paths; what is asked for at that moment is nowhere.
type Shelf = Mutex<BTreeMap<String, Vec<u8>>>;

/// Uploads, reads and removes until it is told to stop.
fn churn(number: u32, nodes: [SocketAddr; 2], shelves: &[Shelf; 2], is_over: &AtomicBool) {
    let [staying, going] = shelves;
    for step in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let node = nodes[step as usize % 2];
        let bytes = content(number * 100_000 + step, 1_000 + step as usize % 50 * 200);
        let path = put(node, &bytes).unwrap();
        let shelf = if step % 4 == 0 { staying } else { going };
        shelf.lock().unwrap().insert(path, bytes);
        // More go than stay, so that each pack is mostly dead in the end.
        if step % 4 == 0 {
            continue;
        }
        let taken = going.lock().unwrap().pop_first();
        let Some((path, bytes)) = taken else { continue };
        let answer = ask("GET", nodes[1 - step as usize % 2], &path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body == bytes, "{path}");
        assert_eq!(ask("DELETE", node, &path).status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_beside_uploads_reads_and_removals_loses_nothing_and_leaves_nothing() {
    let fleet = Fleet::start(&[]).await;
    let (client, store) = (&fleet.client, &fleet.store);
    let [one, other, _] = fleet.addresses();
    let addresses = [one, other];
    let (shelves, is_over) = (Arc::<[Shelf; 2]>::default(), Arc::<AtomicBool>::default());
    let clients = (0..8).map(|number| {
        let (shelves, is_over) = (Arc::clone(&shelves), Arc::clone(&is_over));
        thread::spawn(move || churn(number, addresses, &shelves, &is_over))
    });
    let clients: Vec<_> = clients.collect();
    let (moving, mut compacted) = (
        "SELECT place FROM larder.places WHERE moving_until IS NOT NULL",
        BTreeSet::new(),
    );
    eventually(async || {
        let packs = client.query(moving, &[]).await.unwrap();
        compacted.extend(packs.iter().map(|it| it.get::<_, Vec<u8>>(0)));
        compacted.len() >= 10 || clients.iter().any(JoinHandle::is_finished)
    })
    .await;
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().unwrap();
    }
    let sparse = "SELECT count(*) FROM larder.places WHERE state = 'l' AND live * 2 < size";
    eventually(async || number(client, sparse).await == 0).await;
    adds_up(client, store).await;
    for shelf in &*shelves {
        for (path, bytes) in &*shelf.lock().unwrap() {
            for node in addresses {
                assert!(ask("GET", node, path).body == *bytes, "{path}");
            }
        }
    }
    let damaged = "SELECT count(*) FROM larder.blobs WHERE is_damaged";
    assert_eq!(number(client, damaged).await, 0);
    fleet.stop();
}
