//! What records or content are kept with is out of reach: every answer that needs it says so and
//! when to ask again, and all is as before once it is back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use http_body_util::BodyExt;
use larder::blob::memory::MemoryBlobs;
use larder::blob::{BlobBackend, BlobError, Limit, OpenBlob, Partials, Purpose, Receiving};
use larder::hash::BlobHash;
use larder::health::{Findings, Health};
use larder::index::memory::MemoryIndex;
use larder::index::{Alike, Content, Garbage, Held, IndexBackend, IndexError, Intent, Put, Totals};
use larder::place::Place;
use larder::record::{FileId, FileRecord, NewFile};
use larder::small_state::memory::MemoryState;
use larder::small_state::{Saved, SmallState, StateError, StateName, StateSet};
use larder::unavailable::Unavailable;
use serde_json::Value;

use crate::common::in_memory::{Answer, InMemory};

/// What it says how long to wait, which is told in whole seconds.
const RETRY: Duration = Duration::from_millis(6_200);

/// A backend of which the server may be out of reach.
#[derive(Default)]
struct Remote<Backend> {
    backend: Backend,
    is_out: AtomicBool,
}

impl<Backend> Remote<Backend> {
    fn reach(&self) -> Result<&Backend, Unavailable> {
        if !self.is_out.load(Ordering::Relaxed) {
            return Ok(&self.backend);
        }
        Err(Unavailable {
            what: "the server at 192.0.2.7".to_owned(),
            retry: RETRY,
            source: Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
        })
    }

    fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::Relaxed);
    }
}

#[async_trait]
impl BlobBackend for Remote<MemoryBlobs> {
    async fn receive(&self, limit: Limit) -> Result<Box<dyn Receiving>, BlobError> {
        self.reach()?.receive(limit).await
    }

    async fn room(&self) -> u64 {
        self.backend.room().await
    }

    async fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        self.reach()?.check_room(bytes).await
    }

    fn partials(&self, purpose: Purpose) -> Arc<dyn Partials> {
        self.backend.partials(purpose)
    }

    async fn open(
        &self,
        hash: &BlobHash,
        place: Place,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        self.reach()?.open(hash, place).await
    }

    async fn size(&self, place: Place) -> Result<Option<u64>, BlobError> {
        self.reach()?.size(place).await
    }

    async fn is_whole(&self, hash: &BlobHash, place: Place) -> Result<bool, BlobError> {
        self.reach()?.is_whole(hash, place).await
    }

    async fn note_missing(&self, place: Place) -> Result<(), BlobError> {
        self.reach()?.note_missing(place).await
    }

    fn report_to(&self, findings: Arc<dyn Findings>) {
        self.backend.report_to(findings);
    }

    fn damage_found(&self) -> u64 {
        self.backend.damage_found()
    }

    async fn delete(&self, place: Place) -> Result<(), BlobError> {
        self.reach()?.delete(place).await
    }

    fn list(&self) -> BoxStream<'static, Result<(Place, u64), BlobError>> {
        self.backend.list()
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        self.reach()?.sweep().await
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    async fn try_to_write(&self) -> Result<(), BlobError> {
        self.reach()?.try_to_write().await
    }

    async fn sync(&self) -> Result<(), BlobError> {
        self.reach()?.sync().await
    }
}

#[async_trait]
impl IndexBackend for Remote<MemoryIndex> {
    async fn intend(&self, hash: &BlobHash, size: u64) -> Result<Intent, IndexError> {
        self.reach()?.intend(hash, size).await
    }

    async fn put(&self, file: NewFile, intent: Intent) -> Result<Put, IndexError> {
        self.reach()?.put(file, intent).await
    }

    async fn restore(&self, files: Vec<(FileRecord, Intent)>) -> Result<(), IndexError> {
        self.reach()?.restore(files).await
    }

    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        self.reach()?.remove(id).await
    }

    async fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        self.reach()?.get(id).await
    }

    async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        self.reach()?.newest_named(name).await
    }

    async fn earlier(&self, all: &[Alike<'_>]) -> Result<Vec<Option<FileId>>, IndexError> {
        self.reach()?.earlier(all).await
    }

    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        self.reach()?.page(after, limit).await
    }

    async fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        self.reach()?.page_back(before, limit).await
    }

    async fn locate(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        self.reach()?.locate(hash).await
    }

    async fn hold(&self, hash: &BlobHash) -> Result<Option<Held>, IndexError> {
        self.reach()?.hold(hash).await
    }

    async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError> {
        self.reach()?.garbage(limit).await
    }

    async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError> {
        self.reach()?.collected(garbage).await
    }

    async fn sift(&self, stored: &[Place]) -> Result<(), IndexError> {
        self.reach()?.sift(stored).await
    }

    fn health(&self, place: Place, found: Health) -> Option<BlobHash> {
        self.backend.health(place, found)
    }

    fn totals(&self) -> Totals {
        self.backend.totals()
    }

    async fn mark(&self) -> Result<u64, IndexError> {
        self.reach()?.mark().await
    }

    async fn sync(&self, mark: u64) -> Result<(), IndexError> {
        self.reach()?.sync(mark).await
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    async fn try_to_write(&self) -> Result<(), IndexError> {
        Ok(self.reach().map(drop)?)
    }

    async fn close(&self) -> Result<(), IndexError> {
        self.reach()?.close().await
    }
}

#[async_trait]
impl SmallState for Remote<MemoryState> {
    async fn load(&self, name: &StateName) -> Result<Option<Vec<u8>>, StateError> {
        self.reach()?.load(name).await
    }

    async fn save(&self, name: &StateName, content: Vec<u8>) -> Result<(), StateError> {
        self.reach()?.save(name, content).await
    }

    async fn remove(&self, name: &StateName) -> Result<(), StateError> {
        self.reach()?.remove(name).await
    }

    async fn prepare(&self, set: StateSet, keep_aside: Duration) -> Result<Vec<Saved>, StateError> {
        self.reach()?.prepare(set, keep_aside).await
    }
}

/// Fails unless an answer says that the node is to be asked again in seven seconds.
fn expect_unavailable(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["code"], "unavailable", "{what}");
    assert_eq!(answer.headers["retry-after"], "7", "{what}");
    let message = body["message"].as_str().unwrap();
    assert!(!message.contains("192.0.2.7"), "{what}: {message}");
}

fn form() -> Vec<u8> {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    [head.as_bytes(), b"content", b"\r\n--b--\r\n"].concat()
}

async fn upload(node: &InMemory) -> Answer {
    let (head, body) = node.upload("b", &form(), &[]).await.into_parts();
    Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

/// Uploads a file and returns its path.
async fn uploaded(node: &InMemory) -> String {
    let answer = upload(node).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let file: Value = serde_json::from_slice(&answer.body).unwrap();
    let id = file["file"]["file_id"].as_str().unwrap();
    format!("/api/p2p/file/{id}")
}

#[tokio::test]
async fn what_needs_an_index_that_is_out_of_reach_is_answered_with_the_time_to_retry() {
    let remote = Arc::new(Remote::<MemoryIndex>::default());
    let index = Arc::clone(&remote) as Arc<dyn IndexBackend>;
    let node = InMemory::over(Arc::new(MemoryBlobs::default()), index);
    let ask = async |method, path: &str| node.ask(method, path, b"").await.unwrap();
    let path = uploaded(&node).await;
    let hash = BlobHash::of(b"content");
    let blob = format!("/api/p2p/blob/{hash}");
    let proof = format!("/api/p2p/blob/{hash}/bao");
    let routes = [
        ("GET", "/ready"),
        ("GET", "/api/p2p/files"),
        ("GET", "/api/p2p/network"),
        ("GET", &blob),
        ("GET", &proof),
        ("GET", &path),
        ("HEAD", &path),
        ("DELETE", &path),
    ];
    remote.set_out(true);
    for (method, path) in routes {
        let what = format!("{method} {path}");
        let answer = ask(method, path).await;
        if method == "HEAD" {
            assert_eq!(answer.status, 503, "{what}");
            assert_eq!(answer.headers["retry-after"], "7", "{what}");
        } else {
            expect_unavailable(&what, &answer);
        }
    }
    expect_unavailable("upload", &upload(&node).await);
    // Whoever looks after the process is not to restart it for that.
    assert_eq!(ask("GET", "/health").await.status, 200);
    remote.set_out(false);
    for (method, path) in routes {
        let answer = ask(method, path).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    }
    assert_eq!(upload(&node).await.status, 200);
}

#[tokio::test]
async fn what_needs_content_that_is_out_of_reach_is_answered_with_the_time_to_retry() {
    let remote = Arc::new(Remote::<MemoryBlobs>::default());
    let blobs = Arc::clone(&remote) as Arc<dyn BlobBackend>;
    let node = InMemory::over(blobs, Arc::new(MemoryIndex::default()));
    let ask = async |method, path: &str| node.ask(method, path, b"").await.unwrap();
    let path = uploaded(&node).await;
    let proof = format!("/api/p2p/blob/{}/bao", BlobHash::of(b"content"));
    remote.set_out(true);
    for route in ["/ready", &path, &proof] {
        expect_unavailable(route, &ask("GET", route).await);
    }
    expect_unavailable("upload", &upload(&node).await);
    // What the index alone knows is told all the same, and what cannot be read is not damaged.
    assert_eq!(ask("GET", "/api/p2p/files").await.status, 200);
    let health = ask("GET", "/health").await;
    assert_eq!(health.status, 200);
    let health: Value = serde_json::from_slice(&health.body).unwrap();
    assert_eq!(health["damaged"], 0, "{health}");
    remote.set_out(false);
    for route in ["/ready", &path, &proof] {
        let answer = ask("GET", route).await;
        assert_eq!(answer.status, 200, "{route}: {answer:?}");
    }
    assert_eq!(ask("GET", &path).await.body, "content");
}

/// What is remembered beside files is no file: all that needs none of it goes on.
#[tokio::test]
async fn what_needs_small_state_that_is_out_of_reach_is_answered_with_the_time_to_retry() {
    let remote = Arc::new(Remote::<MemoryState>::default());
    let node = InMemory::remembering(
        Arc::new(MemoryBlobs::default()),
        Arc::new(MemoryIndex::default()),
        Arc::clone(&remote) as Arc<dyn SmallState>,
    );
    let ask = async |method, path: &str| node.ask(method, path, b"").await.unwrap();
    let begin_upload = async || {
        let headers = [("upload-length", "7")];
        let begun = node.ask_with("POST", "/api/p2p/tus", &headers, b"");
        begun.await.unwrap()
    };
    let path = uploaded(&node).await;
    let hash = BlobHash::of(b"wanted");
    let wish = format!("/api/p2p/keep/{hash}");
    let (list, unknown) = ("/api/p2p/keep", format!("/api/p2p/tus/{}", "0".repeat(32)));
    remote.set_out(true);
    for (method, path) in [("GET", list), ("GET", &wish), ("DELETE", &wish)] {
        expect_unavailable(path, &ask(method, path).await);
    }
    expect_unavailable("an upload in parts", &begin_upload().await);
    expect_unavailable("one that it goes on with", &ask("DELETE", &unknown).await);
    let looked = ask("HEAD", &unknown).await;
    assert_eq!(looked.status, 503, "{looked:?}");
    assert_eq!(looked.headers["retry-after"], "7");
    for path in ["/health", "/ready", "/api/p2p/files", &path] {
        assert_eq!(ask("GET", path).await.status, 200, "{path}");
    }
    assert_eq!(upload(&node).await.status, 200);
    remote.set_out(false);
    assert_eq!(ask("GET", list).await.status, 200);
    assert_eq!(ask("GET", &wish).await.status, 404);
    assert_eq!(ask("HEAD", &unknown).await.status, 404);

    // One that has begun meanwhile goes on when it is back, as if nothing had been.
    let begun = begin_upload().await;
    assert_eq!(begun.status, 201, "{begun:?}");
    let location = begun.headers["location"].to_str().unwrap().to_owned();
    let location = format!("/api/p2p/{location}");
    remote.set_out(true);
    expect_unavailable("what goes on", &append(&node, &location).await);
    remote.set_out(false);
    let appended = append(&node, &location).await;
    assert_eq!(appended.status, 204, "{appended:?}");
    assert_eq!(appended.headers["upload-offset"], "7");
}

async fn append(node: &InMemory, location: &str) -> Answer {
    let headers = [
        ("upload-offset", "0"),
        ("content-type", "application/offset+octet-stream"),
    ];
    let appended = node.ask_with("PATCH", location, &headers, b"content");
    appended.await.unwrap()
}
