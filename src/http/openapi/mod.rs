//! The interface, described by itself: an `OpenAPI` 3.1 document and a page of it.
//!
//! What bodies look like comes from the types that are written and read; which routes there
//! are is compared with the router by a test.

mod files;
mod network;
mod operation;
mod page;
mod tus;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::path::{PathItem, PathsBuilder};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, Info, OpenApi, OpenApiBuilder, Server};

use crate::base_url::BaseUrl;
use crate::http::access::{DOCUMENT, DOCUMENT_PAGE};

/// The document of a node that is reached here.
pub(super) fn document(base_url: &BaseUrl) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).build();
    let mut components =
        ComponentsBuilder::new().security_scheme("token", SecurityScheme::Http(bearer));
    let described = files::all().into_iter().chain(tus::all());
    for described in described.chain(network::all()) {
        let (path, method) = (described.path, described.method.clone());
        let (operation, schemas) = described.build();
        paths = paths.path(path, PathItem::new(method, operation));
        components = components.schemas_from_iter(schemas);
    }
    let mut info = Info::new("larder", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new(format!("{}/", base_url.path_prefix()))]))
        .paths(paths)
        .components(Some(components.build()))
        .build()
}

/// The routes of the document and its page, both written once.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(base_url: &BaseUrl) -> Router<S> {
    let document = serde_json::to_value(document(base_url)).unwrap_or_default();
    let page = page::render(&document);
    let text = Bytes::from(document.to_string());
    let html = Bytes::from(page.html);
    let policy = HeaderValue::try_from(page.policy);
    let policy = policy.unwrap_or(HeaderValue::from_static("default-src 'none'"));
    Router::new()
        .route(DOCUMENT, get(|| async { answer("application/json", text) }))
        .route(
            DOCUMENT_PAGE,
            get(|| async {
                let policy = [(header::CONTENT_SECURITY_POLICY, policy)];
                (policy, answer("text/html; charset=utf-8", html))
            }),
        )
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
