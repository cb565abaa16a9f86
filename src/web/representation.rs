//! Content as an answer: whole, in part, or not at all.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::byteranges::{ByteRanges, content_range};
use super::conditions::{self, Outcome};
use super::content::Content;
use super::disposition;
use super::error::ApiError;
use crate::web::byte_range::{self, Selection};

/// The content type of what came without one.
const UNKNOWN_TYPE: &str = "application/octet-stream";

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
    /// The content type, if it is known.
    pub content_type: Option<String>,
}

impl Representation {
    /// The answer to a GET or HEAD request with these headers.
    pub(crate) async fn answer(
        self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        let etag = format!("\"{}\"", self.tag);
        let mut response = match conditions::evaluate(headers, &etag) {
            Outcome::Failed => return Err(ApiError::Precondition),
            Outcome::NotModified => StatusCode::NOT_MODIFIED.into_response(),
            Outcome::Perform => {
                let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
                // Only GET has ranges (RFC 9110, section 14.2).
                match range.filter(|_| method == Method::GET) {
                    Some(range) if conditions::range_counts(headers, &etag) => {
                        let selection = byte_range::select(range, self.content.size());
                        self.selected(selection).await?
                    }
                    _ => self.whole(method).await?,
                }
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::try_from(etag)?);
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

    async fn several(mut self, ranges: Vec<Range<u64>>) -> Result<Response<Body>, ApiError> {
        let content_type = self.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
        let body = ByteRanges::new(self.content.clone(), ranges, content_type);
        self.content_type = Some(body.content_type());
        let (length, body) = (body.length(), body.into_body().await?);
        self.response(StatusCode::PARTIAL_CONTENT, length, body)
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
        let content_type = self.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
        headers.insert(header::CONTENT_TYPE, HeaderValue::try_from(content_type)?);
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(
            header::CONTENT_DISPOSITION,
            disposition::attachment(&self.name),
        );
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
