//! `POST /api/p2p/upload`: form -> content -> blob -> record.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::file_view::FileView;
use crate::blob::{BlobError, Received, Receiving};
use crate::node::Node;
use crate::record::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};
use crate::store::{About, Store};
use crate::web::body::RequestBody;
use crate::web::error::ApiError;
use crate::web::form::Form;
use crate::web::part_head::PartHead;

/// What a form may hold beside the file: boundaries, heads, other fields.
const MAX_FORM_BYTES: u64 = 1 << 20;

#[derive(Serialize, ToSchema)]
pub(super) struct Uploaded<'a> {
    status: &'static str,
    message: &'static str,
    file: FileView<'a>,
}

/// Keeps the file of the form. Whatever was received is gone when the handler
/// ends before the store has taken it in.
pub(super) async fn upload(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(reason) = node.store().refusal() {
        return Err(ApiError::unwritten(BlobError::Refused(reason)));
    }
    let (head, body) = request.into_parts();
    // What is sure not to fit is refused before the body is received.
    let at_least = announced_bytes(&head.headers).saturating_sub(MAX_FORM_BYTES);
    let checked = node.store().check_length(at_least);
    checked.map_err(ApiError::unwritten)?;
    let room = node.store().check_room_ahead(at_least).await;
    room.map_err(ApiError::unwritten)?;
    let max_file = node.store().limit().longest;
    let max_bytes = max_file.map_or(u64::MAX, |max| max.saturating_add(MAX_FORM_BYTES));
    let mut form = Form::new(&head.headers, RequestBody::new(body, max_bytes))?;
    let (content, about) = receive(node.store(), &mut form).await?;
    let record = node.store().ingest(content, about).await;
    let record = record.map_err(ApiError::unwritten)?;
    let uploaded = Uploaded {
        status: "success",
        message: "File uploaded successfully",
        file: FileView::new(&node, &record),
    };
    Ok(Json(uploaded).into_response())
}

/// The length that the client says the body has, or zero.
pub(super) fn announced_bytes(headers: &HeaderMap) -> u64 {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}

/// Receives the whole form: one file, and a description before or behind it.
async fn receive(store: &Store, form: &mut Form) -> Result<(Box<dyn Received>, About), ApiError> {
    let mut file = None;
    let mut description = None;
    while let Some(part) = form.next_part().await? {
        match part.name.as_str() {
            "file" if file.is_some() => return Err(ApiError::SecondFile),
            "file" => file = Some(receive_file(store, form, part).await?),
            "description" if description.is_none() => {
                let text = form.text(MAX_DESCRIPTION_BYTES).await?;
                description = Some(text.ok_or(ApiError::DescriptionTooLong)?);
            }
            _ => {}
        }
    }
    let (receiving, about) = file.ok_or(ApiError::NoFile)?;
    let about = About {
        description: description.unwrap_or_default(),
        ..about
    };
    let content = receiving.finish().await.map_err(ApiError::unwritten)?;
    Ok((content, about))
}

async fn receive_file(
    store: &Store,
    form: &mut Form,
    part: PartHead,
) -> Result<(Box<dyn Receiving>, About), ApiError> {
    let name = part.file_name.filter(|name| !name.is_empty());
    let name = name.ok_or(ApiError::NoFileName)?;
    if name.len() > MAX_NAME_BYTES {
        return Err(ApiError::FileNameTooLong);
    }
    let mut receiving = store.receive().await.map_err(ApiError::unwritten)?;
    while let Some(data) = form.next_data().await? {
        receiving.write(data).await.map_err(ApiError::unwritten)?;
    }
    let about = About {
        name,
        content_type: part.content_type,
        description: String::new(),
    };
    Ok((receiving, about))
}
