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
        match self {
            Self::Refused(error) => error.into_response(),
            Self::Body(most) => {
                let message = format!("the body is longer than {most} bytes or was cut off");
                let body = json!({ "status": "error", "code": "bad_body", "message": message });
                (StatusCode::BAD_REQUEST, Json(body)).into_response()
            }
        }
    }
}
