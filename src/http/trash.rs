//! `/api/p2p/trash`: files that were removed and can be brought back.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::file_view::FileView;
use super::files::{Removed, file_id, id_of};
use crate::node::Node;
use crate::record::FileRecord;
use crate::store::{Store, StoreError, Trashed};
use crate::web::error::ApiError;
use crate::web::query;

/// The most files of one answer.
const MOST: usize = 1000;

/// Which of them to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TrashQuery {
    /// The most files to list; a thousand are the most of one answer.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 18_446_744_073_709_551_615_usize)]
    #[serde(default, deserialize_with = "query::number")]
    limit: Option<u64>,
    /// Only files behind this one: `next` of the answer before.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    after: Option<String>,
}

/// How much is in the trash.
#[derive(Serialize, ToSchema)]
pub(super) struct TrashView {
    /// How long a file that is removed can be brought back, in seconds; null where it cannot.
    keeps_seconds: Option<u64>,
    /// How many files are there, also such as were removed when there was a trash.
    files: u64,
    /// The sum of their sizes.
    bytes: u64,
}

/// The answer of `GET /api/p2p/trash`.
#[derive(Serialize, ToSchema)]
pub(super) struct TrashAnswer<'a> {
    status: &'static str,
    trash: TrashView,
    /// By the time of their upload.
    files: Vec<TrashedView<'a>>,
    file_count: usize,
    total_files: u64,
    /// Behind which one there may be more.
    next: Option<String>,
}

/// A file in the trash.
#[derive(Serialize, ToSchema)]
struct TrashedView<'a> {
    #[serde(flatten)]
    file: FileView<'a>,
    removed_at: String,
    /// How long it stays, in seconds, while the node runs.
    stays_seconds: u64,
}

/// The answer of `POST /api/p2p/trash/{id}`.
#[derive(Serialize, ToSchema)]
pub(super) struct BroughtBack<'a> {
    status: &'static str,
    message: &'static str,
    file: FileView<'a>,
}

/// The answer of `DELETE /api/p2p/trash`.
#[derive(Serialize, ToSchema)]
pub(super) struct Emptied {
    status: &'static str,
    /// How many files are gone.
    removed: u64,
}

impl TrashView {
    pub(super) fn of(store: &Store) -> Self {
        let totals = store.trash_totals();
        Self {
            keeps_seconds: store.trash_keeps().as_ref().map(Duration::as_secs),
            files: totals.files,
            bytes: totals.bytes,
        }
    }
}

/// Lists what is in the trash.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    query: Result<Query<TrashQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(TrashQuery { limit, after }) = query?;
    if limit == Some(0) {
        return Err(ApiError::Query("limit must be at least 1".to_owned()));
    }
    let limit = limit.and_then(|it| usize::try_from(it).ok());
    let limit = limit.unwrap_or(MOST).min(MOST);
    let after = id_of("after", after)?;
    let trashed = node.store().trashed(after, limit).await?;
    let last = trashed.last().map(|it| it.record.id);
    let is_more = match last {
        Some(last) => !node.store().trashed(Some(last), 1).await?.is_empty(),
        None => false,
    };
    let trash = TrashView::of(node.store());
    let view = |it: &Trashed| it.stays.as_secs();
    let files = trashed.iter().map(|it| TrashedView {
        file: FileView::new(&node, &it.record),
        removed_at: it.removed_at.to_string(),
        stays_seconds: view(it),
    });
    let answer = TrashAnswer {
        status: "success",
        files: files.collect(),
        file_count: trashed.len(),
        total_files: trash.files,
        trash,
        next: last.filter(|_| is_more).map(|it| it.to_string()),
    };
    Ok(Json(answer).into_response())
}

/// Brings a file back.
pub(super) async fn bring_back(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let record = done(node.store().bring_back(file_id(id)?).await)?;
    let answer = BroughtBack {
        status: "success",
        message: "File brought back",
        file: FileView::new(&node, &record),
    };
    Ok(Json(answer).into_response())
}

/// Has a file gone before its time.
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let record = done(node.store().remove_trashed(file_id(id)?).await)?;
    let answer = Removed {
        status: "success",
        message: "File deleted",
        file: FileView::new(&node, &record),
    };
    Ok(Json(answer).into_response())
}

/// Has all of them gone that are there.
pub(super) async fn empty(State(node): State<Arc<Node>>) -> Result<Json<Emptied>, ApiError> {
    let removed = node.store().empty_trash().await;
    Ok(Json(Emptied {
        status: "success",
        removed: removed.map_err(ApiError::unwritten)?,
    }))
}

fn done(changed: Result<Option<FileRecord>, StoreError>) -> Result<FileRecord, ApiError> {
    let changed = changed.map_err(ApiError::unwritten)?;
    changed.ok_or(ApiError::UnknownId)
}
