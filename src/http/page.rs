//! The page for people: a few files in the binary, which use the REST interface as any client.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::web::conditions::{Outcome, Validators, evaluate};
use crate::web::error::ApiError;

/// Nothing comes from elsewhere, nothing is sent elsewhere, and no text becomes a script
/// (Content Security Policy Level 3, Trusted Types). Pictures, sounds and videos may come from what
/// the page has fetched itself, with a token that no address bears.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
     media-src 'self' blob:; frame-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'",
);

/// A file of the page.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

/// The files of `page/`, by the names that they refer to each other with.
const ASSETS: [Asset; 34] = [
    html("index.html", include_bytes!("../../page/index.html")),
    css("style.css", include_bytes!("../../page/style.css")),
    svg("icon.svg", include_bytes!("../../page/icon.svg")),
    js("app.js", include_bytes!("../../page/app.js")),
    js("api.js", include_bytes!("../../page/api.js")),
    js("archive.js", include_bytes!("../../page/archive.js")),
    js("badge.js", include_bytes!("../../page/badge.js")),
    js("chosen.js", include_bytes!("../../page/chosen.js")),
    js("dialog.js", include_bytes!("../../page/dialog.js")),
    js("dropped.js", include_bytes!("../../page/dropped.js")),
    js(
        "file_actions.js",
        include_bytes!("../../page/file_actions.js"),
    ),
    js("file_row.js", include_bytes!("../../page/file_row.js")),
    js("files.js", include_bytes!("../../page/files.js")),
    js("folder_row.js", include_bytes!("../../page/folder_row.js")),
    js("format.js", include_bytes!("../../page/format.js")),
    js("found.js", include_bytes!("../../page/found.js")),
    js("listing.js", include_bytes!("../../page/listing.js")),
    js("live.js", include_bytes!("../../page/live.js")),
    js("look.js", include_bytes!("../../page/look.js")),
    js("peers.js", include_bytes!("../../page/peers.js")),
    js("phone.js", include_bytes!("../../page/phone.js")),
    js("place.js", include_bytes!("../../page/place.js")),
    js("press.js", include_bytes!("../../page/press.js")),
    js("rights.js", include_bytes!("../../page/rights.js")),
    js("rows.js", include_bytes!("../../page/rows.js")),
    js("saving.js", include_bytes!("../../page/saving.js")),
    js("searched.js", include_bytes!("../../page/searched.js")),
    js(
        "shared_text.js",
        include_bytes!("../../page/shared_text.js"),
    ),
    js("storage.js", include_bytes!("../../page/storage.js")),
    js("trash.js", include_bytes!("../../page/trash.js")),
    js("upload_row.js", include_bytes!("../../page/upload_row.js")),
    js("uploads.js", include_bytes!("../../page/uploads.js")),
    js(
        "vendor/lean-qr.mjs",
        include_bytes!("../../page/vendor/lean-qr.mjs"),
    ),
    js(
        "vendor/tus.min.js",
        include_bytes!("../../page/vendor/tus.min.js"),
    ),
];

const fn asset(name: &'static str, content_type: &'static str, content: &'static [u8]) -> Asset {
    Asset {
        name,
        content_type,
        content,
    }
}

const fn html(name: &'static str, content: &'static [u8]) -> Asset {
    asset(name, "text/html; charset=utf-8", content)
}

const fn css(name: &'static str, content: &'static [u8]) -> Asset {
    asset(name, "text/css; charset=utf-8", content)
}

const fn js(name: &'static str, content: &'static [u8]) -> Asset {
    asset(name, "text/javascript; charset=utf-8", content)
}

const fn svg(name: &'static str, content: &'static [u8]) -> Asset {
    asset(name, "image/svg+xml", content)
}

/// `GET /`
pub(super) async fn index(headers: HeaderMap) -> Result<Response, ApiError> {
    served("index.html", &headers)
}

/// `GET /page/{*name}`: what the page consists of.
pub(super) async fn file(
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(name) = name.map_err(|_| ApiError::UnknownPath)?;
    served(&name, &headers)
}

fn served(name: &str, request: &HeaderMap) -> Result<Response, ApiError> {
    let mut assets = ASSETS.iter();
    let asset = assets.find(|asset| asset.name == name);
    let asset = asset.ok_or(ApiError::UnknownPath)?;
    // Another version of the binary has other files under the same names.
    let tag = format!("\"{}\"", blake3::hash(asset.content).to_hex());
    let validators = Validators {
        etag: &tag,
        modified: None,
    };
    let mut response = match evaluate(request, validators) {
        Outcome::Perform => asset.content.into_response(),
        Outcome::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        Outcome::Failed => return Err(ApiError::Precondition),
    };
    let headers = response.headers_mut();
    let fixed: [(HeaderName, HeaderValue); 5] = [
        (header::ETAG, HeaderValue::try_from(tag)?),
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static(asset.content_type),
        ),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("no-referrer"),
        ),
    ];
    for (name, value) in fixed {
        // Instead of what stands there: bytes come with a content type of their own.
        headers.insert(name, value);
    }
    Ok(response)
}
