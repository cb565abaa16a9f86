//! The codes of refusals: stable names that programs may rely on.

use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Makes the codes, each with the status of its answers.
macro_rules! codes {
    ($($code:ident => $status:expr,)*) => {
        /// Which refusal it is. A code that was given once keeps its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub(crate) enum Code {
            $($code,)*
        }

        impl Code {
            /// The status of an answer with this code.
            pub(crate) fn status(self) -> StatusCode {
                match self {
                    $(Self::$code => $status,)*
                }
            }
        }
    };
}

codes! {
    AmbiguousFile => StatusCode::CONFLICT,
    BadAnnouncement => StatusCode::BAD_REQUEST,
    BadCopies => StatusCode::BAD_REQUEST,
    BadExchange => StatusCode::BAD_REQUEST,
    BadHeader => StatusCode::BAD_REQUEST,
    BadKeep => StatusCode::BAD_REQUEST,
    BadMetadata => StatusCode::BAD_REQUEST,
    BadQuery => StatusCode::BAD_REQUEST,
    BadRegistration => StatusCode::BAD_REQUEST,
    BadRequest => StatusCode::BAD_REQUEST,
    BodyCut => StatusCode::BAD_REQUEST,
    BrokenMultipart => StatusCode::BAD_REQUEST,
    // 460, which tus has made up.
    ChecksumMismatch => StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST),
    ContentEncoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    Damaged => StatusCode::INTERNAL_SERVER_ERROR,
    DescriptionTooLong => StatusCode::BAD_REQUEST,
    DiskFull => StatusCode::INSUFFICIENT_STORAGE,
    FileNameTooLong => StatusCode::BAD_REQUEST,
    // Clients of tus begin anew after a 410.
    FileRemoved => StatusCode::GONE,
    FileSizeLimit => StatusCode::INSUFFICIENT_STORAGE,
    HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
    HttpsOnly => StatusCode::BAD_REQUEST,
    Internal => StatusCode::INTERNAL_SERVER_ERROR,
    MembersOnly => StatusCode::FORBIDDEN,
    MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
    NoCopies => StatusCode::CONFLICT,
    NoFile => StatusCode::BAD_REQUEST,
    NoFileName => StatusCode::BAD_REQUEST,
    NoLength => StatusCode::LENGTH_REQUIRED,
    NoScrub => StatusCode::NOT_IMPLEMENTED,
    NoToken => StatusCode::UNAUTHORIZED,
    OriginNotAllowed => StatusCode::FORBIDDEN,
    OverQuota => StatusCode::INSUFFICIENT_STORAGE,
    PartialPut => StatusCode::BAD_REQUEST,
    PeerFailed => StatusCode::BAD_GATEWAY,
    PeerTimeout => StatusCode::GATEWAY_TIMEOUT,
    PreconditionFailed => StatusCode::PRECONDITION_FAILED,
    RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
    ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
    ReadOnlyToken => StatusCode::FORBIDDEN,
    SecondFile => StatusCode::BAD_REQUEST,
    Shortage => StatusCode::SERVICE_UNAVAILABLE,
    ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
    TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    TooLong => StatusCode::BAD_REQUEST,
    TooManyConnections => StatusCode::SERVICE_UNAVAILABLE,
    TooManyFiles => StatusCode::BAD_REQUEST,
    TooManyKeeps => StatusCode::TOO_MANY_REQUESTS,
    TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
    TooManyUploads => StatusCode::TOO_MANY_REQUESTS,
    TooSlow => StatusCode::REQUEST_TIMEOUT,
    TransferCoded => StatusCode::NOT_IMPLEMENTED,
    TusVersion => StatusCode::PRECONDITION_FAILED,
    Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    UnknownBlob => StatusCode::NOT_FOUND,
    UnknownChecksum => StatusCode::BAD_REQUEST,
    UnknownFile => StatusCode::NOT_FOUND,
    UnknownKeep => StatusCode::NOT_FOUND,
    UnknownPath => StatusCode::NOT_FOUND,
    UnknownPeer => StatusCode::NOT_FOUND,
    UnknownUpload => StatusCode::NOT_FOUND,
    UploadDamaged => StatusCode::GONE,
    UploadFinal => StatusCode::FORBIDDEN,
    UploadJoined => StatusCode::GONE,
    // Clients of tus go on after a 503, and not after a 408.
    UploadStalled => StatusCode::SERVICE_UNAVAILABLE,
    // Clients of tus ask after a conflict where the upload stands, and go on there.
    UploadTakenOver => StatusCode::CONFLICT,
    Unreadable => StatusCode::SERVICE_UNAVAILABLE,
    UploadUnfinished => StatusCode::BAD_REQUEST,
    WriteFailed => StatusCode::SERVICE_UNAVAILABLE,
    WritingClosed => StatusCode::FORBIDDEN,
    WrongContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
    WrongOffset => StatusCode::CONFLICT,
    WrongToken => StatusCode::UNAUTHORIZED,
}

impl Code {
    /// After how many seconds it is worth to ask again, where that alone may help, unless
    /// what is unavailable tells that itself.
    pub(crate) const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Shortage | Self::TooManyConnections | Self::UploadStalled => Some(1),
            Self::WriteFailed
            | Self::Unavailable
            | Self::Unreadable
            | Self::TooManyKeeps
            | Self::TooManyUploads => Some(5),
            // Somebody has to make room first.
            Self::DiskFull | Self::FileSizeLimit | Self::OverQuota => Some(30),
            _ => None,
        }
    }
}
