//! `POST /api/p2p/announce`: a peer tells of a file it holds, or no longer holds.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::node::Node;
use crate::peer::announcement::{Announcement, NotTaken};
use crate::peer::network::Heard;
use crate::web::body::RequestBody;
use crate::web::error::ApiError;

/// The longest announcement, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// The answer to an announcement.
#[derive(Serialize, ToSchema)]
pub(super) struct Acknowledged {
    status: &'static str,
    message: &'static str,
    /// Whether it changed what this node knows.
    kept: bool,
    /// Whether it was ignored, since its peer is not known here, or does not answer where it
    /// says it is.
    ignored: bool,
}

/// Takes an announcement.
pub(super) async fn announce(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<Acknowledged>, ApiError> {
    let body = RequestBody::of_json(request, MAX_BYTES)?.read_all().await?;
    let announcement: Announcement =
        serde_json::from_slice(&body).map_err(|e| ApiError::Announcement(e.to_string()))?;
    let heard = match node.network().hear(announcement) {
        Ok(heard) => heard,
        // The contract's own example has such ids.
        Err(NotTaken::Ids) => Heard::OfNobody,
        Err(error) => return Err(ApiError::Announcement(error.to_string())),
    };
    Ok(Json(Acknowledged {
        status: "success",
        message: "Announcement received",
        kept: heard == Heard::News,
        ignored: heard == Heard::OfNobody,
    }))
}
