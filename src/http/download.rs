//! Downloads: a file by its id, of a peer, or content by its hash.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::error::ApiError;
use super::representation::Representation;
use crate::hash::BlobHash;
use crate::node::Node;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};

/// A path segment; what is not UTF-8 names nothing.
type Segment = Result<Path<String>, PathRejection>;

/// `GET /api/p2p/file/{id}`
pub(super) async fn by_id(
    State(node): State<Arc<Node>>,
    id: Segment,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::UnknownFile)?;
    let record = find(&node, &id).await?.ok_or(ApiError::UnknownFile)?;
    serve(&node, record).await?.answer(&method, &headers)
}

/// `GET /api/p2p/download/{peer}/{file}`, where `file` is an id or a name. A name
/// means its newest file.
pub(super) async fn from_peer(
    State(node): State<Arc<Node>>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path((peer, file)) = path.map_err(|_| ApiError::UnknownFile)?;
    if peer.parse::<PeerId>() != Ok(node.peer_id()) {
        return Err(ApiError::UnknownPeer);
    }
    let record = if let Some(record) = find(&node, &file).await? {
        record
    } else {
        let named = node.store().newest_named(&file).await?;
        named.ok_or(ApiError::UnknownFile)?
    };
    serve(&node, record).await?.answer(&method, &headers)
}

/// `GET /api/p2p/blob/{hash}`
pub(super) async fn by_hash(
    State(node): State<Arc<Node>>,
    hash: Segment,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(hash) = hash.map_err(|_| ApiError::UnknownBlob)?;
    let hash: BlobHash = hash.parse().map_err(|_| ApiError::UnknownBlob)?;
    let blob = node.store().open(&hash).await?;
    let found = Representation {
        blob: blob.ok_or(ApiError::UnknownBlob)?,
        hash,
        name: hash.to_string(),
        content_type: None,
    };
    found.answer(&method, &headers)
}

/// The file with this id; what is no id is no file's id.
async fn find(node: &Node, id: &str) -> Result<Option<FileRecord>, ApiError> {
    match id.parse::<FileId>() {
        Ok(id) => Ok(node.store().get(id).await?),
        Err(_) => Ok(None),
    }
}

async fn serve(node: &Node, record: FileRecord) -> Result<Representation, ApiError> {
    let FileRecord { id, file, .. } = record;
    let Some(blob) = node.store().open(&file.hash).await? else {
        // Either the file was removed since it was looked up, or its blob is lost.
        return Err(match node.store().get(id).await? {
            Some(_) => ApiError::ContentMissing(file.hash),
            None => ApiError::UnknownFile,
        });
    };
    Ok(Representation {
        blob,
        hash: file.hash,
        name: file.name,
        content_type: file.content_type,
    })
}
