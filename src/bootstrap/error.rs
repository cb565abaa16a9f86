//! Refusals of the bootstrap server: those of every surface, and one of its own.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::web::error::ApiError;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum BootstrapError {
    /// As by a node.
    Refused(ApiError),
    /// The client means another host than this machine.
    Host,
    /// The body is longer than so many bytes, or was cut off: one code for either.
    Body(usize),
}

impl From<ApiError> for BootstrapError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl IntoResponse for BootstrapError {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::Refused(error) => return error.into_response(),
            Self::Host => (
                StatusCode::MISDIRECTED_REQUEST,
                "host_not_allowed",
                "this server does not answer for this host; \
                 name the proxy that is in front of it with --trusted-proxy"
                    .to_owned(),
            ),
            Self::Body(most) => (
                StatusCode::BAD_REQUEST,
                "bad_body",
                format!("the body is longer than {most} bytes or was cut off"),
            ),
        };
        let body = json!({ "status": "error", "code": code, "message": message });
        (status, Json(body)).into_response()
    }
}
