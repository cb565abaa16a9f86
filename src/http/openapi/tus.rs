//! The routes of resumable uploads.

use utoipa::openapi::path::HttpMethod;

use super::operation::{Described, Needs, bytes, number, text, uuid, with_headers};
use crate::http::tus::PATH;
use crate::web::code::Code;

/// One upload.
const ONE: &str = "/api/p2p/tus/{id}";
/// The headers that tell how far an upload is.
const PROGRESS: [(&str, &str); 4] = [
    ("Upload-Offset", "How many bytes are here."),
    (
        "Upload-Expires",
        "When it is removed if nothing more comes.",
    ),
    (
        "Larder-File-Id",
        "The id of the file, once all of it is here.",
    ),
    (
        "Larder-File-Hash",
        "The hash of the file, once all of it is here.",
    ),
];

/// All of them.
pub(super) fn all() -> [Described; 7] {
    [
        create(),
        options(PATH, "tusOptions"),
        look(),
        append(),
        remove(),
        other_method(),
        options(ONE, "tusUploadOptions"),
    ]
}

fn tus(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Described {
    Described::new(method, path, "resumable uploads", id, summary)
        .header(
            "Tus-Resumable",
            true,
            "The version.",
            text().enum_values(Some(["1.0.0"])),
        )
        .refuses([Code::TusVersion])
}

/// What may be wrong with the bytes of an upload.
const OF_BYTES: [Code; 16] = [
    Code::BadHeader,
    Code::BodyCut,
    Code::ChecksumMismatch,
    Code::DiskFull,
    Code::FileRemoved,
    Code::OverQuota,
    Code::ReadOnly,
    Code::TooLarge,
    Code::TooLong,
    Code::TooSlow,
    Code::UnknownChecksum,
    Code::UnknownUpload,
    Code::UploadDamaged,
    Code::UploadTakenOver,
    Code::WriteFailed,
    Code::WrongContentType,
];

fn create() -> Described {
    let location = [("Location", "Where the upload is.")];
    let headers = location.into_iter().chain(PROGRESS);
    let metadata = "Base64 values of the keys `filename`, `filetype` and `description`.";
    tus(HttpMethod::Post, PATH, "createUpload", "Begins an upload")
        .text("tus 1.0.0, perhaps with the first bytes as `application/offset+octet-stream`.")
        .needs(Needs::Writing)
        .header(
            "Upload-Length",
            true,
            "How many bytes it has in the end.",
            number(),
        )
        .header("Upload-Metadata", false, metadata, text())
        .answers(201, with_headers("It has begun.", headers))
        .refuses(OF_BYTES)
        .refuses([
            Code::BadMetadata,
            Code::DescriptionTooLong,
            Code::FileNameTooLong,
            Code::TooManyUploads,
            Code::TusExtension,
        ])
}

fn look() -> Described {
    let length = [("Upload-Length", "How many bytes it has in the end.")];
    let headers = PROGRESS.into_iter().chain(length);
    tus(
        HttpMethod::Head,
        ONE,
        "uploadProgress",
        "Tells how far an upload is",
    )
    .needs(Needs::Reading)
    .segment("id", "The last segment of the upload's `Location`.", uuid())
    .answers(200, with_headers("How far it is.", headers))
    .refuses([Code::FileRemoved, Code::UnknownUpload, Code::UploadDamaged])
}

fn append() -> Described {
    tus(
        HttpMethod::Patch,
        ONE,
        "appendToUpload",
        "Goes on with an upload",
    )
    .needs(Needs::Writing)
    .segment("id", "The last segment of the upload's `Location`.", uuid())
    .header(
        "Upload-Offset",
        true,
        "How many bytes are here already.",
        number(),
    )
    .takes(
        "application/offset+octet-stream",
        utoipa::openapi::Schema::from(bytes().build()),
    )
    .answers(204, with_headers("The bytes are kept.", PROGRESS))
    .refuses(OF_BYTES)
    .refuses([Code::WrongOffset])
}

fn remove() -> Described {
    tus(
        HttpMethod::Delete,
        ONE,
        "removeUpload",
        "Gives up an upload",
    )
    .needs(Needs::Writing)
    .segment("id", "The last segment of the upload's `Location`.", uuid())
    .answers(204, with_headers("It is gone.", []))
    .refuses([Code::UnknownUpload])
}

fn other_method() -> Described {
    let summary = "Means another method, for clients that have only this one";
    tus(HttpMethod::Post, ONE, "uploadByOtherMethod", summary)
        .text("It takes and answers what that method does.")
        .needs(Needs::Writing)
        .segment("id", "The last segment of the upload's `Location`.", uuid())
        .header(
            "X-HTTP-Method-Override",
            true,
            "The method that is meant.",
            text().enum_values(Some(["DELETE", "HEAD", "PATCH"])),
        )
        .answers(200, with_headers("As to HEAD.", PROGRESS))
        .answers(204, with_headers("As to PATCH or DELETE.", PROGRESS))
        .refuses(OF_BYTES)
        .refuses([Code::WrongOffset, Code::MethodNotAllowed])
}

fn options(path: &'static str, id: &str) -> Described {
    let headers = [
        ("Tus-Version", "The versions of tus."),
        ("Tus-Extension", "Its extensions."),
        ("Tus-Checksum-Algorithm", "What checksums are taken."),
        ("Tus-Max-Size", "The longest upload, in bytes."),
    ];
    let summary = "Tells what uploads can do here";
    let described = Described::new(HttpMethod::Options, path, "resumable uploads", id, summary);
    let described = if path == ONE {
        described.segment("id", "Anything.", text())
    } else {
        described
    };
    described.answers(204, with_headers("It is in the headers.", headers))
}
