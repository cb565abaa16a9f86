//! `POST`: an upload begins, perhaps with its first bytes.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::headers::{self, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA};
use super::{append, metadata};
use crate::client_key::ClientKey;
use crate::http::wish::wish;
use crate::node::Node;
use crate::resumable::{Concat, NewUpload, UploadError, UploadId, UploadProgress};
use crate::web::error::{ApiError, TusError};
use crate::web::transfers::{RECEIVING, TransferShare};

/// Creates an upload, as a request to this path asks, and takes what the body holds of it.
pub(super) async fn create(
    node: &Arc<Node>,
    (client, share): (Option<ClientKey>, &TransferShare),
    path: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let upload = new_upload(node, headers)?;
    // A client that sends nothing may send it with any type.
    let has_bytes = !body.is_end_stream();
    let (id, progress) = if let Some(Concat::Final(_)) = upload.concat {
        if has_bytes {
            return Err(UploadError::Final.into());
        }
        let _transfer = share.take(RECEIVING)?;
        node.uploads().join(upload, client).await?
    } else {
        if has_bytes {
            append::check_type(headers)?;
        }
        begin(node, upload, (client, share), headers, body).await?
    };
    let mut response = StatusCode::CREATED.into_response();
    let location = HeaderValue::try_from(location(path, id))?;
    response.headers_mut().insert(header::LOCATION, location);
    headers::put_progress(response.headers_mut(), &progress)?;
    Ok(response)
}

/// Where an upload is that was begun by a request to this path: relative to it (RFC 9110, section
/// 10.2.2), since a gateway in front may have taken away what stood before.
fn location(path: &str, id: UploadId) -> String {
    match path.rsplit('/').next() {
        Some(last) if !last.is_empty() => format!("{last}/{id}"),
        _ => id.to_string(),
    }
}

async fn begin(
    node: &Arc<Node>,
    upload: NewUpload,
    (client, share): (Option<ClientKey>, &TransferShare),
    headers: &HeaderMap,
    body: Body,
) -> Result<(UploadId, UploadProgress), ApiError> {
    let id = node.uploads().create(upload, client).await?;
    // Which makes a file of an empty upload.
    let visit = node.uploads().visit(id).await?;
    match append::receive(visit, (0, share), headers, body).await {
        Ok(progress) => Ok((id, progress)),
        Err(error) => {
            // The client has yet to learn where it is, so it would wait for nobody.
            if let Ok(visit) = node.uploads().visit(id).await {
                visit.remove().await;
            }
            Err(error)
        }
    }
}

fn new_upload(node: &Node, headers: &HeaderMap) -> Result<NewUpload, ApiError> {
    let concat = concat_of(headers)?;
    let is_final = matches!(concat, Some(Concat::Final(_)));
    let deferred = headers.get(UPLOAD_DEFER_LENGTH);
    let length = match (headers::number(headers, &UPLOAD_LENGTH)?, deferred) {
        // It is as long as its parts.
        (length, _) if is_final => length,
        (None, None) => return Err(TusError::Header(UPLOAD_LENGTH).into()),
        (None, Some(value)) if value == "1" => None,
        (_, Some(_)) => return Err(TusError::Header(UPLOAD_DEFER_LENGTH).into()),
        (length, None) => length,
    };
    let value = headers.get(UPLOAD_METADATA).filter(|it| !it.is_empty());
    let text = value.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let told = value.map(metadata::read).transpose()?.unwrap_or_default();
    let wished = wish(node, told.copies.as_deref())?;
    Ok(NewUpload {
        length,
        about: told.about,
        // A part is no file.
        copies: wished
            .map(|it| it.1)
            .filter(|_| concat != Some(Concat::Partial)),
        metadata: text,
        concat,
    })
}

/// What `Upload-Concat` says, if it says anything.
fn concat_of(headers: &HeaderMap) -> Result<Option<Concat>, TusError> {
    const WRONG: TusError = TusError::Header(UPLOAD_CONCAT);
    let value = headers.get(UPLOAD_CONCAT).filter(|it| !it.is_empty());
    let text = value.map(|it| it.to_str().map_err(|_| WRONG)).transpose()?;
    text.map(|it| it.parse().map_err(|_| WRONG)).transpose()
}
