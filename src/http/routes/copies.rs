//! The routes of copies that this node makes of what others hold.

use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ObjectBuilder, OneOf, Schema};

use super::operation::{OF_CHANGES, Operation, delete, get, post};
use super::route::Route;
use super::schema::{hash, text, uuid};
use crate::http::access::{READERS, WRITERS};
use crate::http::keep::{self, KeepAnswer, KeepsAnswer};
use crate::web::code::Code;

const TAG: &str = "files";

pub(super) fn all() -> [Route; 2] {
    [
        Route::at("/api/p2p/keep", TAG)
            .compressed()
            .on(list())
            .on(begin()),
        Route::at("/api/p2p/keep/{id}", TAG)
            .on(progress())
            .on(forget()),
    ]
}

fn list() -> Operation {
    get(
        READERS,
        "listKeeps",
        "Tells how far all copies are",
        keep::list,
    )
    .json::<KeepsAnswer>(200, "The copies that are made, were made, or failed.")
}

fn begin() -> Operation {
    post(
        WRITERS,
        "keep",
        "Makes a copy of what another node holds",
        keep::keep,
    )
    .text(
        "Names either `hash`, or `file_id` with or without `peer_id`. The copy is called \
         `original_name`; without it as the named peer calls its file, or else as those call the \
         content that can be trusted most. Of content that is here under other names only, one \
         more file is made that is called so.",
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
    let of_hash = only()
        .property("hash", hash().description(Some("The hash of the content.")))
        .required("hash");
    let of_file = only()
        .property("file_id", uuid().description(Some("The file.")))
        .property("peer_id", uuid().description(Some("Whose file it is.")))
        .required("file_id");
    OneOf::builder().item(of_hash).item(of_file).build().into()
}

/// These properties and how the copy is called, and no others.
fn only() -> ObjectBuilder {
    ObjectBuilder::new()
        .property(
            "original_name",
            text()
                .min_length(Some(1))
                .description(Some("How the copy is called.")),
        )
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
}

fn progress() -> Operation {
    get(
        READERS,
        "keepProgress",
        "Tells how far one copy is",
        keep::progress,
    )
    .segment("id", "The `id` of the copy.", uuid())
    .json::<KeepAnswer>(200, "How far it is.")
    .refuses([Code::UnknownKeep])
}

fn forget() -> Operation {
    delete(
        WRITERS,
        "forgetKeep",
        "Gives up a copy that is not there yet",
        keep::forget,
    )
    .segment("id", "The `id` of the copy.", uuid())
    .json::<KeepAnswer>(200, "It is forgotten; a copy that is there stays.")
    .refuses([Code::UnknownKeep])
    .refuses(OF_CHANGES)
}
