//! Content as an answer: whole, in part, or not at all.

use std::borrow::Cow;
use std::ops::Range;
use std::time::SystemTime;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::byteranges::{ByteRanges, content_range};
use super::conditions::{self, Outcome, Validators};
use super::content::Content;
use super::disposition;
use super::error::ApiError;
use super::file_type;
use crate::web::byte_range::{self, Selection};

/// What a browser may do with content that it shows in place: nothing but show it.
const SANDBOX: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox",
);
/// The same for what a browser fetches once more for the document that it makes of it, which then
/// has to be of this node.
const SANDBOX_OF_MEDIA: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox allow-same-origin",
);
/// The same for documents whose viewers do not run in a sandbox.
const NOTHING_ELSE: HeaderValue =
    HeaderValue::from_static("default-src 'none'; object-src 'self'; style-src 'unsafe-inline'");
/// Of content that is named by its hash: it never changes.
pub(crate) const FOR_EVER: HeaderValue = HeaderValue::from_static("max-age=31536000, immutable");

/// Whether what came by way of this node was checked against its hash: `yes` or `no`.
pub(crate) const VERIFIED: HeaderName = HeaderName::from_static("larder-verified");

/// Something to download.
pub(crate) struct Representation {
    /// The bytes.
    pub content: Content,
    /// The entity tag: the hash, or without one whatever stands for these bytes alone.
    pub tag: String,
    /// Under which name to save them.
    pub name: String,
    /// The content type, if its uploader told.
    pub content_type: Option<String>,
    /// When it came under this address, where it has been the same ever since.
    pub modified: Option<SystemTime>,
    /// Whether the address is that of this content for ever.
    pub is_immutable: bool,
    /// Whether a browser shall show it, where it may, and not save it.
    pub inline: bool,
}

impl Representation {
    /// The answer to a GET or HEAD request with these headers.
    pub(crate) async fn answer(
        mut self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        let etag = format!("\"{}\"", self.tag);
        // Nobody may tell of a time to come (RFC 9110, section 8.8.2.1).
        self.modified = self.modified.filter(|it| *it <= SystemTime::now());
        let modified = self.modified;
        let is_immutable = self.is_immutable;
        let validators = Validators {
            etag: &etag,
            modified,
        };
        let mut response = match conditions::evaluate(headers, validators) {
            Outcome::Failed => return Err(ApiError::Precondition),
            Outcome::NotModified => StatusCode::NOT_MODIFIED.into_response(),
            Outcome::Perform => {
                let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
                // Only GET has ranges (RFC 9110, section 14.2).
                match range.filter(|_| method == Method::GET) {
                    Some(range) if conditions::range_counts(headers, validators) => {
                        let selection = byte_range::select(range, self.content.size());
                        self.selected(selection).await?
                    }
                    _ => self.whole(method).await?,
                }
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::try_from(etag)?);
        if is_immutable {
            headers.insert(header::CACHE_CONTROL, FOR_EVER);
        }
        if let Some(modified) = modified {
            let modified = HeaderValue::try_from(httpdate::fmt_http_date(modified))?;
            headers.insert(header::LAST_MODIFIED, modified);
        }
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        Ok(response)
    }

    async fn selected(self, selection: Selection) -> Result<Response<Body>, ApiError> {
        match selection {
            Selection::Whole => self.whole(&Method::GET).await,
            Selection::One(range) => self.one(range).await,
            Selection::Several(ranges) => self.several(ranges).await,
            Selection::Unsatisfiable => Err(ApiError::Range(self.content.size())),
        }
    }

    async fn whole(self, method: &Method) -> Result<Response<Body>, ApiError> {
        let size = self.content.size();
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            self.content.body(0..size).await?
        };
        self.response(StatusCode::OK, size, body)
    }

    async fn one(self, range: Range<u64>) -> Result<Response<Body>, ApiError> {
        let content_range = content_range(&range, self.content.size());
        let length = range.end - range.start;
        let body = self.content.body(range).await?;
        let mut response = self.response(StatusCode::PARTIAL_CONTENT, length, body)?;
        let content_range = HeaderValue::try_from(content_range)?;
        response
            .headers_mut()
            .insert(header::CONTENT_RANGE, content_range);
        Ok(response)
    }

    async fn several(self, ranges: Vec<Range<u64>>) -> Result<Response<Body>, ApiError> {
        let (content_type, _) = self.content_type();
        let body = ByteRanges::new(self.content.clone(), ranges, &content_type);
        let content_type = body.content_type();
        let (length, body) = (body.length(), body.into_body().await?);
        let mut response = self.response(StatusCode::PARTIAL_CONTENT, length, body)?;
        let content_type = HeaderValue::try_from(content_type)?;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        Ok(response)
    }

    /// The type that it is sent as, and whether a browser may show it.
    fn content_type(&self) -> (Cow<'_, str>, bool) {
        let content_type = file_type::of(self.content_type.as_deref(), &self.name);
        let content_type = content_type.unwrap_or(file_type::UNKNOWN.into());
        let shown = file_type::shown(&content_type).filter(|_| self.inline);
        match shown.map(Cow::into_owned) {
            Some(shown) => (shown.into(), true),
            None => (content_type, false),
        }
    }

    fn response(
        &self,
        status: StatusCode,
        length: u64,
        body: Body,
    ) -> Result<Response<Body>, ApiError> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let (content_type, is_shown) = self.content_type();
        let disposition = if is_shown {
            let policy = match content_type.split_once('/') {
                Some(("application", _)) => NOTHING_ELSE,
                Some(("audio" | "video", _)) => SANDBOX_OF_MEDIA,
                _ => SANDBOX,
            };
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
            disposition::inline(&self.name)
        } else {
            disposition::attachment(&self.name)
        };
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(&*content_type)?);
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if let Some(verified) = self.content.verified() {
            let verified = HeaderValue::from_static(if verified { "yes" } else { "no" });
            headers.insert(VERIFIED, verified);
        }
        Ok(response)
    }
}
