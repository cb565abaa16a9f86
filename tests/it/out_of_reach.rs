//! What the index is kept with is out of reach: every answer that needs it says so and when to ask
//! again, and all is as before once it is back.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use larder::hash::BlobHash;
use larder::health::Health;
use larder::index::memory::MemoryIndex;
use larder::index::{Content, Garbage, Held, IndexBackend, IndexError, Intent, Totals};
use larder::record::{FileId, FileRecord, NewFile};
use larder::unavailable::Unavailable;
use serde_json::Value;

use crate::common::in_memory::{Answer, InMemory};

/// What it says how long to wait, which is told in whole seconds.
const RETRY: Duration = Duration::from_millis(6_200);

/// An index of which the server may be out of reach.
#[derive(Default)]
struct Remote {
    index: MemoryIndex,
    is_out: AtomicBool,
}

impl Remote {
    fn reach(&self) -> Result<&MemoryIndex, IndexError> {
        if !self.is_out.load(Ordering::Relaxed) {
            return Ok(&self.index);
        }
        Err(IndexError::Unavailable(Unavailable {
            what: "the database".to_owned(),
            retry: RETRY,
            source: Arc::new(io::Error::from(io::ErrorKind::ConnectionRefused)),
        }))
    }

    fn set_out(&self, is_out: bool) {
        self.is_out.store(is_out, Ordering::Relaxed);
    }
}

#[async_trait]
impl IndexBackend for Remote {
    async fn intend(&self, hash: &BlobHash, size: u64) -> Result<Intent, IndexError> {
        self.reach()?.intend(hash, size).await
    }

    async fn put(&self, file: NewFile, intent: Intent) -> Result<FileRecord, IndexError> {
        self.reach()?.put(file, intent).await
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

    async fn earlier(
        &self,
        name: &str,
        hash: &BlobHash,
        than: FileId,
        known: u32,
    ) -> Result<Option<FileId>, IndexError> {
        self.reach()?.earlier(name, hash, than, known).await
    }

    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        self.reach()?.page(after, limit).await
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

    async fn sift(&self, stored: &[BlobHash]) -> Result<(), IndexError> {
        self.reach()?.sift(stored).await
    }

    fn health(&self, hash: &BlobHash, found: Health) {
        self.index.health(hash, found);
    }

    fn is_damaged(&self, hash: &BlobHash) -> bool {
        self.index.is_damaged(hash)
    }

    fn totals(&self) -> Totals {
        self.index.totals()
    }

    fn mark(&self) -> u64 {
        self.index.mark()
    }

    async fn sync(&self, mark: u64) -> Result<(), IndexError> {
        self.reach()?.sync(mark).await
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    async fn try_to_write(&self) -> Result<(), IndexError> {
        self.reach().map(drop)
    }

    async fn close(&self) -> Result<(), IndexError> {
        self.reach()?.close().await
    }
}

/// Fails unless an answer says that the node is to be asked again in seven seconds.
fn expect_unavailable(what: &str, answer: &Answer) {
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["code"], "unavailable", "{what}");
    assert_eq!(answer.headers["retry-after"], "7", "{what}");
    let message = body["message"].as_str().unwrap();
    assert!(!message.contains("database"), "{what}: {message}");
}

fn form() -> Vec<u8> {
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n";
    [head.as_bytes(), b"content", b"\r\n--b--\r\n"].concat()
}

#[tokio::test]
async fn what_needs_a_server_that_is_out_of_reach_is_answered_with_the_time_to_retry() {
    let remote = Arc::new(Remote::default());
    let index = Arc::clone(&remote) as Arc<dyn IndexBackend>;
    let node = InMemory::over(index);
    let upload = async || {
        let (head, body) = node.upload("b", &form(), &[]).await.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    };
    let ask = async |method, path: &str| node.ask(method, path, b"").await.unwrap();
    let uploaded = upload().await;
    assert_eq!(uploaded.status, 200, "{uploaded:?}");
    let file: Value = serde_json::from_slice(&uploaded.body).unwrap();
    let id = file["file"]["file_id"].as_str().unwrap();
    let hash = BlobHash::of(b"content");
    let blob = format!("/api/p2p/blob/{hash}");
    let proof = format!("/api/p2p/blob/{hash}/bao");
    let path = format!("/api/p2p/file/{id}");
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
    expect_unavailable("upload", &upload().await);
    // Whoever looks after the process is not to restart it for that.
    assert_eq!(ask("GET", "/health").await.status, 200);
    remote.set_out(false);
    for (method, path) in routes {
        let answer = ask(method, path).await;
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
    }
    assert_eq!(upload().await.status, 200);
}
