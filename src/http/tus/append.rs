//! `PATCH`: bytes for an upload.

use std::future::pending;
use std::pin::pin;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::sleep_until;

use super::checksum::Checksum;
use super::headers::{self, UPLOAD_LENGTH, UPLOAD_OFFSET};
use crate::http::upload::announced_bytes;
use crate::resumable::{Appending, Stopped, UploadError, UploadProgress, Visit};
use crate::web::body::RequestBody;
use crate::web::error::{ApiError, TusError};
use crate::web::transfers::{RECEIVING, TransferShare};

/// The type of a body that is a part of an upload.
pub(super) const CONTENT_TYPE: &str = "application/offset+octet-stream";

/// Puts the body of a request behind what is here.
pub(super) async fn append(
    visit: Visit,
    headers: &HeaderMap,
    share: &TransferShare,
    body: Body,
) -> Result<Response, ApiError> {
    check_type(headers)?;
    let offset = headers::number(headers, &UPLOAD_OFFSET)?;
    let offset = offset.ok_or(TusError::Header(UPLOAD_OFFSET))?;
    visit.check_takes_bytes()?;
    let progress = receive(visit, (offset, share), headers, body).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    headers::put_progress(response.headers_mut(), &progress)?;
    Ok(response)
}

pub(super) fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    (content_type == Some(CONTENT_TYPE.as_bytes()))
        .then_some(())
        .ok_or(ApiError::WrongContentType(CONTENT_TYPE))
}

/// Receives a body that begins at `offset`, within the share of whoever sends it, and tells how
/// far the upload is then.
pub(super) async fn receive(
    mut visit: Visit,
    (offset, share): (u64, &TransferShare),
    headers: &HeaderMap,
    body: Body,
) -> Result<UploadProgress, ApiError> {
    let progress = visit.progress().await?;
    if progress.offset != offset {
        return Err(UploadError::Offset(progress.offset).into());
    }
    let told = headers::number(headers, &UPLOAD_LENGTH)?;
    if let Some(length) = told {
        visit.set_length(length).await?;
    }
    let room = told.or(progress.length).map(|length| length - offset);
    if let Some(room) = room.filter(|room| announced_bytes(headers) > *room) {
        return Err(ApiError::BodyTooLong(room));
    }
    if room == Some(0) {
        return Ok(visit.progress().await?);
    }
    let checksum = Checksum::of(headers)?;
    let _transfer = share.take(RECEIVING)?;
    let appending = visit.append(offset, checksum.is_some()).await?;
    let body = RequestBody::new(body, room.unwrap_or(u64::MAX));
    take(appending, body, checksum).await
}

async fn take(
    mut appending: Appending,
    mut body: RequestBody,
    mut checksum: Option<Checksum>,
) -> Result<UploadProgress, ApiError> {
    let came = take_all(&mut appending, &mut body, checksum.as_mut()).await;
    if let Err(error @ ApiError::Upload(_)) = came {
        // It cannot be written. What was written before is found by the next request.
        appending.leave().await;
        return Err(error);
    }
    let Some(checksum) = checksum else {
        let kept = appending.keep().await;
        came?;
        return Ok(kept?);
    };
    // Of a body that was cut off nobody knows whether it was right.
    if came.is_err() || !checksum.holds() {
        appending.discard().await?;
        return came.and(Err(TusError::ChecksumMismatch.into()));
    }
    Ok(appending.keep().await?)
}

async fn take_all(
    appending: &mut Appending,
    body: &mut RequestBody,
    mut checksum: Option<&mut Checksum>,
) -> Result<(), ApiError> {
    while let Some(piece) = next(appending, body).await? {
        if let Some(checksum) = &mut checksum {
            checksum.update(&piece);
        }
        appending.write(piece).await?;
    }
    Ok(())
}

/// The next piece of the body; None at its end. While none comes, it is noted what has.
async fn next(
    appending: &mut Appending,
    body: &mut RequestBody,
) -> Result<Option<Bytes>, ApiError> {
    let mut piece = pin!(body.next());
    loop {
        let mark = appending.next_mark();
        tokio::select! {
            piece = &mut piece => return piece.map_err(|error| match error {
                ApiError::BodyTooSlow => TusError::Stalled.into(),
                other => other,
            }),
            stopped = appending.stopped() => return Err(match stopped {
                Stopped::TakenOver => TusError::TakenOver.into(),
                Stopped::NodeStops => ApiError::ShuttingDown,
            }),
            () = until(mark) => {}
        }
        appending.mark().await?;
    }
}

/// Returns at this time, or never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}
