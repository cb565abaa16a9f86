//! What must be true of whatever is registered at a bootstrap server.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Uri, header};
use larder::bootstrap::{Bootstrap, Options};
use larder::peer::introductions::Introductions;
use tempfile::TempDir;
use tower::ServiceExt;

/// A bootstrap server without a process or a connection.
pub(crate) struct InMemoryBootstrap {
    router: Router,
    _dir: TempDir,
}

impl InMemoryBootstrap {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            dir: dir.path().to_owned(),
            ttl: Duration::from_secs(90),
            max_peers: 100,
            rate: None,
        };
        let router = Arc::new(Bootstrap::open(&options).unwrap())
            .router("http://127.0.0.1:9000".parse().unwrap(), false);
        Self { router, _dir: dir }
    }

    /// A registration is taken and then shown, or refused in order; so is a query.
    pub(crate) async fn register(&self, body: &[u8], query: &str) {
        let (status, _, answer) = self.ask("POST", "/register", body).await;
        if status == 200 {
            assert_eq!(answer, br#"{"status":"registered"}"#);
            let (_, _, listed) = self.ask("GET", "/peers", &[]).await;
            let Ok(introduced) = serde_json::from_slice::<Introductions>(&listed) else {
                panic!("the list is none");
            };
            assert!(!introduced.registrations().is_empty());
        } else {
            assert!((400..500).contains(&status) || status == 503, "{status}");
        }
        if format!("/peers?{query}").parse::<Uri>().is_ok() {
            let (status, headers, _) = self.ask("GET", &format!("/peers?{query}"), &[]).await;
            assert!(status == 200 || status == 400, "{status}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/json");
        }
    }

    async fn ask(&self, method: &str, target: &str, body: &[u8]) -> (u16, HeaderMap, Vec<u8>) {
        let request = Request::builder().method(method).uri(target);
        let request = request.body(Body::from(body.to_vec())).unwrap();
        let (head, body) = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (head.status.as_u16(), head.headers, body.into())
    }
}
