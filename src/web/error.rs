//! Refusals: the only place that turns errors into status, code and message.
//!
//! Every answer that is not a success is
//! `{"status": "error", "code": …, "message": …}`. The code is stable, the message
//! is for people. What the system said about a failure goes to the log, through
//! [`Cause`], never to the client.

use std::borrow::Cow;
use std::error::Error;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::http::header::InvalidHeaderValue;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::code::Code;
use super::error_body::ErrorBody;
use super::multipart::MultipartError;
use super::query;
use super::refusal::{Bytes, Refusal, of_change, of_readiness, of_store};
use crate::blob::BlobError;
use crate::causes::with_causes;
use crate::fetch::FetchError;
use crate::fetch::keep::NotKept;
use crate::record::{MAX_DESCRIPTION_BYTES, MAX_NAME_BYTES};
use crate::resumable::UploadError;
use crate::store::StoreError;
use crate::web::rate_limit::TooOften;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("this path does not take this method")]
    MethodNotAllowed,
    #[error("no file has this id or name")]
    UnknownFile,
    #[error("no file has this id")]
    UnknownId,
    #[error(
        "what stands for the file's id is none, and names mean nothing here; \
         GET /api/p2p/files?name=NAME tells the ids of files by their names"
    )]
    NoId,
    #[error("no file is in this folder")]
    UnknownFolder,
    #[error("it is still being found out what other nodes hold; try again in a moment")]
    NotYetKnown,
    #[error("no content has this hash")]
    UnknownBlob,
    #[error("no peer has this id")]
    UnknownPeer,
    #[error("the form has no part 'file' with a file in it; send one, as curl -F file=@NAME does")]
    NoFile,
    #[error(
        "the file has no name; give the form's part 'file' a filename, or send the bytes alone, by \
         PUT to /api/p2p/upload/NAME or by POST to /api/p2p/upload?name=NAME"
    )]
    NoFileName,
    #[error("a file name has at most {MAX_NAME_BYTES} bytes")]
    FileNameTooLong,
    #[error("a form uploads one file; send each in a form of its own")]
    SecondFile,
    #[error(
        "send a form (Content-Type: multipart/form-data), or the bytes alone, by PUT to \
         /api/p2p/upload/NAME or by POST to /api/p2p/upload?name=NAME"
    )]
    NoForm,
    #[error("a form is sent by POST to /api/p2p/upload; PUT takes the bytes of the file alone")]
    FormByPut,
    #[error("the node takes bodies without Content-Encoding; send it as it is")]
    ContentEncoding,
    #[error("send the length of the file as Content-Length, or it in chunks")]
    NoLength,
    #[error(
        "a part of a file cannot be put; send it whole, or go on with it by tus, at /api/p2p/tus"
    )]
    PartialPut,
    #[error("a description has at most {MAX_DESCRIPTION_BYTES} bytes")]
    DescriptionTooLong,
    #[error("the Content-Type must be {0}")]
    WrongContentType(&'static str),
    #[error("the form cannot be read: {0}")]
    Multipart(MultipartError),
    #[error("the body is longer than {}", Bytes(*.0))]
    BodyTooLong(u64),
    #[error(
        "the body came too slowly: 1 KiB has to come every 30 s; what comes so slowly, as from a \
         pipe, `larder put -` sends once it is whole, and tus (/api/p2p/tus) in parts"
    )]
    BodyTooSlow,
    #[error("the body was cut off")]
    BodyCut(#[source] axum::Error),
    #[error("the query is not valid: {0}")]
    Query(String),
    #[error("the announcement is not valid: {0}")]
    Announcement(String),
    #[error("the question is not valid: {0}")]
    Exchange(String),
    #[error("the registration is not valid: {0}")]
    Registration(String),
    #[error("the request for a copy is not valid: {0}")]
    Keep(String),
    #[error("no copy that was asked for has this id")]
    UnknownKeep,
    #[error("peers tell of different files with this id; name the peer or the hash: {0}")]
    AmbiguousFile(String),
    #[error(
        "an archive has at most {files} files, ten times as many folders, and {name_bytes} bytes of \
         names; take fewer at a time"
    )]
    TooManyFiles { files: usize, name_bytes: usize },
    #[error(
        "{0} has no place in an archive now: no node that is known here has it, or none tells a \
         hash that proves it"
    )]
    Unobtainable(String),
    #[error("no part of the requested ranges exists; the file has {0} bytes")]
    Range(u64),
    #[error("the file is not the one that If-Match or If-Unmodified-Since names")]
    Precondition,
    #[error("pages of this site may not use this node")]
    Origin,
    #[error(
        "this node does not answer for this host; start it with the address under which it is \
         reached as --base-url"
    )]
    Host,
    #[error(
        "this node takes changes from nobody: it was started without --open, and none of \
         --tokens, --token and --token-file gives anybody the right to write"
    )]
    WritingClosed,
    #[error("the node is not ready: nobody may write to it")]
    NobodyWrites,
    #[error("this node is a member of a network, and takes this from other members alone")]
    MembersOnly,
    #[error(
        "this node has no copies of its files held: it is no member of a network, or runs without \
         --copies and --offer"
    )]
    NoCopies,
    #[error("the number of copies is not valid: {0}")]
    Copies(String),
    #[error("this needs a token of this node, in a header 'Authorization: Bearer TOKEN'")]
    NoToken,
    #[error("this node does not know the token")]
    WrongToken,
    #[error("this token gives the right to read, and not to write")]
    ReadOnlyToken,
    #[error("this node keeps its contents on servers, which look after them")]
    NoScrub,
    #[error("too many requests came from this address")]
    TooOften(TooOften),
    #[error("this client, or all together, hold what open files or memory there are for that")]
    Shortage,
    #[error("the node is shutting down")]
    ShuttingDown,
    #[error("the node is not ready")]
    NotReady(#[source] StoreError),
    #[error("an answer could not be written")]
    Header(#[from] InvalidHeaderValue),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a change was not written")]
    Unwritten(#[source] StoreError),
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
pub(crate) enum TusError {
    #[error("this node speaks tus 1.0.0, and requests must say so in Tus-Resumable")]
    Version,
    #[error("the header {0} is missing or not valid")]
    Header(HeaderName),
    #[error("Upload-Metadata is not valid: {0}")]
    Metadata(&'static str),
    #[error("this node does not know the algorithm of Upload-Checksum")]
    ChecksumAlgorithm,
    #[error("the body is not what Upload-Checksum promises; nothing of it is kept")]
    ChecksumMismatch,
    #[error("another request has taken this upload over")]
    TakenOver,
    #[error("the body came too slowly; what has come is kept")]
    Stalled,
}

/// What the log is told about a refusal; a response extension.
#[derive(Debug, Clone)]
pub(crate) struct Cause(pub String);

impl ApiError {
    fn refusal(&self) -> Refusal {
        let code = match self {
            Self::UnknownPath => Code::UnknownPath,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::UnknownFile
            | Self::UnknownId
            | Self::NoId
            | Self::UnknownFolder
            | Self::Unobtainable(_) => Code::UnknownFile,
            Self::TooManyFiles { .. } => Code::TooManyFiles,
            Self::UnknownBlob => Code::UnknownBlob,
            Self::NotYetKnown => Code::Unavailable,
            Self::UnknownPeer => Code::UnknownPeer,
            Self::NoFile => Code::NoFile,
            Self::NoFileName => Code::NoFileName,
            Self::FileNameTooLong => Code::FileNameTooLong,
            Self::SecondFile => Code::SecondFile,
            Self::DescriptionTooLong => Code::DescriptionTooLong,
            Self::WrongContentType(_) | Self::NoForm | Self::FormByPut => Code::WrongContentType,
            Self::ContentEncoding => Code::ContentEncoded,
            Self::NoLength => Code::NoLength,
            Self::PartialPut => Code::PartialPut,
            Self::Multipart(_) => Code::BrokenMultipart,
            Self::BodyTooLong(_) => Code::TooLarge,
            Self::BodyTooSlow => Code::TooSlow,
            Self::BodyCut(_) => Code::BodyCut,
            Self::Query(_) => Code::BadQuery,
            Self::Announcement(_) | Self::Exchange(_) | Self::Registration(_) | Self::Keep(_) => {
                self.of_message()
            }
            Self::UnknownKeep => Code::UnknownKeep,
            Self::AmbiguousFile(_) => Code::AmbiguousFile,
            Self::NotKept(NotKept::TooMany | NotKept::TooManyOfOne) => Code::TooManyKeeps,
            Self::Range(_) => Code::RangeNotSatisfiable,
            Self::Precondition => Code::PreconditionFailed,
            Self::Origin => Code::OriginNotAllowed,
            Self::Host => Code::HostNotAllowed,
            Self::WritingClosed => Code::WritingClosed,
            // As an upload would be told.
            Self::NobodyWrites => return Self::WritingClosed.refusal(),
            Self::MembersOnly => Code::MembersOnly,
            Self::NoCopies => Code::NoCopies,
            Self::Copies(_) => Code::BadCopies,
            Self::NoToken => Code::NoToken,
            Self::WrongToken => Code::WrongToken,
            Self::ReadOnlyToken => Code::ReadOnlyToken,
            Self::NoScrub => Code::NoScrub,
            Self::TooOften(_) => Code::TooManyRequests,
            Self::Shortage => return Refusal::SHORTAGE,
            Self::ShuttingDown => return Refusal::SHUTTING_DOWN,
            Self::Header(_) => return Refusal::INTERNAL,
            Self::Store(error) => return of_store(error),
            Self::NotReady(error) => return of_readiness(error),
            Self::Unwritten(it) | Self::NotKept(NotKept::Store(it)) => return of_change(it),
            Self::Upload(error) => return of_upload(error),
            Self::Tus(error) => of_tus(error),
            Self::Fetch(error) => of_fetch(error),
        };
        Refusal::told(code, self.to_string())
    }
}

fn of_fetch(error: &FetchError) -> Code {
    if error.is_timeout() {
        Code::PeerTimeout
    } else {
        Code::PeerFailed
    }
}

/// The refusal for what an upload in parts has met.
fn of_upload(error: &UploadError) -> Refusal {
    let code = match error {
        UploadError::Store(error) => return of_change(error),
        UploadError::Unknown => Code::UnknownUpload,
        UploadError::Damaged => Code::UploadDamaged,
        UploadError::TakenOver => Code::UploadTakenOver,
        UploadError::FileRemoved => Code::FileRemoved,
        UploadError::Length | UploadError::NoPart => Code::BadHeader,
        UploadError::Final => Code::UploadFinal,
        UploadError::Joined => Code::UploadJoined,
        UploadError::Unfinished => Code::UploadUnfinished,
        UploadError::Offset(_) => Code::WrongOffset,
        UploadError::TooMany(_) | UploadError::TooManyOfOne(_) => Code::TooManyUploads,
    };
    Refusal::told(code, error.to_string())
}

impl ApiError {
    /// The code of a message that is none.
    fn of_message(&self) -> Code {
        match self {
            Self::Announcement(_) => Code::BadAnnouncement,
            Self::Exchange(_) => Code::BadExchange,
            Self::Registration(_) => Code::BadRegistration,
            _ => Code::BadKeep,
        }
    }

    /// The error of something that changes what is stored.
    pub(crate) fn unwritten(error: impl Into<StoreError>) -> Self {
        Self::Unwritten(error.into())
    }

    /// The same for people alone.
    pub(crate) fn message(&self) -> Cow<'static, str> {
        self.refusal().message
    }

    /// A header that tells the client what to do.
    fn header(&self) -> Option<(HeaderName, Cow<'static, str>)> {
        let (name, value): (_, Cow<str>) = match self {
            Self::Range(size) => (header::CONTENT_RANGE, format!("bytes */{size}").into()),
            Self::BodyTooSlow | Self::Tus(TusError::Stalled) | Self::ShuttingDown => {
                (header::CONNECTION, "close".into())
            }
            // RFC 9110, section 15.5.16.
            Self::ContentEncoding => (header::ACCEPT_ENCODING, "identity".into()),
            Self::NotYetKnown => (header::RETRY_AFTER, "1".into()),
            // RFC 6585, section 4.
            Self::TooOften(TooOften(wait)) => {
                (header::RETRY_AFTER, (wait.as_secs() + 1).to_string().into())
            }
            Self::Store(error)
            | Self::Unwritten(error)
            | Self::NotReady(error)
            | Self::NotKept(NotKept::Store(error))
            | Self::Upload(UploadError::Store(error)) => {
                let wait = error.unavailable()?.retry.as_secs_f64().ceil().max(1.0);
                (header::RETRY_AFTER, wait.to_string().into())
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
    pub(crate) fn of(error: &dyn Error) -> Self {
        Self(with_causes(error))
    }
}

fn of_tus(error: &TusError) -> Code {
    match error {
        TusError::Version => Code::TusVersion,
        TusError::Header(_) => Code::BadHeader,
        TusError::Metadata(_) => Code::BadMetadata,
        TusError::ChecksumAlgorithm => Code::UnknownChecksum,
        TusError::TakenOver => Code::UploadTakenOver,
        TusError::Stalled => Code::UploadStalled,
        TusError::ChecksumMismatch => Code::ChecksumMismatch,
    }
}

// By hand, since the message holds what a `#[from]` would name again as the source.
impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        Self::Multipart(error)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Query(query::wrong(&rejection))
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
            code,
            message,
            retry,
        } = self.refusal();
        // Whatever the reason, whoever asks for readiness only looks at this.
        let status = match self {
            Self::NotReady(_) | Self::NobodyWrites => StatusCode::SERVICE_UNAVAILABLE,
            _ => code.status(),
        };
        let body = ErrorBody::new(code, message);
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some((name, value)) = self.header()
            && let Ok(value) = HeaderValue::try_from(&*value)
        {
            headers.insert(name, value);
        }
        // RFC 9110, section 10.2.3.
        if let Some(seconds) = retry {
            headers
                .entry(header::RETRY_AFTER)
                .or_insert_with(|| seconds.into());
        }
        response.extensions_mut().insert(code);
        response.extensions_mut().insert(Cause::of(&self));
        response
    }
}
