//! What becomes of objects in the bucket that no row knows.

use std::thread;
use std::time::Duration;

use axum::http::{Method, Uri};
use futures_util::TryStreamExt;
use larder::place::Place;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use tempfile::TempDir;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::tus;
use crate::faults::{Fault, Faults, Which};
use crate::nodes::{command, servers, start_with};
use crate::postgres::{Server, connect, eventually, number};
use crate::s3_store::{Endpoint, S3Store};

/// As often as can be; what is older than the lease, the grace and this, four seconds, goes.
const SOON: [&str; 4] = ["--sweep-every", "1s", "--sweep-age", "1s"];
/// The same, and what is not an hour older stays.
const YOUNG: [&str; 4] = ["--sweep-every", "1s", "--sweep-age", "1h"];

/// Everything in the bucket.
async fn keys(store: &S3Store) -> Vec<String> {
    let objects: Vec<_> = store.bucket().list(None).try_collect().await.unwrap();
    let mut keys: Vec<_> = objects.iter().map(|it| it.location.to_string()).collect();
    // What nodes write to find out whether they can comes and goes.
    keys.retain(|it| !it.contains("/trials/"));
    keys.sort_unstable();
    keys
}

async fn put(store: &S3Store, keys: &[String]) {
    for key in keys {
        let bytes = b"not known".to_vec();
        store
            .bucket()
            .put(&Key::from(key.as_str()), bytes.into())
            .await
            .unwrap();
    }
}

/// Objects of which no row tells, as whoever comes too late leaves them.
fn strays() -> Vec<String> {
    let (place, upload) = (Place::random(), Uuid::new_v4().simple());
    vec![
        format!("fleet/blobs/{place}"),
        format!("fleet/outboards/{}", Place::random()),
        format!("fleet/uploading/{upload}/0-1"),
        format!("fleet/uploading/{upload}/8388608-2"),
    ]
}

/// Objects that are somebody else's.
fn foreign() -> Vec<String> {
    let place = Place::random();
    vec![
        "fleet/blobs/notes.txt".to_owned(),
        "fleet/notes.txt".to_owned(),
        format!("fleet/{place}"),
        format!("fleet/other/{place}"),
        format!("other/blobs/{place}"),
        format!("blobs/{place}"),
    ]
}

fn start(dirs: &[TempDir; 2], url: &str, store: &S3Store, settings: &[&str]) -> [Node; 2] {
    dirs.each_ref()
        .map(|dir| start_with(dir, url, store, settings))
}

/// Waits until the bucket was looked through to its end so many times more.
async fn swept(client: &Client, times: i64) {
    for _ in 0..times {
        let ended = "SELECT (extract(epoch FROM ended) * 1000000)::bigint FROM larder.sweeps";
        let before = number(client, ended).await;
        eventually(async || number(client, ended).await > before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_row_knows_of_the_bucket_goes_once_it_is_old_and_nothing_else_ever() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let nodes = start(&dirs, &url, &store, &YOUNG);
    let [one, other] = nodes.each_ref().map(|it| it.address);
    let (short, long) = (content(1, 1000), content(2, 600_000));
    let files = [uploaded(one, "a", &short), uploaded(other, "b", &long)];
    let unfinished = tus::created(one, 10_000_000);
    tus::patched(one, &unfinished, 0, &content(3, 9_000_000));
    let known = keys(&store).await;
    let (strays, foreign) = (strays(), foreign());
    put(&store, &strays).await;
    put(&store, &foreign).await;
    let all = keys(&store).await;
    assert_eq!(all.len(), known.len() + strays.len() + foreign.len());

    // What is young may be known in a moment.
    let client = connect(&url).await;
    swept(&client, 3).await;
    assert_eq!(keys(&store).await, all);
    nodes.into_iter().for_each(Node::stop);

    let nodes = start(&dirs, &url, &store, &SOON);
    let [one, other] = nodes.each_ref().map(|it| it.address);
    let mut expected = [known, foreign].concat();
    expected.sort_unstable();
    eventually(async || keys(&store).await == expected).await;
    swept(&client, 3).await;
    assert_eq!(keys(&store).await, expected);
    for (node, file, bytes) in [(other, &files[0], &short), (one, &files[1], &long)] {
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        assert!(get(node, &path, &[]).body == *bytes);
    }
    let rest = content(4, 1_000_000);
    tus::patched(other, &unfinished, 9_000_000, &rest);
    nodes.into_iter().for_each(Node::stop);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_at_a_time_looks_through_the_bucket_and_another_goes_on_when_it_is_gone() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let nodes = start(&dirs, &url, &store, &SOON);
    let client = connect(&url).await;
    swept(&client, 1).await;
    // As one that is at it, and was killed within.
    let taken = "UPDATE larder.sweeps SET sweeper = gen_random_uuid(), \
         until = now() + interval '1 hour'";
    client.execute(taken, &[]).await.unwrap();
    let strays = strays();
    put(&store, &strays).await;
    let ended = "SELECT (extract(epoch FROM ended) * 1000000)::bigint FROM larder.sweeps";
    let before = number(&client, ended).await;
    // Longer than either waits before it asks again, and than what is there is young.
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(number(&client, ended).await, before);
    let left = keys(&store).await;
    assert!(strays.iter().all(|it| left.contains(it)));
    let over = "UPDATE larder.sweeps SET until = now() - interval '1 second'";
    client.execute(over, &[]).await.unwrap();
    eventually(async || {
        let left = keys(&store).await;
        !strays.iter().any(|it| left.contains(it))
    })
    .await;
    nodes.into_iter().for_each(Node::stop);
}

/// What a start that is refused says.
fn refusal(dir: &TempDir, url: &str, store: &Endpoint) -> String {
    let output = command(dir.path(), url, store).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_and_a_bucket_that_do_not_belong_together_are_refused() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, stranger) = (
        database.database("one").await,
        database.database("two").await,
    );
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let own = start_with(&dirs[0], &url, &store, &YOUNG);
    let file = uploaded(own.address, "a", &content(1, 600_000));
    let all = keys(&store).await;
    // Another database over the same place, and the same database over another one.
    let said = refusal(&dirs[1], &stranger, store.endpoint());
    assert!(said.contains("the files of another database"), "{said}");
    let mut elsewhere = store.endpoint().clone();
    elsewhere.bucket.push_str("/mistyped");
    let said = refusal(&dirs[1], &url, &elsewhere);
    assert!(said.contains("in another place"), "{said}");
    let now = keys(&store).await;
    assert!(all.iter().all(|it| now.contains(it)));
    let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    assert_eq!(get(own.address, &path, &[]).body, content(1, 600_000));
    own.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_has_one_place_in_a_bucket_from_its_first_start_on_though_it_has_no_file() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, stranger) = (
        database.database("one").await,
        database.database("two").await,
    );
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    start_with(&dirs[0], &url, &store, &[]).stop();
    let all = keys(&store).await;
    let mut mistyped = store.endpoint().clone();
    mistyped.bucket.push_str("/mistyped");
    // Which a store may take for the bucket.
    let mut with_path = store.endpoint().clone();
    with_path.url = format!("{}/{}", with_path.url, with_path.bucket);
    for elsewhere in [mistyped, with_path] {
        assert!(refusal(&dirs[1], &url, &elsewhere).contains("in another place"));
        let mut verify = larder(dirs[1].path());
        verify.arg("verify");
        servers(&mut verify, &url, &elsewhere);
        let output = verify.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("no larder has kept anything"), "{said}");
        assert_ne!(output.status.code(), Some(0), "{said}");
    }
    assert!(refusal(&dirs[1], &stranger, store.endpoint()).contains("another database"));
    // Where nothing was begun nothing is left.
    assert_eq!(keys(&store).await, all);
    // A database that was refused once begins elsewhere.
    let mut another = store.endpoint().clone();
    another.bucket.push_str("/another");
    let command = command(dirs[1].path(), &stranger, &another);
    Node::spawn(&dirs[1], command).stop();
    start_with(&dirs[0], &url, &store, &[]).stop();
}

fn is_owner(uri: &Uri) -> bool {
    uri.path().ends_with("/larder-owner")
}

fn asks_for_owner(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && is_owner(uri)
}

fn asks_for_claims(method: &Method, uri: &Uri) -> bool {
    method == Method::GET && uri.query().is_some_and(|it| it.contains("claims"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_databases_that_begin_at_one_place_at_once_one_serves_and_of_nodes_of_one_all_do() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, other) = (
        database.database("one").await,
        database.database("two").await,
    );
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let faults = Faults::before(store.endpoint()).await;
    let behind = |dir: &TempDir| Node::spawn(dir, command(dir.path(), &url, &faults.endpoint));
    // What one has found out is told before the other writes, and what it writes comes after.
    faults.befall(
        1,
        |method, uri| method == Method::PUT && is_owner(uri),
        Fault::Slow,
    );
    thread::scope(|scope| {
        let slow = scope.spawn(|| behind(&dirs[0]));
        until("it is about to", || (faults.befallen() == 1).then_some(()));
        assert!(refusal(&dirs[1], &other, store.endpoint()).contains("another database"));
        faults.release();
        slow.join().unwrap().stop();
    });

    // Of two of one database the second is done while the first asks whose the place is, or who
    // else is about to take it.
    let late: [(Which, Fault); 2] = [
        (asks_for_owner, Fault::Held),
        (asks_for_claims, Fault::Slow),
    ];
    for (number, (which, fault)) in late.into_iter().enumerate() {
        let url = database.database(&format!("both{number}")).await;
        let mut elsewhere = faults.endpoint.clone();
        elsewhere.bucket = format!("{}/elsewhere{number}", elsewhere.bucket);
        let start = |dir: &TempDir| Node::spawn(dir, command(dir.path(), &url, &elsewhere));
        faults.befall(1, which, fault);
        let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
        thread::scope(|scope| {
            let late = scope.spawn(|| start(&dirs[0]));
            until("it has asked", || (faults.befallen() == 1).then_some(()));
            let first = start(&dirs[1]);
            faults.release();
            late.join().unwrap().stop();
            first.stop();
        });
    }
    let left = keys(&store).await;
    assert!(left.iter().all(|it| !it.contains("/claims/")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_bucket_became_another_databases_remove_nothing_of_it() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let nodes = start(&dirs, &url, &store, &SOON);
    let owner = keys(&store).await;
    let owner = owner.iter().find(|it| it.ends_with("larder-owner"));
    let owner = Key::from(owner.unwrap().as_str());
    let other = Uuid::new_v4().to_string();
    store
        .bucket()
        .put(&owner, other.into_bytes().into())
        .await
        .unwrap();
    put(&store, &strays()).await;
    let all = keys(&store).await;
    until("it says so", || {
        let log = nodes[0].complaints() + &nodes[1].complaints();
        log.contains("another database").then_some(())
    });
    swept(&connect(&url).await, 5).await;
    assert_eq!(keys(&store).await, all);
    nodes.into_iter().for_each(Node::stop);
}
