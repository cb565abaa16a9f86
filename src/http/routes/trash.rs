//! The routes of files that were removed and can be brought back.

use super::operation::{OF_CHANGES, Operation, delete, get, post};
use super::route::Route;
use super::schema::uuid;
use crate::http::access::{READERS, WRITERS};
use crate::http::files::Removed;
use crate::http::trash::{self, BroughtBack, Emptied, TrashAnswer, TrashQuery};
use crate::web::code::Code;

const TAG: &str = "files";

pub(super) fn all() -> [Route; 2] {
    [
        Route::at("/api/p2p/trash", TAG)
            .compressed()
            .on(list())
            .on(empty()),
        Route::at("/api/p2p/trash/{id}", TAG)
            .on(bring_back())
            .on(remove()),
    ]
}

fn list() -> Operation {
    get(
        READERS,
        "listTrash",
        "Lists files that were removed and can be brought back",
        trash::list,
    )
    .text("There are some on a node with `--trash` alone, or that had it when they were removed.")
    .query::<TrashQuery>()
    .json::<TrashAnswer>(200, "The files, and where to go on, if there are more.")
    .refuses([Code::BadQuery, Code::Damaged])
}

fn empty() -> Operation {
    delete(
        WRITERS,
        "emptyTrash",
        "Has all files gone that are in the trash",
        trash::empty,
    )
    .json::<Emptied>(200, "They are gone.")
    .refuses([Code::Damaged])
    .refuses(OF_CHANGES)
}

fn bring_back() -> Operation {
    post(
        WRITERS,
        "bringBack",
        "Brings a file back that was removed",
        trash::bring_back,
    )
    .text("It has its id again, and all else that it had.")
    .segment("id", "The id of the file.", uuid())
    .json::<BroughtBack>(200, "It is back.")
    .refuses([Code::UnknownFile, Code::Damaged])
    .refuses(OF_CHANGES)
}

fn remove() -> Operation {
    delete(
        WRITERS,
        "removeTrashed",
        "Has a file gone that is in the trash",
        trash::remove,
    )
    .segment("id", "The id of the file.", uuid())
    .json::<Removed>(200, "It is gone.")
    .refuses([Code::UnknownFile, Code::Damaged])
    .refuses(OF_CHANGES)
}
