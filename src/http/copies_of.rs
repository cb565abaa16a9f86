//! `/api/p2p/file/{id}/copies`: on how many members of the network a file is, and is to be.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::file_view::SpreadView;
use super::files::file_id;
use super::wish::number_of;
use crate::fetch::copies::Copies;
use crate::node::Node;
use crate::record::FileId;
use crate::web::body::RequestBody;
use crate::web::error::ApiError;
use crate::web::json::{self, Key, Others};

/// The longest request, in bytes.
const MAX_BYTES: u64 = 4096;

/// The keys of a request.
const KEYS: &[Key] = &[Key::number("copies")];

/// On how many members a file is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CopiesRequest {
    #[serde(deserialize_with = "json::whole")]
    copies: u64,
}

/// The answer of both.
#[derive(Serialize, ToSchema)]
pub(super) struct CopiesAnswer {
    status: &'static str,
    file_id: String,
    original_name: String,
    copies: SpreadView,
    /// The members that have it, this node first; of the others those that are there.
    holders: Vec<String>,
}

/// `GET /api/p2p/file/{id}/copies`
pub(super) async fn look(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<CopiesAnswer>, ApiError> {
    let (id, copies) = (file_id(id)?, copies_of(&node)?);
    answer(&node, copies, id).await
}

/// `PUT /api/p2p/file/{id}/copies`: from then on the members see to it.
pub(super) async fn change(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<CopiesAnswer>, ApiError> {
    let id = file_id(id)?;
    let body = RequestBody::of_json(request, MAX_BYTES)?.read_all().await?;
    let request = json::read(&body, KEYS, Others::Refused).map_err(ApiError::Copies)?;
    let CopiesRequest { copies: number } = request;
    let (number, copies) = (number_of(Some(number))?, copies_of(&node)?);
    let changed = copies.wish_otherwise(id, number).await;
    if !changed.map_err(ApiError::unwritten)? {
        return Err(ApiError::UnknownId);
    }
    answer(&node, copies, id).await
}

fn copies_of(node: &Node) -> Result<&Copies, ApiError> {
    node.copies().map(Arc::as_ref).ok_or(ApiError::NoCopies)
}

async fn answer(node: &Node, copies: &Copies, id: FileId) -> Result<Json<CopiesAnswer>, ApiError> {
    let record = node.store().get(id).await?.ok_or(ApiError::UnknownId)?;
    let spread = copies.spread_of(id, &record.file.hash).await?;
    let others = spread.others.iter();
    let holders = [node.peer_id()].into_iter().chain(others.copied());
    Ok(Json(CopiesAnswer {
        status: "success",
        file_id: id.to_string(),
        original_name: record.file.name,
        copies: SpreadView::of(&spread),
        holders: holders.map(|it| it.to_string()).collect(),
    }))
}
