//! The REST interface of a node in this process, its store in memory. Also what the
//! fuzz targets run.

// Not every test needs all of it.
#![allow(dead_code)]

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder::access::{Access, Rights};
use larder::blob::BlobBackend;
use larder::blob::memory::MemoryBlobs;
use larder::hash::BlobHash;
use larder::http;
use larder::index::IndexBackend;
use larder::index::memory::MemoryIndex;
use larder::node::{Node, Options};
use larder::peer::identity::Identity;
use larder::record::FileRecord;
use larder::small_state::SmallState;
use larder::small_state::memory::MemoryState;
use larder::store::Store;
use tower::ServiceExt;

/// A node without a process or a connection.
pub(crate) struct InMemory {
    node: Arc<Node>,
    router: Router,
    blobs: Arc<dyn BlobBackend>,
    index: Arc<dyn IndexBackend>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl InMemory {
    pub(crate) fn new() -> Self {
        let (blobs, index) = (MemoryBlobs::default(), MemoryIndex::default());
        Self::over(Arc::new(blobs), Arc::new(index))
    }

    /// A node over these backends.
    pub(crate) fn over(blobs: Arc<dyn BlobBackend>, index: Arc<dyn IndexBackend>) -> Self {
        Self::remembering(blobs, index, Arc::new(MemoryState::default()))
    }

    /// The same, which has its small state there.
    pub(crate) fn remembering(
        blobs: Arc<dyn BlobBackend>,
        index: Arc<dyn IndexBackend>,
        state: Arc<dyn SmallState>,
    ) -> Self {
        let store = Store::new(Arc::clone(&blobs), Arc::clone(&index));
        let options = Options::alone("http://localhost:5004".parse().unwrap());
        let identity = Identity::generate().unwrap();
        let node = Node::new(store, identity, state, options);
        let node = Arc::new(node.unwrap());
        let open = http::Options {
            access: Access::without_token(Some(Rights::Write)).into(),
            ..http::Options::default()
        };
        let router = http::router(Arc::clone(&node), open);
        Self {
            node,
            router,
            blobs,
            index,
        }
    }

    /// Uploads `body`, which arrives in pieces of these lengths and then the rest.
    pub(crate) async fn upload(&self, boundary: &str, body: &[u8], cuts: &[u8]) -> Response<Body> {
        let mut rest = Bytes::copy_from_slice(body);
        let mut pieces = Vec::new();
        for cut in cuts {
            pieces.push(rest.split_to(usize::from(*cut).min(rest.len())));
        }
        pieces.push(rest);
        let pieces = stream::iter(pieces).map(Ok::<_, std::convert::Infallible>);
        // In quotes a boundary may hold anything but quotes and control characters.
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        let request = Request::post("/api/p2p/upload").header("content-type", content_type);
        match request.body(Body::from_stream(pieces)) {
            Ok(request) => self.router.clone().oneshot(request).await.unwrap(),
            // No client can send such a header, so there is nothing to refuse.
            Err(_) => Response::builder().status(400).body(Body::empty()).unwrap(),
        }
    }

    /// Answers a request with this body, which says it is JSON. None where no client could
    /// send it.
    pub(crate) async fn ask(&self, method: &str, target: &str, body: &[u8]) -> Option<Answer> {
        let headers = [("content-type", "application/json")];
        self.ask_with(method, target, &headers, body).await
    }

    /// The same with these headers.
    pub(crate) async fn ask_with(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Answer> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("tus-resumable", "1.0.0");
        let body = Body::from(Bytes::copy_from_slice(body));
        let response = self.router.clone().oneshot(request.body(body).ok()?).await;
        let (head, body) = response.unwrap().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Some(Answer {
            status: head.status,
            headers: head.headers,
            body,
        })
    }

    /// The head of the answer to a GET, and the body as it comes.
    pub(crate) async fn open(&self, target: &str) -> Response<Body> {
        let request = Request::get(target).body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Has the bytes of a content be gone.
    pub(crate) async fn take_away(&self, hash: &BlobHash) {
        let content = self.index.locate(hash).await.unwrap().unwrap();
        self.blobs.delete(content.place).await.unwrap();
    }

    /// How many peers and how many of their files the node knows.
    pub(crate) fn knows(&self) -> (usize, usize) {
        let network = self.node.network();
        (network.registry.len(), network.directory.len())
    }

    /// Fails unless an upload was either taken, with a record and its content, or
    /// refused, with nothing left; then forgets it. Returns what was taken.
    pub(crate) async fn assert_all_or_nothing(
        &self,
        answer: &Response<Body>,
    ) -> Option<(FileRecord, Vec<u8>)> {
        let store = self.node.store();
        let files = store.page(None, 2).await.unwrap();
        if answer.status() != StatusCode::OK {
            assert!(answer.status().is_client_error(), "{answer:?}");
            assert_eq!(files, []);
            self.assert_nothing_is_kept().await;
            return None;
        }
        let [record] = files.try_into().unwrap();
        let hash = record.file.hash;
        let blob = store.open(&hash).await.unwrap().unwrap();
        let mut content = Vec::new();
        let mut pieces = blob.read(0..blob.size());
        while let Some(piece) = pieces.next().await {
            content.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(BlobHash::of(&content), hash);
        assert_eq!(content.len() as u64, record.file.size);
        store.remove(record.id).await.unwrap();
        assert!(store.open(&hash).await.unwrap().is_none());
        self.assert_nothing_is_kept().await;
        Some((record, content))
    }

    async fn assert_nothing_is_kept(&self) {
        let left: Vec<_> = self.blobs.list().try_collect().await.unwrap();
        assert_eq!(left, []);
    }
}
