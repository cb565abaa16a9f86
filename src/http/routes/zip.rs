//! The routes of several files as one archive.

use utoipa::openapi::{Content, Schema};

use super::operation::{Operation, get};
use super::route::Route;
use super::schema::{bytes, text, with_headers};
use crate::http::access::READERS;
use crate::http::zip::{self, IdsQuery, NameQuery};
use crate::web::code::Code;

const TAG: &str = "files";

pub(super) fn all() -> [Route; 2] {
    [
        Route::at("/api/p2p/zip", TAG).on(chosen()),
        Route::at("/api/p2p/zip/{*folder}", TAG).on(folder()),
    ]
}

fn chosen() -> Operation {
    let summary = "Downloads several files as one archive";
    let operation = get(READERS, "downloadZip", summary, zip::chosen).query::<IdsQuery>();
    archive(operation).refuses([Code::BadQuery, Code::AmbiguousFile])
}

fn folder() -> Operation {
    let summary = "Downloads a folder as one archive: all files whose names begin with its name \
                   and a slash";
    let operation = get(READERS, "downloadFolder", summary, zip::folder);
    archive(operation.segment(
        "folder",
        "The name of the folder, which may have slashes.",
        text(),
    ))
}

/// What both have in common.
fn archive(operation: Operation) -> Operation {
    let headers = [
        (
            "Content-Disposition",
            "`attachment`, and the name of the archive.",
        ),
        (
            "Content-Length",
            "The length of the archive; not told where a content of another node is in it.",
        ),
    ];
    let answer = with_headers("The archive, which is made while it is sent.", headers);
    let bytes = Content::new(Some(Schema::from(bytes().build())));
    operation
        .query::<NameQuery>()
        .text(
            "Files of this node and of others, each proven before its bytes are sent. The bytes \
             are not compressed. Names keep their folders; of those that are alike all but one \
             have a number, and none leads out of the folder that the archive is unpacked in. \
             Where a file cannot be sent to its end, the connection is cut. HEAD answers the \
             same, without the archive.",
        )
        .answers(200, answer.content("application/zip", bytes))
        .refuses([
            Code::UnknownFile,
            Code::UnknownBlob,
            Code::TooManyFiles,
            Code::Damaged,
            Code::PeerFailed,
            Code::PeerTimeout,
        ])
}
