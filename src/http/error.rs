//! Refusals: the only place that turns errors into status, code and message.
//!
//! Every answer that is not a success is
//! `{"status": "error", "code": …, "message": …}`. The code is stable, the message
//! is for people. What the system said about a failure goes to the log, through
//! [`Cause`], never to the client.

use std::borrow::Cow;
use std::error::Error;

use axum::Json;
use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::multipart::MultipartError;
use crate::blob::BlobError;
use crate::fetch::FetchError;
use crate::fetch::keep::NotKept;
use crate::hash::BlobHash;
use crate::index::IndexError;
use crate::node::rate_limit::TooOften;
use crate::record::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};
use crate::resumable::UploadError;
use crate::store::StoreError;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("no file has this id or name")]
    UnknownFile,
    #[error("no content has this hash")]
    UnknownBlob,
    #[error("no peer has this id")]
    UnknownPeer,
    #[error("the form has no part 'file' with a file in it")]
    NoFile,
    #[error("the file has no name")]
    NoFileName,
    #[error("a file name has at most {MAX_NAME_BYTES} bytes")]
    FileNameTooLong,
    #[error("a form uploads one file")]
    SecondFile,
    #[error("a description has at most {MAX_DESCRIPTION_BYTES} bytes")]
    DescriptionTooLong,
    #[error("the body must be {0}")]
    WrongContentType(&'static str),
    #[error("the form cannot be read: {0}")]
    Multipart(MultipartError),
    #[error("the body is longer than {0} bytes")]
    BodyTooLong(u64),
    #[error("the body came too slowly")]
    BodyTooSlow,
    #[error("the body was cut off")]
    BodyCut(#[source] axum::Error),
    #[error("the query is not valid: {0}")]
    Query(String),
    #[error("the announcement is not valid: {0}")]
    Announcement(String),
    #[error("the registration is not valid: {0}")]
    Registration(String),
    #[error("what to keep is not valid: {0}")]
    Keep(String),
    #[error("nothing with this id is kept or waited for")]
    UnknownKeep,
    #[error("peers tell of different files with this id; name the peer or the hash")]
    AmbiguousFile,
    #[error("no part of the requested ranges exists; the file has {0} bytes")]
    Range(u64),
    #[error("the file is not the one that If-Match names")]
    Precondition,
    #[error("pages of this origin may not use this node")]
    Origin,
    #[error("this node does not answer for this host")]
    Host,
    #[error(
        "this node takes no changes: other machines reach it, and it was started with \
         none of --tokens, --token, --token-file and --open"
    )]
    WritingClosed,
    #[error("send 'Authorization: Bearer' and a token of this node")]
    NoToken,
    #[error("the token is none of this node's")]
    WrongToken,
    #[error("whoever bears this token may only read")]
    ReadOnlyToken,
    #[error("too many requests came from this address")]
    TooOften(TooOften),
    #[error("as many listen for events already as may at once")]
    TooManyStreams,
    #[error("the node is shutting down")]
    ShuttingDown,
    #[error("the node is not ready")]
    NotReady(#[source] StoreError),
    #[error("an answer could not be written")]
    Header(#[from] InvalidHeaderValue),
    #[error("the content {0} of a file is missing")]
    ContentMissing(BlobHash),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    NotKept(#[from] NotKept),
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error(transparent)]
    Tus(#[from] TusError),
}

/// Why a request of a resumable upload is refused, beside what the upload itself says.
#[derive(Debug, thiserror::Error)]
pub(super) enum TusError {
    #[error("this node speaks tus 1.0.0, and requests must say so in Tus-Resumable")]
    Version,
    #[error("this node does not have the tus extension {0}")]
    Extension(&'static str),
    #[error("the header {0} is missing or not valid")]
    Header(HeaderName),
    #[error("Upload-Metadata is not valid: {0}")]
    Metadata(&'static str),
    #[error("this node does not know the algorithm of Upload-Checksum")]
    ChecksumAlgorithm,
    #[error("the body is not what Upload-Checksum promises; nothing of it is kept")]
    ChecksumMismatch,
    #[error("another request goes on with this upload")]
    TakenOver,
}

/// Everything a client may know of a refusal.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: Cow<'static, str>,
}

/// What the log is told about a refusal; a response extension.
#[derive(Debug, Clone)]
pub(super) struct Cause(pub String);

impl ApiError {
    fn refusal(&self) -> Refusal {
        use StatusCode as S;
        let (status, code) = match self {
            Self::UnknownPath => (S::NOT_FOUND, "unknown_path"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::UnknownFile => (S::NOT_FOUND, "unknown_file"),
            Self::UnknownBlob => (S::NOT_FOUND, "unknown_blob"),
            Self::UnknownPeer => (S::NOT_FOUND, "unknown_peer"),
            Self::NoFile => (S::BAD_REQUEST, "no_file"),
            Self::NoFileName => (S::BAD_REQUEST, "no_file_name"),
            Self::FileNameTooLong => (S::BAD_REQUEST, "file_name_too_long"),
            Self::SecondFile => (S::BAD_REQUEST, "second_file"),
            Self::DescriptionTooLong => (S::BAD_REQUEST, "description_too_long"),
            Self::WrongContentType(_) => (S::UNSUPPORTED_MEDIA_TYPE, "wrong_content_type"),
            Self::Multipart(_) => (S::BAD_REQUEST, "broken_multipart"),
            Self::BodyTooLong(_) => (S::PAYLOAD_TOO_LARGE, "too_large"),
            Self::BodyTooSlow => (S::REQUEST_TIMEOUT, "too_slow"),
            Self::BodyCut(_) => (S::BAD_REQUEST, "body_cut"),
            Self::Query(_) => (S::BAD_REQUEST, "bad_query"),
            Self::Announcement(_) => (S::BAD_REQUEST, "bad_announcement"),
            Self::Registration(_) => (S::BAD_REQUEST, "bad_registration"),
            Self::Keep(_) => (S::BAD_REQUEST, "bad_keep"),
            Self::UnknownKeep => (S::NOT_FOUND, "unknown_keep"),
            Self::AmbiguousFile => (S::CONFLICT, "ambiguous_file"),
            Self::NotKept(NotKept::TooMany) => (S::TOO_MANY_REQUESTS, "too_many_keeps"),
            Self::Range(_) => (S::RANGE_NOT_SATISFIABLE, "range_not_satisfiable"),
            Self::Precondition => (S::PRECONDITION_FAILED, "precondition_failed"),
            Self::Origin => (S::FORBIDDEN, "origin_not_allowed"),
            Self::Host => (S::MISDIRECTED_REQUEST, "host_not_allowed"),
            Self::WritingClosed => (S::FORBIDDEN, "writing_closed"),
            Self::NoToken => (S::UNAUTHORIZED, "no_token"),
            Self::WrongToken => (S::UNAUTHORIZED, "wrong_token"),
            Self::ReadOnlyToken => (S::FORBIDDEN, "read_only_token"),
            Self::TooOften(_) => (S::TOO_MANY_REQUESTS, "too_many_requests"),
            Self::TooManyStreams => (S::TOO_MANY_REQUESTS, "too_many_streams"),
            Self::ShuttingDown => return Refusal::SHUTTING_DOWN,
            Self::NotReady(error) => {
                return Refusal {
                    status: S::SERVICE_UNAVAILABLE,
                    ..of_store(error)
                };
            }
            Self::Header(_) | Self::NotKept(NotKept::Io(_)) => return Refusal::INTERNAL,
            Self::ContentMissing(_) => return Refusal::DAMAGED,
            Self::Store(error) | Self::Upload(UploadError::Store(error)) => {
                return of_store(error);
            }
            Self::Upload(UploadError::Unknown) => (S::NOT_FOUND, "unknown_upload"),
            Self::Upload(UploadError::Offset(_)) => (S::CONFLICT, "wrong_offset"),
            Self::Upload(UploadError::TooMany(_)) => (S::TOO_MANY_REQUESTS, "too_many_uploads"),
            Self::Tus(error) => of_tus(error),
            Self::Fetch(error) if error.is_timeout() => (S::GATEWAY_TIMEOUT, "peer_timeout"),
            Self::Fetch(_) => (S::BAD_GATEWAY, "peer_failed"),
        };
        Refusal {
            status,
            code,
            message: self.to_string().into(),
        }
    }
}

impl ApiError {
    /// A header that tells the client what to do.
    fn header(&self) -> Option<(HeaderName, Cow<'static, str>)> {
        let (name, value): (_, Cow<str>) = match self {
            Self::Range(size) => (header::CONTENT_RANGE, format!("bytes */{size}").into()),
            Self::BodyTooSlow | Self::ShuttingDown => (header::CONNECTION, "close".into()),
            // RFC 6585, section 4.
            Self::TooOften(TooOften(wait)) => {
                (header::RETRY_AFTER, (wait.as_secs() + 1).to_string().into())
            }
            // RFC 6750, section 3.
            Self::NoToken => (header::WWW_AUTHENTICATE, r#"Bearer realm="larder""#.into()),
            Self::WrongToken => (
                header::WWW_AUTHENTICATE,
                r#"Bearer realm="larder", error="invalid_token""#.into(),
            ),
            _ => return None,
        };
        Some((name, value))
    }
}

impl Cause {
    /// The error with all its sources.
    pub(super) fn of(error: &dyn Error) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        Self(text)
    }
}

impl Refusal {
    const SHUTTING_DOWN: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "shutting_down",
        "the node is shutting down",
    );
    const FULL: Self = Self::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "disk_full",
        "the node has no room left",
    );
    const OVER_QUOTA: Self = Self::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "over_quota",
        "the node keeps as much content as it may",
    );
    const TOO_LONG: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "too_long",
        "name, type and description are too long together",
    );
    const READ_ONLY: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "read_only",
        "the node takes no changes after a failed write, until it is restarted",
    );
    const DAMAGED: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "damaged",
        "what the node stored is damaged",
    );
    const INTERNAL: Self = Self::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "the node failed; its log says why",
    );

    const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
        }
    }
}

fn of_tus(error: &TusError) -> (StatusCode, &'static str) {
    let bad = |code| (StatusCode::BAD_REQUEST, code);
    match error {
        TusError::Version => (StatusCode::PRECONDITION_FAILED, "tus_version"),
        TusError::Extension(_) => bad("tus_extension"),
        TusError::Header(_) => bad("bad_header"),
        TusError::Metadata(_) => bad("bad_metadata"),
        TusError::ChecksumAlgorithm => bad("unknown_checksum"),
        // As tusd answers: a client that is still there shall not fight for its turn.
        TusError::TakenOver => bad("upload_taken_over"),
        // 460, which the protocol has made up.
        TusError::ChecksumMismatch => {
            let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
            (status, "checksum_mismatch")
        }
    }
}

fn of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::Blob(error) => of_blob(error),
        StoreError::Index(error) => of_index(error),
        StoreError::OverQuota(_) => Refusal::OVER_QUOTA,
        StoreError::ShuttingDown => Refusal::SHUTTING_DOWN,
    }
}

fn of_blob(error: &BlobError) -> Refusal {
    match error {
        BlobError::Full { .. } => Refusal::FULL,
        BlobError::Io { .. } => Refusal::INTERNAL,
        BlobError::Damaged { .. } => Refusal::DAMAGED,
        BlobError::Refused(_) => Refusal::READ_ONLY,
        BlobError::TooLarge(max) => Refusal {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            code: "too_large",
            message: format!("a file has at most {max} bytes").into(),
        },
    }
}

fn of_index(error: &IndexError) -> Refusal {
    match error {
        IndexError::Full { .. } => Refusal::FULL,
        IndexError::Io { .. } | IndexError::Lookup(_) => Refusal::INTERNAL,
        IndexError::Damaged { .. } => Refusal::DAMAGED,
        IndexError::Refused(_) => Refusal::READ_ONLY,
        IndexError::TooLong => Refusal::TOO_LONG,
        IndexError::Closed => Refusal::SHUTTING_DOWN,
    }
}

// By hand, since the message holds what a `#[from]` would name again as the source.
impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        Self::Multipart(error)
    }
}

impl From<BlobError> for ApiError {
    fn from(error: BlobError) -> Self {
        Self::Store(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let Refusal {
            status,
            code,
            message,
        } = self.refusal();
        let body = json!({ "status": "error", "code": code, "message": message });
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some((name, value)) = self.header()
            && let Ok(value) = HeaderValue::try_from(&*value)
        {
            headers.insert(name, value);
        }
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}
