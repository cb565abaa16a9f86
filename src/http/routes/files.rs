//! The routes of files: uploads, downloads, the listing.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, SchemaType, Type};
use utoipa::openapi::{Content, ObjectBuilder, Ref, ResponseBuilder, Schema};

use super::operation::{OF_CHANGES, Operation, delete, get, post};
use super::route::Route;
use super::schema::{bytes, hash, list_of, matching, number, of_type, text, uuid, with_headers};
use crate::fetch::copies::MOST_COPIES;
use crate::http::access::{READERS, WRITERS};
use crate::http::bao::{self, RangeQuery};
use crate::http::copies_of::{self, CopiesAnswer};
use crate::http::download::{self, BlobQuery, FileQuery};
use crate::http::files::{self, ListQuery, RemoveQuery, Removed};
use crate::http::moment::{self, MomentQuery};
use crate::http::upload::{self, BytesQuery, DescriptionQuery, NamedQuery, Uploaded};
use crate::peer::compact;
use crate::web::code::Code;

const TAG: &str = "files";
/// The type of the bytes of a file that are sent alone; any other but that of forms is taken, too.
const BYTES: &str = "application/octet-stream";

pub(super) fn all() -> [Route; 9] {
    [
        Route::at(upload::PATH, TAG)
            // As clients have it that put a file into a folder.
            .also_at("/api/p2p/upload/")
            .on(upload())
            .on(put()),
        Route::at("/api/p2p/upload/{*name}", TAG)
            .on(named(HttpMethod::Put, "putNamedFile"))
            .on(named(HttpMethod::Post, "postNamedFile")),
        Route::at("/api/p2p/files", TAG).compressed().on(list()),
        Route::at("/api/p2p/moment", TAG).on(moment()),
        Route::at("/api/p2p/file/{id}", TAG)
            .on(download_by_id())
            .on(remove()),
        Route::at("/api/p2p/file/{id}/copies", TAG)
            .on(copies_of_file())
            .on(change_copies()),
        Route::at("/api/p2p/download/{peer}/{file}", TAG).on(download_from_peer()),
        Route::at("/api/p2p/blob/{hash}", TAG).on(download_by_hash()),
        Route::at("/api/p2p/blob/{hash}/bao", TAG).on(range_with_proof()),
    ]
}

fn upload() -> Operation {
    let form = ObjectBuilder::new()
        .property(
            "file",
            bytes().description(Some("The file, with its name.")),
        )
        .property("description", text())
        .property("copies", copies_wanted())
        .required("file");
    let operation = post(WRITERS, "upload", "Keeps a file", upload::upload)
        .text(
            "A form, of which parts with other names are read and left out; or, where the query \
             has a `name`, the bytes of the file alone, of any other type.",
        )
        .query::<BytesQuery>()
        .takes("multipart/form-data", Schema::from(form.build()));
    keeps_file(operation).refuses([Code::NoFile, Code::SecondFile, Code::BrokenMultipart])
}

fn put() -> Operation {
    let summary = "Keeps a file whose bytes are sent alone, by the name in the query";
    let operation = Operation::new(HttpMethod::Put, WRITERS, "putFile", summary, upload::put);
    keeps_file(operation.query::<NamedQuery>().may_take(BYTES, bytes()))
}

fn named(method: HttpMethod, id: &str) -> Operation {
    let summary = "Keeps a file whose bytes are sent alone, by the name in the path";
    let operation = Operation::new(method, WRITERS, id, summary, upload::put_named)
        .text("The name may have slashes. Without `Content-Length` the bytes come in chunks.")
        .segment("name", "The name of the file.", text())
        .query::<DescriptionQuery>();
    keeps_file(operation.may_take(BYTES, bytes()))
}

/// What all uploads in one request have in common.
fn keeps_file(operation: Operation) -> Operation {
    operation
        .json::<Uploaded>(200, "It is kept, and on disk.")
        .refuses([
            Code::BadQuery,
            Code::BadCopies,
            Code::NoCopies,
            Code::PreconditionFailed,
            Code::NoFileName,
            Code::NoLength,
            Code::PartialPut,
            Code::FileNameTooLong,
            Code::DescriptionTooLong,
            Code::TooLong,
            Code::WrongContentType,
            Code::BodyCut,
            Code::TooSlow,
            Code::TooLarge,
            Code::DiskFull,
            Code::FileSizeLimit,
            Code::OverQuota,
            Code::ReadOnly,
            Code::WriteFailed,
        ])
}

fn list() -> Operation {
    let listing = ObjectBuilder::new()
        .property("status", matching("^success$"))
        .property("peer_id", uuid())
        .property("files", list_of(Ref::from_schema_name("FileView")))
        .property("file_count", number())
        .property("total_files", number())
        .property("next", nullable_text())
        .property("listed_at", number())
        .property("version", number())
        .property("removed", nullable_list());
    let required = [
        "status",
        "peer_id",
        "files",
        "file_count",
        "total_files",
        "next",
    ];
    let listing = required.into_iter().fold(listing, ObjectBuilder::required);
    let content = Content::new(Some(Schema::from(listing.build())));
    let answer = ResponseBuilder::new()
        .description("The files, by the time of their upload; where to go on, if there are more.")
        .content("application/json", content)
        .content(
            compact::TYPE,
            Content::new(Some(Schema::from(bytes().build()))),
        );
    get(
        READERS,
        "listFiles",
        "Lists the files of this node",
        files::list,
    )
    .text(
        "`listed_at` is a moment by the node's own clock, in microseconds; it is told where \
         `removed_since` or a challenge is given. With `removed_since`, `removed` has what was removed after such a moment, or is null where \
         that is not remembered. A request with 32 lowercase hex digits in `Larder-Challenge` is \
         answered with `public_key` and `signature` as the last keys: by the node's key, over the \
         digits, path and query, and the BLAKE3 hash of what stands before them. Nodes ask each \
         other for a shorter form, which ARCHITECTURE.md describes.",
    )
    .query::<ListQuery>()
    .answers(200, answer)
    .refuses([Code::BadQuery, Code::Damaged])
}

fn moment() -> Operation {
    let text = "A JSON object a line: first `moment`, then a `file` for each file and `gone` with \
                the id of one that was removed meanwhile, at last `end`: without that it was cut.";
    get(
        READERS,
        "listMoment",
        "Lists all files as they are at one moment",
        moment::moment,
    )
    .text(
        "For backups. The moment is when the last file is told; those told before it and removed \
         before it are told once more, as gone. Of files on servers that several nodes share, one \
         that another node removes meanwhile may be listed.",
    )
    .query::<MomentQuery>()
    .answers(200, of_type(text, "application/x-ndjson"))
    .refuses([Code::BadQuery, Code::Damaged])
}

fn nullable_list() -> ArrayBuilder {
    let types = SchemaType::from_iter([Type::Array, Type::Null]);
    ArrayBuilder::new().schema_type(types).items(uuid())
}

fn nullable_text() -> ObjectBuilder {
    let types = SchemaType::from_iter([Type::String, Type::Null]);
    ObjectBuilder::new().schema_type(types)
}

/// What all downloads of files have in common (RFC 9110, sections 13 and 14).
fn download(operation: Operation) -> Operation {
    let headers = [
        ("ETag", "The hash of the content, in quotes."),
        ("Accept-Ranges", "`bytes`"),
        (
            "Content-Disposition",
            "`attachment`, or `inline` where that is asked for and safe, and the name of the file.",
        ),
        ("Cache-Control", "How long it may be kept without asking."),
    ];
    let whole = with_headers(
        "All of the content, as the type that its uploader or else its name tells.",
        headers,
    );
    let part = with_headers(
        "The ranges asked for; several as `multipart/byteranges`.",
        headers,
    );
    let unchanged = with_headers(
        "The client has it already.",
        [headers[0], headers[1], headers[3]],
    );
    let content = || Content::new(Some(Schema::from(bytes().build())));
    conditional(operation)
        .text("HEAD answers the same, without the content.")
        .answers(200, whole.content("*/*", content()))
        .answers(206, part.content("*/*", content()))
        .answers(304, unchanged)
        .refuses([
            Code::BadQuery,
            Code::PreconditionFailed,
            Code::RangeNotSatisfiable,
            Code::Damaged,
        ])
}

/// The conditions that downloads may have.
fn conditional(operation: Operation) -> Operation {
    let headers = [
        (
            "Range",
            "Which bytes to send; ignored where it is not valid.",
        ),
        (
            "If-Range",
            "The entity tag, or the date of `Last-Modified`, that `Range` counts for.",
        ),
        (
            "If-Match",
            "Entity tags, one of which the content must have.",
        ),
        ("If-None-Match", "Entity tags of what the client has."),
        (
            "If-Modified-Since",
            "The date of what the client has; counts without `If-None-Match`.",
        ),
        (
            "If-Unmodified-Since",
            "The date that the content must not be younger than; counts without `If-Match`.",
        ),
    ];
    headers.into_iter().fold(operation, |it, (name, says)| {
        it.header(name, false, says, text())
    })
}

fn download_by_id() -> Operation {
    let operation = get(
        READERS,
        "downloadFile",
        "Downloads a file, of whichever node",
        download::by_id,
    )
    .text(
        "Of other nodes what has a hash; the others are asked for by their node. Where the nodes \
         that hold a file with this id do not agree, those that sign what they tell count alone.",
    )
    .segment("id", "The id of the file.", uuid());
    from_elsewhere(download(operation))
        .query::<FileQuery>()
        .refuses([Code::UnknownFile, Code::AmbiguousFile])
}

fn remove() -> Operation {
    delete(WRITERS, "removeFile", "Removes a file", files::remove)
        .text(
            "Its content goes when no other file has it; on a node with `--trash` it can be brought \
             back for that long, unless `force` is given.",
        )
        .segment("id", "The id of the file.", uuid())
        .query::<RemoveQuery>()
        .json::<Removed>(200, "It is removed.")
        .refuses([Code::BadQuery, Code::UnknownFile, Code::PreconditionFailed, Code::Damaged])
        .refuses(OF_CHANGES)
}

/// On how many members of the network a file is to be.
fn copies_wanted() -> ObjectBuilder {
    let told = "On how many members of the node's network the file is to be, this node among them.";
    number()
        .minimum(Some(1))
        .maximum(Some(usize::from(MOST_COPIES)))
        .description(Some(told))
}

fn copies_of_file() -> Operation {
    get(
        READERS,
        "copiesOfFile",
        "Tells on how many members of the network a file of this node is, and is to be",
        copies_of::look,
    )
    .segment("id", "The id of the file.", uuid())
    .json::<CopiesAnswer>(200, "How many there are, and who has them.")
    .refuses([Code::UnknownFile, Code::NoCopies, Code::Damaged])
}

fn change_copies() -> Operation {
    let wanted = ObjectBuilder::new()
        .property("copies", copies_wanted())
        .required("copies")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    Operation::new(
        HttpMethod::Put,
        WRITERS,
        "changeCopies",
        "Changes on how many members of the network a file of this node is to be",
        copies_of::change,
    )
    .text(
        "Other members fetch it, or give their copies up once there are enough, in the background. \
         The number outlasts restarts, and is known to whoever holds a copy, also without this node.",
    )
    .segment("id", "The id of the file.", uuid())
    .takes("application/json", Schema::from(wanted.build()))
    .json::<CopiesAnswer>(200, "It is written down; how many there are now.")
    .refuses([
        Code::BadCopies,
        Code::UnknownFile,
        Code::NoCopies,
        Code::WrongContentType,
        Code::TooLarge,
        Code::TooSlow,
        Code::BodyCut,
        Code::Damaged,
    ])
    .refuses(OF_CHANGES)
}

fn download_from_peer() -> Operation {
    let operation = get(
        READERS,
        "downloadFromPeer",
        "Downloads a file of any node through this one",
        download::from_peer,
    )
    .segment("peer", "The id of the node that holds it.", uuid())
    .segment(
        "file",
        "The id of the file, or its name, which means the newest.",
        text(),
    );
    from_elsewhere(download(operation))
        .query::<FileQuery>()
        .refuses([Code::UnknownPeer, Code::UnknownFile])
}

fn download_by_hash() -> Operation {
    let operation = get(
        READERS,
        "downloadContent",
        "Downloads content, wherever it is",
        download::by_hash,
    )
    .segment("hash", "The hash of the content.", hash());
    from_elsewhere(download(operation))
        .query::<BlobQuery>()
        .refuses([Code::UnknownBlob])
}

fn from_elsewhere(operation: Operation) -> Operation {
    operation.refuses([Code::PeerFailed, Code::PeerTimeout])
}

fn range_with_proof() -> Operation {
    let headers = [("Blob-Size", "The size of the whole content, in bytes.")];
    let answer = with_headers(
        "Whole chunk groups, at least one, with the parents in the tree that lead to them.",
        headers,
    );
    let content = Content::new(Some(Schema::from(bytes().build())));
    get(
        READERS,
        "contentWithProof",
        "A range of content with what proves it",
        bao::encoded,
    )
    .segment("hash", "The hash of the content.", hash())
    .query::<RangeQuery>()
    .answers(200, answer.content("application/octet-stream", content))
    .refuses([Code::UnknownBlob, Code::BadQuery, Code::Damaged])
}
