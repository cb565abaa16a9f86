//! Downloads: a file by its id, of a peer, or content by its hash.

use std::sync::Arc;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::files::file_id;
use super::remote;
use super::switch::Switch;
use crate::hash::BlobHash;
use crate::node::Node;
use crate::peer_id::PeerId;
use crate::record::FileRecord;
use crate::store::{ReadyContent, ReadyFile};
use crate::web::content::Content;
use crate::web::description::{Description, Facts};
use crate::web::disposition;
use crate::web::error::ApiError;
use crate::web::representation::Representation;
use crate::web::transfers::TransferShare;

/// A path segment; what is not UTF-8 names nothing.
type Segment = Result<Path<String>, PathRejection>;

/// How a file is wanted.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct FileQuery {
    /// `1` to have a browser show it where that is safe, and not save it.
    #[param(inline)]
    inline: Option<Switch>,
}

/// `GET /api/p2p/file/{id}`
pub(super) async fn by_id(
    State(node): State<Arc<Node>>,
    id: Segment,
    query: Result<Query<FileQuery>, QueryRejection>,
    share: TransferShare,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let id = file_id(id)?;
    let found = match node.store().ready(id).await? {
        Some(ready) => serve(&node, ready, &share).await?,
        None => remote::by_id(&node, id, &share).await?,
    };
    let inline = query.inline == Some(Switch::On);
    // Taken apart, since a copy of the headers would cost what the rest of a hot answer does.
    let (head, _) = request.into_parts();
    Representation { inline, ..found }
        .answer(&head.method, &head.headers)
        .await
}

/// `GET /api/p2p/download/{peer}/{file}`, where `file` is an id or a name. A name
/// means its newest file.
pub(super) async fn from_peer(
    State(node): State<Arc<Node>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<FileQuery>, QueryRejection>,
    share: TransferShare,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let Path((peer, file)) = path.map_err(|_| ApiError::UnknownFile)?;
    let peer: PeerId = peer.parse().map_err(|_| ApiError::UnknownPeer)?;
    let found = if peer == node.peer_id() {
        own(&node, &file, &share).await?
    } else {
        remote::of_peer(&node, peer, &file, &share).await?
    };
    let inline = query.inline == Some(Switch::On);
    Representation { inline, ..found }
        .answer(&method, &headers)
        .await
}

/// The file of this node that an id or a name means.
async fn own(node: &Node, file: &str, share: &TransferShare) -> Result<Representation, ApiError> {
    if let Some(ready) = with_id(node, file).await? {
        return serve(node, ready, share).await;
    }
    // A copy of another's file is had here by its id.
    if let (Some(_), Ok(id)) = (node.copies(), file.parse())
        && let Ok(found) = remote::by_id(node, id, share).await
    {
        return Ok(found);
    }
    let ready = newest_named(node, file).await?;
    let about = Description::of(&Facts {
        // Another file may have the name from any moment on.
        modified: None,
        ..facts(&ready.record, &ready.record.file.hash.to_string())
    })?;
    present(node, ready, Arc::new(about), share).await
}

/// How content is wanted that has no name of its own.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct BlobQuery {
    /// Under which name to save it; its hash by default.
    name: Option<String>,
    /// `1` to have a browser show it where that is safe, and not save it: the name tells its type.
    #[param(inline)]
    inline: Option<Switch>,
}

/// `GET /api/p2p/blob/{hash}`: content of this node or of another.
pub(super) async fn by_hash(
    State(node): State<Arc<Node>>,
    hash: Segment,
    query: Result<Query<BlobQuery>, QueryRejection>,
    share: TransferShare,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(hash) = hash.map_err(|_| ApiError::UnknownBlob)?;
    let hash: BlobHash = hash.parse().map_err(|_| ApiError::UnknownBlob)?;
    let Query(query) = query?;
    let (content, transfer) = remote::content(&node, hash, None, &share).await?;
    let tag = hash.to_string();
    let name = query.name.as_deref();
    let about = Description::of(&Facts {
        name: name.filter(|it| disposition::is_name(it)).unwrap_or(&tag),
        tag: &tag,
        content_type: None,
        modified: None,
        is_immutable: true,
    })?;
    let found = Representation {
        content: content.ok_or_else(|| remote::unknown(&node, ApiError::UnknownBlob))?,
        transfer,
        about: Arc::new(about),
        inline: query.inline == Some(Switch::On),
    };
    found.answer(&method, &headers).await
}

/// The file with this id; what is no id is no file's id.
async fn with_id(node: &Node, id: &str) -> Result<Option<ReadyFile>, ApiError> {
    match id.parse() {
        Ok(id) => Ok(node.store().ready(id).await?),
        Err(_) => Ok(None),
    }
}

async fn newest_named(node: &Node, name: &str) -> Result<ReadyFile, ApiError> {
    let newest = node.store().newest_named(name).await?;
    let id = newest.ok_or(ApiError::UnknownFile)?.id;
    node.store().ready(id).await?.ok_or(ApiError::UnknownFile)
}

/// A file of this node. What is told of it stays ready as long as the file does.
async fn serve(
    node: &Node,
    ready: ReadyFile,
    share: &TransferShare,
) -> Result<Representation, ApiError> {
    let about = ready.prepared.get_or_make(|| {
        let tag = ready.record.file.hash.to_string();
        Description::of(&facts(&ready.record, &tag))
    })?;
    present(node, ready, about, share).await
}

fn facts<'a>(record: &'a FileRecord, tag: &'a str) -> Facts<'a> {
    let file = &record.file;
    Facts {
        tag,
        name: &file.name,
        content_type: file.content_type.as_deref(),
        modified: record.uploaded_at.to_system_time(),
        is_immutable: false,
    }
}

async fn present(
    node: &Node,
    ready: ReadyFile,
    about: Arc<Description>,
    share: &TransferShare,
) -> Result<Representation, ApiError> {
    let (content, transfer) = match ready.content {
        ReadyContent::Small(bytes) => (Content::Memory(bytes), None),
        ReadyContent::Stored => remote::of_own_file(node, &ready.record, share).await?,
    };
    Ok(Representation {
        content,
        transfer,
        about,
        inline: false,
    })
}
