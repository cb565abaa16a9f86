//! The codes of refusals: stable names that programs may rely on.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Which refusal it is. A code that was given once keeps its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    AmbiguousFile,
    BadAnnouncement,
    BadHeader,
    BadKeep,
    BadMetadata,
    BadQuery,
    BadRegistration,
    BadRequest,
    BodyCut,
    BrokenMultipart,
    ChecksumMismatch,
    ContentEncoded,
    Damaged,
    DescriptionTooLong,
    DiskFull,
    FileNameTooLong,
    FileRemoved,
    FileSizeLimit,
    HeadTooLarge,
    HostNotAllowed,
    HttpsOnly,
    Internal,
    MethodNotAllowed,
    NoFile,
    NoFileName,
    NoLength,
    NoToken,
    OriginNotAllowed,
    OverQuota,
    PartialPut,
    PeerFailed,
    PeerTimeout,
    PreconditionFailed,
    RangeNotSatisfiable,
    ReadOnly,
    ReadOnlyToken,
    SecondFile,
    Shortage,
    ShuttingDown,
    TooLarge,
    TooLong,
    TooManyConnections,
    TooManyFiles,
    TooManyKeeps,
    TooManyRequests,
    TooManyUploads,
    TooSlow,
    TransferCoded,
    TusVersion,
    Unavailable,
    UnknownBlob,
    UnknownChecksum,
    UnknownFile,
    UnknownKeep,
    UnknownPath,
    UnknownPeer,
    UnknownUpload,
    UploadDamaged,
    UploadFinal,
    UploadJoined,
    UploadStalled,
    UploadTakenOver,
    UploadUnfinished,
    WriteFailed,
    WritingClosed,
    WrongContentType,
    WrongOffset,
    WrongToken,
}

impl Code {
    /// The status of an answer with this code.
    pub(crate) fn status(self) -> StatusCode {
        use StatusCode as S;
        match self {
            Self::NoToken | Self::WrongToken => S::UNAUTHORIZED,
            Self::OriginNotAllowed
            | Self::ReadOnlyToken
            | Self::UploadFinal
            | Self::WritingClosed => S::FORBIDDEN,
            Self::UnknownBlob
            | Self::UnknownFile
            | Self::UnknownKeep
            | Self::UnknownPath
            | Self::UnknownPeer
            | Self::UnknownUpload => S::NOT_FOUND,
            Self::MethodNotAllowed => S::METHOD_NOT_ALLOWED,
            Self::TooSlow => S::REQUEST_TIMEOUT,
            Self::NoLength => S::LENGTH_REQUIRED,
            // Clients of tus ask after a conflict where the upload stands, and go on there.
            Self::AmbiguousFile | Self::UploadTakenOver | Self::WrongOffset => S::CONFLICT,
            // They begin anew.
            Self::FileRemoved | Self::UploadDamaged | Self::UploadJoined => S::GONE,
            Self::PreconditionFailed | Self::TusVersion => S::PRECONDITION_FAILED,
            Self::TooLarge => S::PAYLOAD_TOO_LARGE,
            Self::ContentEncoded | Self::WrongContentType => S::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => S::RANGE_NOT_SATISFIABLE,
            Self::HostNotAllowed => S::MISDIRECTED_REQUEST,
            Self::HeadTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TooManyKeeps | Self::TooManyRequests | Self::TooManyUploads => {
                S::TOO_MANY_REQUESTS
            }
            // 460, which tus has made up.
            Self::ChecksumMismatch => S::from_u16(460).unwrap_or(S::BAD_REQUEST),
            Self::Damaged | Self::Internal => S::INTERNAL_SERVER_ERROR,
            Self::TransferCoded => S::NOT_IMPLEMENTED,
            Self::PeerFailed => S::BAD_GATEWAY,
            // Clients of tus go on after this, and not after a 408.
            Self::ReadOnly
            | Self::Shortage
            | Self::ShuttingDown
            | Self::TooManyConnections
            | Self::Unavailable
            | Self::UploadStalled
            | Self::WriteFailed => S::SERVICE_UNAVAILABLE,
            Self::PeerTimeout => S::GATEWAY_TIMEOUT,
            Self::DiskFull | Self::FileSizeLimit | Self::OverQuota => S::INSUFFICIENT_STORAGE,
            Self::BadAnnouncement
            | Self::BadHeader
            | Self::BadKeep
            | Self::BadMetadata
            | Self::BadQuery
            | Self::BadRegistration
            | Self::BadRequest
            | Self::BodyCut
            | Self::BrokenMultipart
            | Self::DescriptionTooLong
            | Self::FileNameTooLong
            | Self::HttpsOnly
            | Self::NoFile
            | Self::NoFileName
            | Self::PartialPut
            | Self::SecondFile
            | Self::TooLong
            | Self::TooManyFiles
            | Self::UnknownChecksum
            | Self::UploadUnfinished => S::BAD_REQUEST,
        }
    }

    /// After how many seconds it is worth to ask again, where that alone may help, unless
    /// what is unavailable tells that itself.
    pub(crate) const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Shortage | Self::TooManyConnections | Self::UploadStalled => Some(1),
            Self::WriteFailed | Self::Unavailable | Self::TooManyKeeps | Self::TooManyUploads => {
                Some(5)
            }
            // Somebody has to make room first.
            Self::DiskFull | Self::FileSizeLimit | Self::OverQuota => Some(30),
            _ => None,
        }
    }
}
