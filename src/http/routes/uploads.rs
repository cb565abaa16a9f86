//! The routes of resumable uploads.

use axum::handler::Handler;
use utoipa::openapi::path::HttpMethod;

use super::operation::{Operation, post};
use super::route::Route;
use super::schema::{bytes, number, text, uuid, with_headers};
use crate::access::Rights;
use crate::http::access::{READERS, WRITERS};
use crate::http::app::App;
use crate::http::tus::{self, PATH};
use crate::web::code::Code;

const TAG: &str = "resumable uploads";
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

pub(super) fn all() -> [Route; 2] {
    [
        Route::at(PATH, TAG)
            // As many clients are told to write it.
            .also_at("/api/p2p/tus/")
            .on(create())
            .on(options("tusOptions", tus::uploads))
            .otherwise(tus::wrong_method),
        Route::at("/api/p2p/tus/{id}", TAG)
            .on(look())
            .on(append())
            .on(remove())
            .on(other_method())
            .on(options("tusUploadOptions", tus::upload).segment("id", "Anything.", text()))
            .otherwise(tus::wrong_method),
    ]
}

/// What all requests but OPTIONS have in common.
fn speaking(operation: Operation) -> Operation {
    let version = text().enum_values(Some(["1.0.0"]));
    operation
        .header("Tus-Resumable", true, "The version.", version)
        .refuses([Code::TusVersion])
}

/// An operation on one upload.
fn on_one(method: HttpMethod, needs: Option<Rights>, id: &str, summary: &str) -> Operation {
    speaking(Operation::new(method, needs, id, summary, tus::upload)).segment(
        "id",
        "The last segment of the upload's `Location`.",
        uuid(),
    )
}

/// What may be wrong with the bytes of an upload.
const OF_BYTES: [Code; 18] = [
    Code::BadHeader,
    Code::BodyCut,
    Code::ChecksumMismatch,
    Code::DiskFull,
    Code::FileRemoved,
    Code::FileSizeLimit,
    Code::OverQuota,
    Code::ReadOnly,
    Code::TooLarge,
    Code::TooLong,
    Code::UnknownChecksum,
    Code::UnknownUpload,
    Code::UploadDamaged,
    Code::UploadFinal,
    Code::UploadStalled,
    Code::UploadTakenOver,
    Code::WriteFailed,
    Code::WrongContentType,
];

fn create() -> Operation {
    let location = [("Location", "Where the upload is.")];
    let headers = location.into_iter().chain(PROGRESS);
    let metadata = "Base64 values of the keys `filename`, `filetype` and `description`, and of \
                    `copies`: on how many members of the node's network the file is to be.";
    let concat = "`partial` for a part of a file, or `final;` and the URLs of its parts in their \
                  order, separated by spaces, which makes the file of them.";
    let operation = post(WRITERS, "createUpload", "Begins an upload", tus::uploads);
    speaking(operation)
        .text(
            "tus 1.0.0, perhaps with the first bytes as `application/offset+octet-stream`. Where the \
             length is not known yet, `Upload-Defer-Length: 1` stands in place of `Upload-Length`, \
             which a later PATCH tells. A final upload has neither.",
        )
        .header(
            "Upload-Length",
            true,
            "How many bytes it has in the end.",
            number(),
        )
        .header("Upload-Metadata", false, metadata, text())
        .header("Upload-Concat", false, concat, text())
        .answers(201, with_headers("It has begun.", headers))
        .refuses(OF_BYTES)
        .refuses([
            Code::BadCopies,
            Code::BadMetadata,
            Code::DescriptionTooLong,
            Code::FileNameTooLong,
            Code::NoCopies,
            Code::TooManyUploads,
            Code::UploadJoined,
            Code::UploadUnfinished,
        ])
}

fn look() -> Operation {
    let more = [
        ("Upload-Length", "How many bytes it has in the end."),
        (
            "Upload-Concat",
            "What it is to other uploads, where that was told.",
        ),
    ];
    let headers = PROGRESS.into_iter().chain(more);
    on_one(
        HttpMethod::Head,
        READERS,
        "uploadProgress",
        "Tells how far an upload is",
    )
    .answers(200, with_headers("How far it is.", headers))
    .refuses([Code::FileRemoved, Code::UnknownUpload, Code::UploadDamaged])
}

fn append() -> Operation {
    on_one(
        HttpMethod::Patch,
        WRITERS,
        "appendToUpload",
        "Goes on with an upload",
    )
    .header(
        "Upload-Offset",
        true,
        "How many bytes are here already.",
        number(),
    )
    .header(
        "Upload-Length",
        false,
        "How many bytes it has in the end, where that was not told before.",
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

fn remove() -> Operation {
    on_one(
        HttpMethod::Delete,
        WRITERS,
        "removeUpload",
        "Gives up an upload",
    )
    .answers(204, with_headers("It is gone.", []))
    .refuses([Code::UnknownUpload])
}

fn other_method() -> Operation {
    let summary = "Means another method, for clients that have only this one";
    on_one(HttpMethod::Post, WRITERS, "uploadByOtherMethod", summary)
        .text("It takes and answers what that method does.")
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

fn options<T: 'static>(id: &str, handler: impl Handler<T, App>) -> Operation {
    let headers = [
        ("Tus-Version", "The versions of tus."),
        ("Tus-Extension", "Its extensions."),
        ("Tus-Checksum-Algorithm", "What checksums are taken."),
        ("Tus-Max-Size", "The longest upload, in bytes."),
    ];
    let summary = "Tells what uploads can do here";
    Operation::new(HttpMethod::Options, READERS, id, summary, handler)
        .answers(204, with_headers("It is in the headers.", headers))
}
