//! Content as an answer: whole, in part, or not at all.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;

use super::byteranges::{ByteRanges, content_range};
use super::conditions::{self, Outcome};
use super::content::Content;
use super::description::Description;
use super::error::ApiError;
use crate::web::byte_range::{self, Selection};
use crate::web::transfers::{self, Transfer};

/// Whether what came by way of this node was checked against its hash: `yes` or `no`.
pub(crate) const VERIFIED: HeaderName = HeaderName::from_static("larder-verified");

/// Something to download.
pub(crate) struct Representation {
    /// The bytes.
    pub content: Content,
    /// The files that they keep open, if anybody counts those.
    pub transfer: Option<Transfer>,
    /// What is told of them.
    pub about: Arc<Description>,
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
        let about = Arc::clone(&self.about);
        let transfer = self.transfer.take();
        let validators = about.validators();
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
        about.tell_which(response.headers_mut());
        Ok(transfers::during(transfer, response))
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
        let mut response = self.response(StatusCode::PARTIAL_CONTENT, 0, Body::empty())?;
        let headers = response.headers_mut();
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.map_or(&b""[..], HeaderValue::as_bytes);
        let body = ByteRanges::new(self.content, ranges, content_type);
        headers.insert(header::CONTENT_TYPE, body.content_type().try_into()?);
        headers.insert(header::CONTENT_LENGTH, body.length().into());
        let body = body.into_body().await?;
        Ok(response.map(|_| body))
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
        // Room for all that is told, so that it moves no more.
        headers.reserve(16);
        self.about.tell_what(headers, self.inline)?;
        headers.insert(header::CONTENT_LENGTH, length.into());
        if let Some(verified) = self.content.verified() {
            let verified = HeaderValue::from_static(if verified { "yes" } else { "no" });
            headers.insert(VERIFIED, verified);
        }
        Ok(response)
    }
}
