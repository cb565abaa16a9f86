//! `/api/p2p/keep`: what this node shall have a copy of, and how far it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gate::ClientShare;
use super::remote;
use crate::fetch::keep::{KeepId, KeepProgress, Naming, NotKept, Stage, Wanted};
use crate::hash::BlobHash;
use crate::name_form;
use crate::node::Node;
use crate::peer::directory::{Held, NetworkFile};
use crate::peer_id::PeerId;
use crate::record::{FileId, MAX_NAME_BYTES};
use crate::web::body::RequestBody;
use crate::web::error::ApiError;
use crate::web::json::{self, Key, Others};
use crate::web::list;

/// The longest request, in bytes: a name may be written in escapes, of six bytes for each of its
/// own, and has room beside it for all else.
const MAX_BYTES: u64 = 6 * MAX_NAME_BYTES as u64 + 4096;

/// How many copies are looked up at once, each with a name of 4 KiB at most.
const PAGE: usize = 32;

/// The keys of a request.
const KEYS: &[Key] = &[
    Key::text("hash").or_null(),
    Key::text("file_id").or_null(),
    Key::text("peer_id").or_null(),
    Key::text("original_name").or_null(),
];

/// What to keep: content by its hash, or a file by its id, which a peer may be named for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepRequest {
    hash: Option<String>,
    file_id: Option<String>,
    peer_id: Option<String>,
    /// How the copy shall be called.
    original_name: Option<String>,
}

/// How far one is.
#[derive(Serialize, ToSchema)]
pub(super) struct KeepView {
    id: String,
    state: &'static str,
    original_name: String,
    size: u64,
    fetched: u64,
    hash: Option<String>,
    /// The id of the copy, once it is there.
    file_id: Option<String>,
    /// Why the last try failed.
    error: Option<String>,
}

/// An answer about one.
#[derive(Serialize, ToSchema)]
pub(super) struct KeepAnswer {
    status: &'static str,
    keep: KeepView,
}

/// The answer about all.
#[derive(Serialize, ToSchema)]
pub(super) struct KeepsAnswer {
    status: &'static str,
    keeps: Vec<KeepView>,
}

impl From<KeepProgress> for KeepView {
    fn from(progress: KeepProgress) -> Self {
        let KeepProgress {
            wanted,
            stage,
            fetched,
            error,
        } = progress;
        let id = wanted.id().to_string();
        let file = wanted.file;
        let (state, copy) = match stage {
            Stage::Waiting => ("waiting", None),
            Stage::Fetching => ("fetching", None),
            Stage::Kept(copy) => ("kept", copy),
            Stage::Failed => ("failed", None),
        };
        Self {
            id,
            state,
            original_name: file.name,
            size: file.size,
            fetched: if state == "kept" { file.size } else { fetched },
            hash: file.hash.map(|hash| hash.to_string()),
            file_id: copy.map(|id| id.to_string()),
            error,
        }
    }
}

impl KeepAnswer {
    fn of(progress: KeepProgress) -> Json<Self> {
        Json(Self {
            status: "success",
            keep: progress.into(),
        })
    }
}

/// `POST /api/p2p/keep`: 202, since the copy is made in the background; 200 where nobody else has
/// to be asked, since it is here.
pub(super) async fn keep(
    State(node): State<Arc<Node>>,
    mut request: Request,
) -> Result<(StatusCode, Json<KeepAnswer>), ApiError> {
    let ClientShare(client) = request.extensions_mut().remove().unwrap_or_default();
    let body = RequestBody::of_json(request, MAX_BYTES)?.read_all().await?;
    let request = json::read(&body, KEYS, Others::Refused).map_err(ApiError::Keep)?;
    let wanted = match find(&node, &request).await {
        Ok(wanted) => wanted,
        Err(error @ ApiError::Keep(_)) => return Err(error),
        Err(error) => {
            let kept = keep_held(&node, &request).await?.ok_or(error)?;
            return Ok((StatusCode::OK, KeepAnswer::of(kept)));
        }
    };
    if let Some(kept) = node.keeper().note_if_here(&wanted).await? {
        return Ok((StatusCode::ACCEPTED, KeepAnswer::of(kept)));
    }
    let (id, name) = (wanted.id(), wanted.file.name.clone());
    let is_given = wanted.naming == Naming::Given;
    node.keeper().keep(wanted, client).await?;
    let progress = node.keeper().progress(id).await?;
    let mut progress = progress.ok_or(ApiError::UnknownKeep)?;
    if is_given {
        // Others may want the same content by other names.
        progress.wanted.file.name = name;
    }
    Ok((StatusCode::ACCEPTED, KeepAnswer::of(progress)))
}

/// `GET /api/p2p/keep`
pub(super) async fn list(State(node): State<Arc<Node>>) -> Result<Response, ApiError> {
    // What was wanted before is not known earlier.
    node.keeper().recall().await?;
    let around = |_| KeepsAnswer {
        status: "success",
        keeps: Vec::new(),
    };
    // Before the answer begins, so that it can be a refusal.
    let first = page(&node, None).await?;
    let some = stream::try_unfold((node, first), |(node, keeps)| async {
        if keeps.is_empty() {
            return Ok(None);
        }
        let last = keeps.last().map(|(number, _)| *number);
        let next = page(&node, last).await?;
        let keeps = keeps.into_iter().map(|(_, it)| KeepView::from(it));
        Ok(Some((keeps.collect(), (node, next))))
    });
    Ok(list::answer(list::pieces_of(around, some)).await)
}

async fn page(node: &Node, after: Option<u64>) -> Result<Vec<(u64, KeepProgress)>, NotKept> {
    node.keeper().page(after, PAGE).await
}

/// `GET /api/p2p/keep/{id}`
pub(super) async fn progress(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<KeepAnswer>, ApiError> {
    let progress = node.keeper().progress(keep_id(id)?).await?;
    progress.map(KeepAnswer::of).ok_or(ApiError::UnknownKeep)
}

/// `DELETE /api/p2p/keep/{id}`: gives up what is not there yet. A copy that is there stays.
pub(super) async fn forget(
    State(node): State<Arc<Node>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<KeepAnswer>, ApiError> {
    let forgotten = node.keeper().forget(keep_id(id)?).await?;
    forgotten.map(KeepAnswer::of).ok_or(ApiError::UnknownKeep)
}

fn keep_id(id: Result<Path<String>, PathRejection>) -> Result<KeepId, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::UnknownKeep)?;
    id.parse().map_err(|_| ApiError::UnknownKeep)
}

async fn find(node: &Node, request: &KeepRequest) -> Result<Wanted, ApiError> {
    let name = request.original_name.as_ref();
    if name.is_some_and(|it| !(1..=MAX_NAME_BYTES).contains(&it.len())) {
        let message = format!("original_name must have 1 to {MAX_NAME_BYTES} bytes");
        return Err(ApiError::Keep(message));
    }
    let mut wanted = match (&request.hash, &request.file_id, &request.peer_id) {
        (Some(hash), None, None) => by_hash(node, hash),
        (None, Some(file), Some(peer)) => of_peer(node, file, peer).await,
        (None, Some(file), None) => by_file_id(node, file).await,
        _ => Err(ApiError::Keep(
            "name either hash, or file_id with or without peer_id".to_owned(),
        )),
    }?;
    if let Some(name) = name {
        wanted.file.name.clone_from(name);
        wanted.naming = Naming::Given;
    }
    Ok(wanted)
}

/// Keeps what nobody else tells of, if this node holds it whole: under the name that it shall have.
async fn keep_held(node: &Node, request: &KeepRequest) -> Result<Option<KeepProgress>, ApiError> {
    let Some((wanted, copy)) = held_here(node, request).await? else {
        return Ok(None);
    };
    Ok(match copy {
        Some(copy) => Some(node.keeper().note_kept(wanted, Some(copy)).await?),
        None => node.keeper().note_held(wanted).await?,
    })
}

/// What is asked for, if this node holds it whole, with its file where that is asked for by its id
/// and by no other name.
async fn held_here(
    node: &Node,
    request: &KeepRequest,
) -> Result<Option<(Wanted, Option<FileId>)>, ApiError> {
    let (store, peer) = (node.store(), node.peer_id());
    let given = request.original_name.as_ref();
    let named = |name: String| given.cloned().unwrap_or(name);
    let (file, copy) = match (&request.hash, &request.file_id, &request.peer_id) {
        (Some(hash), None, None) => {
            let Ok(hash) = hash.parse::<BlobHash>() else {
                return Ok(None);
            };
            let Some(blob) = store.open(&hash).await? else {
                return Ok(None);
            };
            let file = NetworkFile {
                // Nobody asks for it by an id.
                id: FileId::next(None),
                hash: Some(hash),
                name: named(hash.to_string()),
                size: blob.size(),
                content_type: None,
                uploaded_at: String::new(),
            };
            (file, None)
        }
        (None, Some(file), of) if of.as_ref().is_none_or(|it| it.parse() == Ok(peer)) => {
            let record = match file.parse() {
                Ok(id) => store.get(id).await?,
                Err(_) => None,
            };
            let Some(record) = record else {
                return Ok(None);
            };
            let file = NetworkFile {
                id: record.id,
                hash: Some(record.file.hash),
                name: named(record.file.name.clone()),
                size: record.file.size,
                content_type: record.file.content_type.clone(),
                uploaded_at: record.uploaded_at.to_string(),
            };
            let is_it = given.is_none_or(|it| name_form::is_same(it, &record.file.name));
            (file, is_it.then_some(record.id))
        }
        _ => return Ok(None),
    };
    let whole = match &file.hash {
        Some(hash) => store.holds_whole(hash).await?,
        None => false,
    };
    let naming = if given.is_some() {
        Naming::Given
    } else {
        Naming::Content
    };
    Ok(whole.then_some((Wanted { peer, file, naming }, copy)))
}

fn by_hash(node: &Node, hash: &str) -> Result<Wanted, ApiError> {
    let hash: BlobHash = hash.parse().map_err(|_| ApiError::UnknownBlob)?;
    let told = node.fetcher().told_of(&hash).into_iter().next();
    let told = told.ok_or_else(|| remote::unknown(node, ApiError::UnknownBlob));
    let (peer, file) = told?;
    let naming = Naming::Content;
    Ok(Wanted { peer, file, naming })
}

async fn of_peer(node: &Node, file: &str, peer: &str) -> Result<Wanted, ApiError> {
    let peer: PeerId = peer.parse().map_err(|_| ApiError::UnknownPeer)?;
    let file = remote::find(node, peer, file).await?;
    let naming = Naming::Given;
    Ok(Wanted { peer, file, naming })
}

async fn by_file_id(node: &Node, file: &str) -> Result<Wanted, ApiError> {
    let id: FileId = file.parse().map_err(|_| ApiError::NoId)?;
    // What this node holds under an id means that, whatever others say.
    if let Some(own) = node.store().get(id).await? {
        let hash = own.file.hash;
        if node.store().holds_whole(&hash).await? {
            return Err(ApiError::UnknownFile);
        }
        return by_hash(node, &hash.to_string());
    }
    let Held { file, peers } = remote::with_id(node, id)?;
    let told = file.hash.map(|hash| node.fetcher().told_of(&hash));
    let mut told = told.into_iter().flatten();
    let best = told.find(|(_, told)| told.id == id).map(|(peer, _)| peer);
    let peer = best.or(peers.first().copied());
    let (peer, naming) = (peer.ok_or(ApiError::UnknownId)?, Naming::File);
    Ok(Wanted { peer, file, naming })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_keys_that_people_are_told_of() {
        let all = serde_json::json!({
            "hash": "", "file_id": "", "peer_id": "", "original_name": "",
        });
        json::assert_all(KEYS, &all);
        // No key has to be there, and each that there is stands in this.
        let KeepRequest {
            hash: Some(_),
            file_id: Some(_),
            peer_id: Some(_),
            original_name: Some(_),
        } = serde_json::from_value(all).unwrap()
        else {
            panic!("a key is not read");
        };
    }
}
