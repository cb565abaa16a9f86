//! The local files: the listing, and removal.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::file_view::FileView;
use super::listing::{Filter, Listing};
use crate::node::Node;
use crate::record::FileId;

/// Which files to list.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<u64>,
    after: Option<String>,
    name: Option<String>,
}

/// `GET /api/p2p/files`
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|e| ApiError::Query(e.body_text()))?;
    if query.limit == Some(0) {
        return Err(ApiError::Query("limit must be at least 1".to_owned()));
    }
    let after = query.after.map(|id| id.parse::<FileId>()).transpose();
    let after = after.map_err(|e| ApiError::Query(format!("after: {e}")))?;
    let filter = Filter {
        limit: query.limit,
        name: query.name,
    };
    let listing = Listing::start(node, filter, after).await?;
    let mut response = Response::new(Body::from_stream(listing.into_stream()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

#[derive(Serialize)]
struct Removed<'a> {
    status: &'static str,
    message: &'static str,
    file: FileView<'a>,
}

/// `DELETE /api/p2p/file/{id}`
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::UnknownFile)?;
    let id: FileId = id.parse().map_err(|_| ApiError::UnknownFile)?;
    let removed = node.store().remove(id).await?;
    let removed = removed.ok_or(ApiError::UnknownFile)?;
    node.network().announce(&removed, true);
    let removed = Removed {
        status: "success",
        message: "File deleted",
        file: FileView::new(&node, &removed),
    };
    Ok(Json(removed).into_response())
}
