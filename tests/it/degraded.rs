//! A node whose disk has failed says so, takes no more changes and serves what it has.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use larder::access::{Access, Rights};
use larder::http;
use larder::node::{Node, Options};
use larder::peer::identity::Identity;
use larder::store::local::{self, LocalStore};
use rustix::io::Errno;
use serde_json::Value;
use tower::ServiceExt;

use crate::common::countdown_disk::{After, CountdownDisk, Fault};

const FORM: &str = "--b\r\n\
    Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n\
    content\r\n--b--\r\n";

/// Status and body of an answer.
async fn ask(router: &Router, request: Request<Body>) -> (u16, Value) {
    let answer = router.clone().oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn upload() -> Request<Body> {
    let request = Request::post("/api/p2p/upload");
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    request.body(FORM.into()).unwrap()
}

/// The routes of a node on such a disk.
async fn on(dir: &Path, disk: Arc<CountdownDisk>) -> Router {
    let store = local::Options {
        disk,
        ..local::Options::new(dir)
    };
    let options = Options::alone("http://localhost:5004".parse().unwrap());
    let opened = LocalStore::open(store).await.unwrap();
    let (store, state) = (opened.store.clone(), opened.state.clone());
    let node = Node::new(store, Identity::generate().unwrap(), state, options).unwrap();
    let open = http::Options {
        access: Access::without_token(Some(Rights::Write)).into(),
        ..http::Options::default()
    };
    http::router(Arc::new(node), open)
}

#[tokio::test]
async fn a_node_whose_disk_failed_is_read_only_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let disk = CountdownDisk::new();
    let router = on(dir.path(), Arc::clone(&disk)).await;

    let (status, kept) = ask(&router, upload()).await;
    assert_eq!(status, 200);
    let (_, health) = ask(&router, get("/health")).await;
    assert_eq!(
        (&health["status"], &health["writable"]),
        (&"healthy".into(), &true.into())
    );
    let (status, ready) = ask(&router, get("/ready")).await;
    assert_eq!((status, &ready["status"]), (200, &"ready".into()));

    let fault = Fault {
        error: Errno::IO,
        after: After::Work,
    };
    // The content is there already: only the journal is written and then synced.
    disk.arm(1, fault);
    let (status, refusal) = ask(&router, upload()).await;
    let failed = disk.disarm().unwrap();
    assert!(failed.starts_with("sync "), "{failed}");
    assert_eq!((status, &refusal["code"]), (503, &"read_only".into()));
    assert!(!refusal.to_string().contains("journal"), "{refusal}");

    let (status, refusal) = ask(&router, upload()).await;
    assert_eq!((status, &refusal["code"]), (503, &"read_only".into()));
    let path = format!(
        "/api/p2p/file/{}",
        kept["file"]["file_id"].as_str().unwrap()
    );
    let removal = Request::delete(&path).body(Body::empty()).unwrap();
    let (status, refusal) = ask(&router, removal).await;
    assert_eq!((status, &refusal["code"]), (503, &"read_only".into()));
    let (status, health) = ask(&router, get("/health")).await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()));
    assert_eq!(health["writable"], false);
    assert!(
        health["reason"]
            .as_str()
            .unwrap()
            .contains("until it is restarted"),
        "{health}"
    );
    let (status, unready) = ask(&router, get("/ready")).await;
    assert_eq!((status, &unready["code"]), (503, &"read_only".into()));
    let whole = router.oneshot(get(&path)).await.unwrap();
    let content = whole.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "content");
}

#[tokio::test]
async fn a_node_whose_writing_thread_panicked_is_read_only_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let disk = CountdownDisk::new();
    let router = on(dir.path(), Arc::clone(&disk)).await;
    let (status, kept) = ask(&router, upload()).await;
    assert_eq!(status, 200);

    let fault = Fault {
        error: Errno::IO,
        after: After::Panic,
    };
    disk.arm(0, fault);
    for _ in 0..2 {
        let (status, refusal) = ask(&router, upload()).await;
        assert_eq!((status, &refusal["code"]), (503, &"read_only".into()));
    }
    assert!(disk.disarm().unwrap().starts_with("write "));
    let (status, health) = ask(&router, get("/health")).await;
    assert_eq!((status, &health["status"]), (200, &"degraded".into()));
    assert_eq!(health["writable"], false);
    let reason = health["reason"].as_str().unwrap();
    assert!(reason.contains("until it is restarted"), "{health}");
    let (status, unready) = ask(&router, get("/ready")).await;
    assert_eq!((status, &unready["code"]), (503, &"read_only".into()));
    let id = kept["file"]["file_id"].as_str().unwrap();
    let whole = router
        .oneshot(get(&format!("/api/p2p/file/{id}")))
        .await
        .unwrap();
    let content = whole.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(content, "content");
}
