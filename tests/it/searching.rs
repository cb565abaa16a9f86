//! A search by name does bounded work for each answer, and misses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use larder::blob::memory::MemoryBlobs;
use larder::hash::BlobHash;
use larder::http;
use larder::index::memory::MemoryIndex;
use larder::node::{Node, Options};
use larder::peer::directory::NetworkFile;
use larder::peer::identity::Identity;
use larder::peer_id::PeerId;
use larder::record::{FileId, NewFile};
use larder::small_state::memory::MemoryState;
use larder::store::Store;
use larder::web::clients::ClientAddress;
use serde_json::Value;
use tokio::task::JoinSet;
use tower::ServiceExt;

use crate::common::indexing::add;

/// More than are looked at for one answer.
const MANY: usize = 12_000;
/// How many questions one client asks at once.
const MANY_AT_ONCE: usize = 9;
const CLIENT: [u8; 4] = [10, 0, 0, 1];
const OTHER: [u8; 4] = [10, 0, 0, 2];

/// A node with so many files, of which the first and the last have a name of their own.
async fn with_many() -> Arc<Node> {
    let index = Arc::new(MemoryIndex::default());
    for number in 0..MANY {
        let special = number == 0 || number == MANY - 1;
        let name = if special { "Needle" } else { "straw" };
        let file = NewFile {
            name: format!("{name} {number}"),
            content_type: None,
            description: String::new(),
            size: 0,
            hash: BlobHash::of(b""),
        };
        add(&*index, file).await.unwrap();
    }
    let store = Store::new(Arc::new(MemoryBlobs::default()), index);
    let options = Options::alone("http://localhost:5004".parse().unwrap());
    let (identity, state) = (Identity::generate().unwrap(), MemoryState::default());
    Arc::new(Node::new(store, identity, Arc::new(state), options).unwrap())
}

fn serving(node: Arc<Node>) -> Router {
    http::router(node, http::Options::default())
}

async fn get(router: &Router, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// All names that the pages of a search have, and how many pages those were.
async fn search(router: &Router, query: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut after) = (Vec::new(), 0, String::new());
    loop {
        let page = get(router, &format!("/api/p2p/files?{query}{after}")).await;
        pages += 1;
        let files = page["files"].as_array().unwrap();
        assert_eq!(page["file_count"], files.len());
        names.extend(
            files
                .iter()
                .map(|it| it["original_name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return (names, pages),
        }
    }
}

#[tokio::test]
async fn a_search_with_a_limit_looks_at_so_many_names_and_tells_where_to_go_on() {
    let router = serving(with_many().await);
    let last = format!("Needle {}", MANY - 1);
    let (found, pages) = search(&router, "name=needle&limit=1").await;
    assert_eq!(found, ["Needle 0", &last]);
    assert!((3..10).contains(&pages), "{pages}");
    let (found, pages) = search(&router, "name=zzzz&limit=1000").await;
    assert_eq!(found, [""; 0]);
    assert!((2..10).contains(&pages), "{pages}");
    // A page that is full is one, whatever was looked at.
    let (found, pages) = search(&router, "name=straw&limit=4000").await;
    assert_eq!((found.len(), pages), (MANY - 2, 3));
}

#[tokio::test]
async fn a_search_without_a_limit_finds_all_at_once() {
    let router = serving(with_many().await);
    let (found, pages) = search(&router, "name=needle").await;
    assert_eq!((found.len(), pages), (2, 1));
    let (found, pages) = search(&router, "name=straw").await;
    assert_eq!((found.len(), pages), (MANY - 2, 1));
    let (found, pages) = search(&router, "limit=100000").await;
    assert_eq!((found.len(), pages), (MANY, 1));
}

/// Asks as who comes from this address, and returns the status once all of the answer is there.
async fn ask_from(router: Router, address: [u8; 4], path: &str) -> StatusCode {
    let ip = address.into();
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    request.extensions_mut().insert(ClientAddress {
        ip,
        port: None,
        share: Some(ip),
    });
    let answer = router.oneshot(request).await.unwrap();
    let status = answer.status();
    answer.into_body().collect().await.unwrap();
    status
}

/// How many of many questions of one client had their answers before others, which are asked after
/// them and one after the other, had theirs.
async fn answered_before(
    node: &Arc<Node>,
    (many, status): (&'static str, u16),
    (other, paths): ([u8; 4], &[&str]),
) -> usize {
    let router = serving(Arc::clone(node));
    let ended = Arc::new(AtomicUsize::new(0));
    let mut questions = JoinSet::new();
    for _ in 0..MANY_AT_ONCE {
        let (router, ended) = (router.clone(), Arc::clone(&ended));
        questions.spawn(async move {
            assert_eq!(ask_from(router, CLIENT, many).await, status);
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    // All of them wait for something by then, or have ended.
    tokio::task::yield_now().await;
    for path in paths {
        ask_from(router.clone(), other, path).await;
    }
    let before = ended.load(Ordering::Relaxed);
    while let Some(asked) = questions.join_next().await {
        asked.unwrap();
    }
    before
}

/// The files that a stranger tells of.
fn told(number: u32) -> NetworkFile {
    NetworkFile {
        id: FileId::next(None),
        hash: Some(BlobHash::of(&number.to_be_bytes())),
        name: format!("straw {number}"),
        size: 1,
        content_type: None,
        uploaded_at: "2026-01-21T10:00:00".to_owned(),
    }
}

/// A node with what looks are long at: many files of its own, and many of a stranger.
async fn with_much_to_look_at() -> Arc<Node> {
    let node = with_many().await;
    let stranger = PeerId::of_public_key(&[1; 32]);
    for number in 0..3000 {
        let put = node.network().directory.put(stranger, told(number));
        put.unwrap();
    }
    node
}

#[tokio::test]
async fn however_many_searches_one_client_sends_another_waits_for_one_of_them_at_a_time() {
    let node = with_much_to_look_at().await;
    for (path, status) in [
        ("/api/p2p/files?name=zzzz&limit=1", 200),
        ("/api/p2p/network?name=zzzz", 200),
        ("/api/p2p/network?name=zzzz&order=newest", 200),
        ("/api/p2p/zip/zzzz", 404),
    ] {
        let before = answered_before(&node, (path, status), (OTHER, &[path])).await;
        assert!(before < MANY_AT_ONCE / 3, "{path}: {before} came before");
    }
}

/// A search takes as many looks as an archive: were those put together at once, all would be
/// there with the first search.
#[tokio::test]
async fn a_client_finds_what_it_searches_for_while_it_waits_for_many_archives() {
    let node = with_much_to_look_at().await;
    let archive = ("/api/p2p/zip/zzzz", 404);
    let search = "/api/p2p/network?name=zzzz";
    let before = answered_before(&node, archive, (CLIENT, &[search, search])).await;
    assert!(before < MANY_AT_ONCE / 2, "{before} came before");
}
