//! Refusals of the bootstrap server, in the shape that the REST interface gives them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::peer::registration::Absurd;
use crate::web::rate_limit::TooOften;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages below say it")]
pub enum BootstrapError {
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("the body is longer than {0} bytes or was cut off")]
    Body(usize),
    #[error("the body came too slowly")]
    TooSlow,
    #[error("the registration is not valid: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the registration is not valid: {0}")]
    Absurd(#[from] Absurd),
    #[error("limit must be a whole number")]
    Query,
    #[error("too many requests came from this address")]
    TooOften(TooOften),
}

impl IntoResponse for BootstrapError {
    fn into_response(self) -> Response {
        use StatusCode as S;
        let (status, code) = match &self {
            Self::UnknownPath => (S::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Body(_) => (S::BAD_REQUEST, "bad_body"),
            Self::TooSlow => (S::REQUEST_TIMEOUT, "too_slow"),
            Self::Json(_) | Self::Absurd(_) => (S::BAD_REQUEST, "bad_registration"),
            Self::Query => (S::BAD_REQUEST, "bad_query"),
            Self::TooOften(_) => (S::TOO_MANY_REQUESTS, "too_many_requests"),
        };
        let message = self.to_string();
        let body = json!({ "status": "error", "code": code, "message": message });
        let mut response = (status, Json(body)).into_response();
        if let Self::TooOften(TooOften(wait)) = self {
            // RFC 6585, section 4.
            let seconds = HeaderValue::from(wait.as_secs() + 1);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}
