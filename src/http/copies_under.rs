//! `/api/p2p/copies/under_replicated`: which files fewer members hold than are to.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::file_view::SpreadView;
use super::files::id_of;
use crate::fetch::copies::{Behind, UnderReplicated};
use crate::node::Node;
use crate::room::Room;
use crate::web::error::ApiError;

/// What a cursor begins with among the files of others.
const HELD: &str = "held";
/// About how much memory an answer takes at most, in bytes.
const LONGEST: u64 = 2 << 20;

/// Which part of the list is asked for.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UnderQuery {
    /// Only what is behind this: `next` of an earlier answer.
    #[param(pattern = "^(held|(held)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$")]
    after: Option<String>,
}

/// The answer of `GET /api/p2p/copies/under_replicated`.
#[derive(Serialize, ToSchema)]
pub(super) struct UnderAnswer {
    status: &'static str,
    files: Vec<UnderView>,
    /// Where to go on, if there may be more.
    next: Option<String>,
}

/// A file that fewer members hold than are to.
#[derive(Serialize, ToSchema)]
struct UnderView {
    /// The peer whose file it is: this node, or an owner that is gone.
    owner: String,
    /// Whether it is this node's own.
    own: bool,
    file_id: String,
    original_name: String,
    size: u64,
    hash: String,
    copies: SpreadView,
}

/// `GET /api/p2p/copies/under_replicated`
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    query: Result<Query<UnderQuery>, QueryRejection>,
) -> Result<Json<UnderAnswer>, ApiError> {
    let Query(query) = query?;
    let behind = behind(query.after)?;
    let copies = node.copies().ok_or(ApiError::NoCopies)?;
    let _room = Room::take(LONGEST);
    let (files, next) = copies.under_replicated(behind).await?;
    let view = |it: UnderReplicated| UnderView {
        owner: it.owner.to_string(),
        own: it.owner == node.peer_id(),
        file_id: it.file.to_string(),
        original_name: it.name,
        size: it.size,
        hash: it.hash.to_string(),
        copies: SpreadView::new(it.wanted, it.there),
    };
    Ok(Json(UnderAnswer {
        status: "success",
        files: files.into_iter().map(view).collect(),
        next: next.map(written),
    }))
}

fn behind(after: Option<String>) -> Result<Behind, ApiError> {
    let held = after.as_deref().and_then(|it| it.strip_prefix(HELD));
    let Some(held) = held.map(str::to_owned) else {
        return Ok(Behind::Own(id_of("after", after)?));
    };
    let held = Some(held).filter(|it| !it.is_empty());
    Ok(Behind::Held(id_of("after", held)?))
}

fn written(behind: Behind) -> String {
    match behind {
        Behind::Own(after) => after.map(|it| it.to_string()).unwrap_or_default(),
        Behind::Held(None) => HELD.to_owned(),
        Behind::Held(Some(after)) => format!("{HELD}{after}"),
    }
}
