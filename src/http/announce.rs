//! `POST /api/p2p/announce`: a peer tells of a file it holds.

use axum::Json;
use axum::extract::Request;
use axum::http::header;
use serde::{Deserialize, Serialize};

use super::body::RequestBody;
use super::error::ApiError;
use super::parameters::Parameters;
use crate::record::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};

/// The longest announcement, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// The longest id or time in it, in bytes.
const MAX_ID_BYTES: usize = 128;

/// What a peer tells. Further keys are allowed.
#[derive(Deserialize)]
struct Announcement {
    file_id: String,
    original_name: String,
    size: u64,
    peer_id: String,
    uploaded_at: String,
    #[serde(default)]
    description: String,
}

/// The answer to an announcement.
#[derive(Serialize)]
pub(super) struct Acknowledged {
    status: &'static str,
    message: &'static str,
}

/// Takes an announcement.
pub(super) async fn announce(request: Request) -> Result<Json<Acknowledged>, ApiError> {
    const WRONG: ApiError = ApiError::WrongContentType("application/json");
    let content_type = request.headers().get(header::CONTENT_TYPE).ok_or(WRONG)?;
    let content_type = Parameters::parse(content_type.as_bytes()).ok_or(WRONG)?;
    if content_type.value != "application/json" {
        return Err(WRONG);
    }
    let body = RequestBody::new(request.into_body(), MAX_BYTES);
    let announcement = read(&body.read_all().await?)?;
    tracing::debug!(
        file_id = announcement.file_id,
        peer_id = announcement.peer_id,
        size = announcement.size,
        "file announced"
    );
    Ok(Json(Acknowledged {
        status: "success",
        message: "Announcement received",
    }))
}

/// The announcement in a body, within the limits of what a node would keep.
fn read(body: &[u8]) -> Result<Announcement, ApiError> {
    let announcement: Announcement =
        serde_json::from_slice(body).map_err(|e| ApiError::Announcement(e.to_string()))?;
    for (key, text, bytes) in [
        ("file_id", &announcement.file_id, 1..=MAX_ID_BYTES),
        ("peer_id", &announcement.peer_id, 1..=MAX_ID_BYTES),
        ("uploaded_at", &announcement.uploaded_at, 1..=MAX_ID_BYTES),
        (
            "original_name",
            &announcement.original_name,
            1..=MAX_NAME_BYTES,
        ),
        (
            "description",
            &announcement.description,
            0..=MAX_DESCRIPTION_BYTES,
        ),
    ] {
        if !bytes.contains(&text.len()) {
            let (least, most) = bytes.into_inner();
            let refusal = format!("{key} must have {least} to {most} bytes");
            return Err(ApiError::Announcement(refusal));
        }
    }
    Ok(announcement)
}
