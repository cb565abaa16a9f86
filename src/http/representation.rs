//! An open blob as an answer: whole, in part, or not at all.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::byteranges::{ByteRanges, content_range};
use super::conditions::{self, Outcome};
use super::disposition;
use super::error::ApiError;
use crate::blob::OpenBlob;
use crate::byte_range::{self, Selection};
use crate::hash::BlobHash;

/// The content type of what came without one.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// Something to download.
pub(super) struct Representation {
    /// The bytes.
    pub blob: Arc<dyn OpenBlob>,
    /// Their hash, which is the entity tag.
    pub hash: BlobHash,
    /// Under which name to save them.
    pub name: String,
    /// The content type, if it is known.
    pub content_type: Option<String>,
}

impl Representation {
    /// The answer to a GET or HEAD request with these headers.
    pub(super) fn answer(
        self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, ApiError> {
        let etag = format!("\"{}\"", self.hash);
        let mut response = match conditions::evaluate(headers, &etag) {
            Outcome::Failed => return Err(ApiError::Precondition),
            Outcome::NotModified => StatusCode::NOT_MODIFIED.into_response(),
            Outcome::Perform => {
                let range = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
                // Only GET has ranges (RFC 9110, section 14.2).
                match range.filter(|_| method == Method::GET) {
                    Some(range) if conditions::range_counts(headers, &etag) => {
                        let selection = byte_range::select(range, self.blob.size());
                        self.selected(selection)?
                    }
                    _ => self.whole()?,
                }
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, HeaderValue::try_from(etag)?);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        Ok(response)
    }

    fn selected(self, selection: Selection) -> Result<Response<Body>, ApiError> {
        match selection {
            Selection::Whole => self.whole(),
            Selection::One(range) => self.one(range),
            Selection::Several(ranges) => self.several(ranges),
            Selection::Unsatisfiable => Err(ApiError::Range(self.blob.size())),
        }
    }

    fn whole(self) -> Result<Response<Body>, ApiError> {
        let size = self.blob.size();
        let body = Body::from_stream(self.blob.read(0..size));
        self.response(StatusCode::OK, size, body)
    }

    fn one(self, range: Range<u64>) -> Result<Response<Body>, ApiError> {
        let content_range = content_range(&range, self.blob.size());
        let length = range.end - range.start;
        let body = Body::from_stream(self.blob.read(range));
        let mut response = self.response(StatusCode::PARTIAL_CONTENT, length, body)?;
        let content_range = HeaderValue::try_from(content_range)?;
        response
            .headers_mut()
            .insert(header::CONTENT_RANGE, content_range);
        Ok(response)
    }

    fn several(mut self, ranges: Vec<Range<u64>>) -> Result<Response<Body>, ApiError> {
        let content_type = self.content_type.as_deref().unwrap_or(UNKNOWN_TYPE);
        let body = ByteRanges::new(Arc::clone(&self.blob), ranges, content_type);
        self.content_type = Some(body.content_type());
        self.response(StatusCode::PARTIAL_CONTENT, body.length(), body.into_body())
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
        Ok(response)
    }
}
