//! The routes of files: uploads, downloads, the listing, copies.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, SchemaType, Type};
use utoipa::openapi::{Content, ObjectBuilder, OneOf, Ref, ResponseBuilder, Schema};

use super::operation::{
    Described, Needs, OF_CHANGES, bytes, hash, list_of, matching, number, text, uuid, with_headers,
};
use crate::http::bao::RangeQuery;
use crate::http::files::{ListQuery, Removed};
use crate::http::keep::{KeepAnswer, KeepsAnswer};
use crate::http::upload::Uploaded;
use crate::web::code::Code;

const TAG: &str = "files";

fn get(path: &'static str, id: &str, summary: &str) -> Described {
    Described::new(HttpMethod::Get, path, TAG, id, summary).needs(Needs::Reading)
}

fn post(path: &'static str, id: &str, summary: &str) -> Described {
    Described::new(HttpMethod::Post, path, TAG, id, summary).needs(Needs::Writing)
}

fn delete(path: &'static str, id: &str, summary: &str) -> Described {
    Described::new(HttpMethod::Delete, path, TAG, id, summary).needs(Needs::Writing)
}

/// All of them.
pub(super) fn all() -> [Described; 11] {
    [
        upload(),
        list(),
        download_by_id(),
        remove(),
        download_from_peer(),
        download_by_hash(),
        range_with_proof(),
        keeps(),
        keep(),
        one_keep(),
        forget_keep(),
    ]
}

fn upload() -> Described {
    let form = ObjectBuilder::new()
        .property(
            "file",
            bytes().description(Some("The file, with its name.")),
        )
        .property("description", text())
        .required("file");
    post("/api/p2p/upload", "upload", "Keeps a file")
        .text("Parts with other names are read and left out.")
        .takes("multipart/form-data", Schema::from(form.build()))
        .json::<Uploaded>(200, "It is kept, and on disk.")
        .refuses([
            Code::NoFile,
            Code::NoFileName,
            Code::FileNameTooLong,
            Code::SecondFile,
            Code::DescriptionTooLong,
            Code::TooLong,
            Code::WrongContentType,
            Code::BrokenMultipart,
            Code::BodyCut,
            Code::TooSlow,
            Code::TooLarge,
            Code::DiskFull,
            Code::OverQuota,
            Code::ReadOnly,
            Code::WriteFailed,
        ])
}

fn list() -> Described {
    let listing = ObjectBuilder::new()
        .property("status", matching("^success$"))
        .property("peer_id", uuid())
        .property("files", list_of(Ref::from_schema_name("FileView")))
        .property("file_count", number())
        .property("total_files", number())
        .property("next", nullable_text())
        .property("listed_at", number())
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
        .content("application/json", content);
    get(
        "/api/p2p/files",
        "listFiles",
        "Lists the files of this node",
    )
    .text(
        "`listed_at` is a moment by the node's own clock, in microseconds; it is told where \
         `removed_since` or a challenge is given. With `removed_since`, `removed` has what was removed after such a moment, or is null where \
         that is not remembered. A request with 32 lowercase hex digits in `Larder-Challenge` is \
         answered with `public_key` and `signature` as the last keys: by the node's key, over the \
         digits, path and query, and the BLAKE3 hash of what stands before them.",
    )
    .query::<ListQuery>()
    .answers(200, answer)
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
fn download(described: Described) -> Described {
    let headers = [
        ("ETag", "The hash of the content, in quotes."),
        ("Accept-Ranges", "`bytes`"),
        (
            "Content-Disposition",
            "`attachment`, with the name of the file.",
        ),
    ];
    let whole = with_headers(
        "All of the content, as the type that its uploader named.",
        headers,
    );
    let part = with_headers(
        "The ranges asked for; several as `multipart/byteranges`.",
        headers,
    );
    let unchanged = with_headers("The client has it already.", [headers[0], headers[1]]);
    let content = || Content::new(Some(Schema::from(bytes().build())));
    described
        .text("HEAD answers the same, without the content.")
        .header(
            "Range",
            false,
            "Which bytes to send; ignored where it is not valid.",
            text(),
        )
        .header(
            "If-Range",
            false,
            "The entity tag that `Range` counts for.",
            text(),
        )
        .header(
            "If-Match",
            false,
            "Entity tags, one of which the content must have.",
            text(),
        )
        .header(
            "If-None-Match",
            false,
            "Entity tags of what the client has.",
            text(),
        )
        .answers(200, whole.content("*/*", content()))
        .answers(206, part.content("*/*", content()))
        .answers(304, unchanged)
        .refuses([
            Code::PreconditionFailed,
            Code::RangeNotSatisfiable,
            Code::Damaged,
        ])
}

fn download_by_id() -> Described {
    let described = get(
        "/api/p2p/file/{id}",
        "downloadFile",
        "Downloads a file of this node",
    );
    download(described.segment("id", "The id of the file.", uuid())).refuses([Code::UnknownFile])
}

fn remove() -> Described {
    delete("/api/p2p/file/{id}", "removeFile", "Removes a file")
        .text("Its content goes when no other file has it.")
        .segment("id", "The id of the file.", uuid())
        .json::<Removed>(200, "It is removed.")
        .refuses([Code::UnknownFile, Code::Damaged])
        .refuses(OF_CHANGES)
}

fn download_from_peer() -> Described {
    let path = "/api/p2p/download/{peer}/{file}";
    let described = get(
        path,
        "downloadFromPeer",
        "Downloads a file of any node through this one",
    )
    .segment("peer", "The id of the node that holds it.", uuid())
    .segment(
        "file",
        "The id of the file, or its name, which means the newest.",
        text(),
    );
    from_elsewhere(download(described)).refuses([Code::UnknownPeer, Code::UnknownFile])
}

fn download_by_hash() -> Described {
    let path = "/api/p2p/blob/{hash}";
    let described = get(path, "downloadContent", "Downloads content, wherever it is").segment(
        "hash",
        "The hash of the content.",
        hash(),
    );
    from_elsewhere(download(described)).refuses([Code::UnknownBlob])
}

fn from_elsewhere(described: Described) -> Described {
    described.refuses([Code::PeerFailed, Code::PeerTimeout])
}

fn range_with_proof() -> Described {
    let headers = [("Blob-Size", "The size of the whole content, in bytes.")];
    let answer = with_headers(
        "Whole chunk groups, at least one, with the parents in the tree that lead to them.",
        headers,
    );
    let content = Content::new(Some(Schema::from(bytes().build())));
    get(
        "/api/p2p/blob/{hash}/bao",
        "contentWithProof",
        "A range of content with what proves it",
    )
    .segment("hash", "The hash of the content.", hash())
    .query::<RangeQuery>()
    .answers(200, answer.content("application/octet-stream", content))
    .refuses([Code::UnknownBlob, Code::BadQuery, Code::Damaged])
}

fn keeps() -> Described {
    get("/api/p2p/keep", "listKeeps", "Tells how far all copies are")
        .json::<KeepsAnswer>(200, "The copies that are made, were made, or failed.")
}

fn keep() -> Described {
    post(
        "/api/p2p/keep",
        "keep",
        "Makes a copy of what another node holds",
    )
    .text(
        "Names either `hash`, or `file_id` with or without `peer_id`. The copy is called \
         `original_name`; without it as the named peer calls its file, or else as those call the \
         content that can be trusted most.",
    )
    .takes("application/json", wanted())
    .json::<KeepAnswer>(200, "Only this node holds it, so it is kept already.")
    .json::<KeepAnswer>(202, "It is made in the background.")
    .refuses([
        Code::BadKeep,
        Code::WrongContentType,
        Code::TooLarge,
        Code::TooSlow,
        Code::BodyCut,
        Code::UnknownBlob,
        Code::UnknownFile,
        Code::UnknownPeer,
        Code::AmbiguousFile,
        Code::TooManyKeeps,
        Code::PeerFailed,
        Code::PeerTimeout,
    ])
    .refuses(OF_CHANGES)
}

/// What to keep: content, or a file.
fn wanted() -> Schema {
    let of_hash = ObjectBuilder::new()
        .property("hash", hash())
        .property(
            "original_name",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1)),
        )
        .required("hash")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    let of_file = ObjectBuilder::new()
        .property("file_id", uuid())
        .property("peer_id", uuid())
        .property(
            "original_name",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1)),
        )
        .required("file_id")
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    OneOf::builder().item(of_hash).item(of_file).build().into()
}

fn one_keep() -> Described {
    get(
        "/api/p2p/keep/{id}",
        "keepProgress",
        "Tells how far one copy is",
    )
    .segment("id", "The `id` of the copy.", uuid())
    .json::<KeepAnswer>(200, "How far it is.")
    .refuses([Code::UnknownKeep])
}

fn forget_keep() -> Described {
    delete(
        "/api/p2p/keep/{id}",
        "forgetKeep",
        "Gives up a copy that is not there yet",
    )
    .segment("id", "The `id` of the copy.", uuid())
    .json::<KeepAnswer>(200, "It is forgotten; a copy that is there stays.")
    .refuses([Code::UnknownKeep])
    .refuses(OF_CHANGES)
}
