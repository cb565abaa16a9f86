//! `/api/p2p/copies`: what members of a network tell each other of the copies that they hold.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::files::{id_of, prover};
use crate::node::Node;
use crate::peer::copies::{CopyKey, Files, Here, MOST_KEYS, Rows, Standing};
use crate::peer_id::PeerId;
use crate::room::Room;
use crate::web::error::ApiError;
use crate::web::list;

/// About how much memory an answer takes at most, in bytes.
const LONGEST: u64 = 2 << 20;

/// Which entries are asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct StandingQuery {
    /// Only those behind this one: `next` of an earlier answer.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    after: Option<String>,
}

/// Which files are asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RowsQuery {
    /// The peer whose files they are: this node, or another of whose files it holds copies.
    #[param(required, pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    owner: Option<String>,
    /// Only those behind this one: `next` of an earlier answer, or the last of its rows where the
    /// files are this node's own.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    after: Option<String>,
}

/// Of which files something is asked.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct KeysQuery {
    /// At most 32 of them with commas between them, each as the id of its owner, a point and its id
    /// there.
    #[param(
        required,
        pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[.]\
                   [0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
    )]
    keys: Option<String>,
}

/// `GET /api/p2p/copies`
pub(super) async fn standing(
    State(node): State<Arc<Node>>,
    query: Result<Query<StandingQuery>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let after = id_of("after", query.after)?;
    let room = Room::take(LONGEST);
    let told = match node.copies() {
        Some(copies) => copies.standing(after).await?,
        None => Standing {
            status: SUCCESS.to_owned(),
            peer_id: node.peer_id().to_string(),
            ..Standing::default()
        },
    };
    Ok(answer(&node, room, &told, (&uri, &headers)))
}

/// `GET /api/p2p/copies/rows`
pub(super) async fn rows(
    State(node): State<Arc<Node>>,
    query: Result<Query<RowsQuery>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let owner: Option<PeerId> = query.owner.and_then(|it| it.parse().ok());
    let owner =
        owner.ok_or_else(|| ApiError::Query("owner must be the id of a peer".to_owned()))?;
    let after = id_of("after", query.after)?;
    let room = Room::take(LONGEST);
    let (rows, next) = match node.copies() {
        Some(copies) => copies.rows(owner, after).await?,
        None => (Vec::new(), None),
    };
    let told = Rows {
        status: SUCCESS.to_owned(),
        rows,
        next: next.map(|it| it.to_string()),
    };
    Ok(answer(&node, room, &told, (&uri, &headers)))
}

/// `GET /api/p2p/copies/files`
pub(super) async fn files(
    State(node): State<Arc<Node>>,
    query: Result<Query<KeysQuery>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let keys = keys(query)?;
    let room = Room::take(LONGEST);
    let (files, ended) = match node.copies() {
        Some(copies) => copies.files(&keys).await?,
        None => (Vec::new(), Vec::new()),
    };
    let told = Files {
        status: SUCCESS.to_owned(),
        files,
        ended,
    };
    Ok(answer(&node, room, &told, (&uri, &headers)))
}

/// `GET /api/p2p/copies/here`
pub(super) async fn here(
    State(node): State<Arc<Node>>,
    query: Result<Query<KeysQuery>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let keys = keys(query)?;
    let room = Room::take(LONGEST);
    let here = match node.copies() {
        Some(copies) => copies.here(&keys).await?,
        None => Vec::new(),
    };
    let status = SUCCESS.to_owned();
    let told = Here { status, here };
    Ok(answer(&node, room, &told, (&uri, &headers)))
}

/// What `status` of an answer says that is no refusal.
const SUCCESS: &str = "success";

fn keys(query: Result<Query<KeysQuery>, QueryRejection>) -> Result<Vec<CopyKey>, ApiError> {
    let Query(KeysQuery { keys }) = query?;
    let text = keys.unwrap_or_default();
    let keys = text
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<_>, _>>();
    let keys = keys.map_err(|e| ApiError::Query(format!("keys: {e}")))?;
    if keys.len() > MOST_KEYS {
        return Err(ApiError::Query(format!("keys must be {MOST_KEYS} at most")));
    }
    Ok(keys)
}

/// An answer that shows who gives it, where that is asked for.
fn answer(
    node: &Node,
    room: Room,
    told: &impl Serialize,
    (uri, headers): (&Uri, &HeaderMap),
) -> Response {
    let Some(mut prover) = prover(uri, headers) else {
        return list::whole(room, told);
    };
    // Values under names that are texts, which cannot fail to be written.
    let mut text = serde_json::to_vec(told).unwrap_or_default();
    text.pop();
    prover.push(&text);
    text.extend_from_slice(node.network().prove(prover).as_bytes());
    list::written(room, text)
}
