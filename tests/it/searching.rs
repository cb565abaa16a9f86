//! A search by name does bounded work for each answer, and misses nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use larder::blob::memory::MemoryBlobs;
use larder::hash::BlobHash;
use larder::http;
use larder::index::memory::MemoryIndex;
use larder::node::{Node, Options};
use larder::peer::identity::Identity;
use larder::record::NewFile;
use larder::small_state::memory::MemoryState;
use larder::store::Store;
use serde_json::Value;
use tower::ServiceExt;

use crate::common::indexing::add;

/// More than are looked at for one answer.
const MANY: usize = 12_000;

/// A node with so many files, of which the first and the last have a name of their own.
async fn with_many() -> Router {
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
    let node = Node::new(store, identity, Arc::new(state), options).unwrap();
    http::router(Arc::new(node), http::Options::default())
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
    let router = with_many().await;
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
    let router = with_many().await;
    let (found, pages) = search(&router, "name=needle").await;
    assert_eq!((found.len(), pages), (2, 1));
    let (found, pages) = search(&router, "name=straw").await;
    assert_eq!((found.len(), pages), (MANY - 2, 1));
    let (found, pages) = search(&router, "limit=100000").await;
    assert_eq!((found.len(), pages), (MANY, 1));
}
