//! Requests, of which only so many a second are taken from one address.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::clients::ClientAddress;
use super::error::ApiError;
use super::rate_limit::RateLimit;

/// Lets a request through while its address has one left.
pub(crate) async fn limit_rate(
    State(limit): State<Arc<RateLimit>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(ClientAddress { ip, .. }) = request.extensions().get() {
        limit
            .take(*ip, Instant::now())
            .map_err(ApiError::TooOften)?;
    }
    Ok(next.run(request).await)
}
