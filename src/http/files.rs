//! The local files: the listing, and removal.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::file_view::FileView;
use super::gate::ClientShare;
use super::listing::{Filter, Form, Listing, OrderName};
use super::switch::Switch;
use crate::node::Node;
use crate::peer::challenge::{self, Prover};
use crate::record::{FileId, FileRecord, InvalidFileId, Order};
use crate::web::conditions::{Validators, allow_change, restrict_change};
use crate::web::error::ApiError;
use crate::web::list;
use crate::web::query;
use crate::web::to_its_end::to_its_end;

/// Which files to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// The most files to list; all of them without it. With a `name` there may be fewer, or none,
    /// and still a next page: only so many names are looked at for one answer.
    #[param(value_type = Option<usize>, minimum = 1, maximum = 18_446_744_073_709_551_615_usize)]
    #[serde(default, deserialize_with = "query::number")]
    limit: Option<u64>,
    /// From which end on; the oldest first without it.
    #[param(inline)]
    order: Option<OrderName>,
    /// Only files behind this one, without it: where to go on, `next` of the answer before, which
    /// is an id. Where the newest come first it only says where the list ends.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    after: Option<String>,
    /// Only files before this one, without it: where to go on where the newest come first. Where
    /// the oldest do it only says where the list ends.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    before: Option<String>,
    /// What the names shall hold, whatever the case.
    name: Option<String>,
    /// Tell besides which files were removed since this moment: `listed_at` of an answer
    /// to a question of this kind.
    #[param(value_type = Option<usize>, maximum = 18_446_744_073_709_551_615_usize)]
    #[serde(default, deserialize_with = "query::number")]
    removed_since: Option<u64>,
}

/// `GET /api/p2p/files`
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Extension(share): Extension<ClientShare>,
    query: Result<Query<ListQuery>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    if query.limit == Some(0) {
        return Err(ApiError::Query("limit must be at least 1".to_owned()));
    }
    let filter = Filter {
        order: query.order.map_or(Order::OldestFirst, Order::from),
        after: id_of("after", query.after)?,
        before: id_of("before", query.before)?,
        limit: query.limit,
        name: query.name,
        removed_since: query.removed_since,
    };
    let (prover, form) = (prover(&uri, &headers), Form::wanted(&headers));
    let content_type = form.content_type();
    let listing = Listing::start(node, filter, share, (prover, form)).await?;
    let mut response = list::answer_as(content_type, listing.into_pieces().boxed()).await;
    let varies = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, varies);
    Ok(response)
}

/// What proves the answer to a peer that asks for a proof.
pub(super) fn prover(uri: &Uri, headers: &HeaderMap) -> Option<Prover> {
    let challenge = headers.get(challenge::HEADER)?.to_str().ok()?;
    let target = uri.path_and_query()?.to_string();
    Some(Prover::new(challenge.parse().ok()?, target))
}

/// The id of a file that the parameter `name` of a query says, if it is there.
pub(super) fn id_of(name: &str, id: Option<String>) -> Result<Option<FileId>, ApiError> {
    let id = id.map(|id| id.parse()).transpose();
    id.map_err(|e: InvalidFileId| ApiError::Query(format!("{name}: {e}")))
}

/// The id of a file that a path says.
pub(super) fn file_id(id: Result<Path<String>, PathRejection>) -> Result<FileId, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::NoId)?;
    id.parse().map_err(|_| ApiError::NoId)
}

/// How to remove a file.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveQuery {
    /// `1` to have it gone at once where the node has a trash, and also if it is there already.
    #[param(inline)]
    force: Option<Switch>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Removed<'a> {
    pub(super) status: &'static str,
    pub(super) message: &'static str,
    pub(super) file: FileView<'a>,
}

/// `DELETE /api/p2p/file/{id}`
pub(super) async fn remove(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
    query: Result<Query<RemoveQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = file_id(id)?;
    let Query(RemoveQuery { force }) = query?;
    // A file never changes, so that what is expected of it now holds until it is removed.
    if restrict_change(&headers)
        && let Some(record) = node.store().get(id).await?
    {
        let etag = format!("\"{}\"", record.file.hash);
        let current = Validators {
            etag: &etag,
            modified: record.uploaded_at.to_system_time(),
        };
        if !allow_change(&headers, Some(current)) {
            return Err(ApiError::Precondition);
        }
    }
    let removing = Arc::clone(&node);
    let removed = to_its_end(async move { remove_whole(&removing, id, force).await }).await?;
    let removed = Removed {
        status: "success",
        message: "File deleted",
        file: FileView::new(&node, &removed),
    };
    Ok(Json(removed).into_response())
}

/// Removes a file, and writes down what else is to be known of that.
async fn remove_whole(
    node: &Node,
    id: FileId,
    force: Option<Switch>,
) -> Result<FileRecord, ApiError> {
    // All that is written down of it, also what is not the store's.
    let room = node.store().lend_if_short().await;
    let begun = match node.copies() {
        Some(copies) => Some(copies.begin_removal(id).await),
        None => None,
    };
    let _removing = begun.transpose().map_err(ApiError::unwritten)?;
    let hash = node.keeper().begin_removal(id).await;
    let removed = match force {
        Some(Switch::On) => node.store().remove_for_good(id).await,
        _ => node.store().remove(id).await,
    };
    hash.inspect(|hash| node.keeper().end_removal(hash));
    node.store().take_back(room).await;
    let removed = removed.map_err(ApiError::unwritten)?;
    let removed = removed.ok_or(ApiError::UnknownId)?;
    if let Some(copies) = node.copies() {
        // What is left of it the next start forgets.
        let _ = copies.end_removal(id).await;
    }
    Ok(removed)
}
