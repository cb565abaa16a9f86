//! `POST /api/p2p/announce`: a peer tells of a file it holds, or no longer holds; and
//! `POST /api/p2p/announcements`: of many.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::node::Node;
use crate::peer::announcement::{Announcement, NotTaken};
use crate::peer::batch;
use crate::peer::hearing::Heard;
use crate::web::body::RequestBody;
use crate::web::error::ApiError;
use crate::web::json::{self, Key, Others};

/// The longest announcement, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The keys of an announcement.
const KEYS: &[Key] = &[
    Key::text("file_id"),
    Key::text("original_name"),
    Key::number("size"),
    Key::text("peer_id"),
    Key::text("uploaded_at"),
    Key::text("description").or_absent(),
    Key::text("hash").or_null(),
    Key::text("content_type").or_null(),
    Key::flag("withdrawn").or_absent(),
    Key::number("told_at").or_null(),
    Key::text("told_signature").or_null(),
    Key::object("holdings").or_null(),
    Key::text("public_key").or_null(),
    Key::text("signature").or_null(),
];

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
        json::read(&body, KEYS, Others::Allowed).map_err(ApiError::Announcement)?;
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

/// The answer to many announcements.
#[derive(Serialize, ToSchema)]
pub(super) struct AllAcknowledged {
    status: &'static str,
    message: &'static str,
    /// How many changed what this node knows.
    kept: usize,
    /// Whether all were ignored, since their peer is not known here, or does not answer where it
    /// says it is.
    ignored: bool,
}

/// Takes many announcements of one peer.
pub(super) async fn announce_all(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<AllAcknowledged>, ApiError> {
    let body = RequestBody::of_type(request, batch::TYPE, batch::MAX_BYTES as u64)?;
    let heard = node.network().hear_all(&body.read_all().await?);
    let heard = heard.map_err(|error| ApiError::Announcement(error.to_string()))?;
    Ok(Json(AllAcknowledged {
        status: "success",
        message: "Announcements received",
        kept: heard.unwrap_or(0),
        ignored: heard.is_none(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::announcement::tests::own;
    use crate::web::json::assert_all;

    #[test]
    fn an_announcement_has_the_keys_that_people_are_told_of() {
        assert_all(KEYS, &own(true));
    }
}
