//! The interface, described by itself: an `OpenAPI` 3.1 document and a page of it.
//!
//! Both come from the table of routes; what bodies look like comes from the types that are
//! written and read.

mod page;

use std::sync::{Arc, LazyLock};

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use crate::blocking;

/// The document and its page, both written once, when somebody first asks for one: that takes
/// some megabytes, which most nodes never need.
#[derive(Clone)]
pub(super) struct Document(Arc<LazyLock<Written, Write>>);

type Write = Box<dyn FnOnce() -> Written + Send + Sync>;

#[derive(Clone)]
struct Written {
    text: Bytes,
    html: Bytes,
    policy: HeaderValue,
}

impl Document {
    /// What the table of routes says, once it is asked.
    pub(super) fn of(described: impl FnOnce() -> OpenApi + Send + Sync + 'static) -> Self {
        let write: Write = Box::new(|| Written::of(&described()));
        Self(Arc::new(LazyLock::new(write)))
    }

    async fn written(self) -> Written {
        blocking::run(move || Written::clone(&self.0)).await
    }
}

impl Written {
    fn of(described: &OpenApi) -> Self {
        let document = serde_json::to_value(described).unwrap_or_default();
        let page = page::render(&document);
        let policy = HeaderValue::try_from(page.policy);
        Self {
            text: document.to_string().into(),
            html: page.html.into(),
            policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
        }
    }
}

/// `GET /api/openapi.json`: for programs.
pub(super) async fn document(State(document): State<Document>) -> impl IntoResponse {
    answer("application/json", document.written().await.text)
}

/// `GET /api/docs`: for people.
pub(super) async fn document_page(State(document): State<Document>) -> impl IntoResponse {
    let document = document.written().await;
    let policy = [(header::CONTENT_SECURITY_POLICY, document.policy)];
    (policy, answer("text/html; charset=utf-8", document.html))
}

fn answer(content_type: &'static str, body: Bytes) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 2] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (headers, body)
}
