//! The routes by which members of a network hold copies for each other.

use super::operation::{Operation, get};
use super::route::Route;
use crate::http::access::READERS;
use crate::http::copies::{self, KeysQuery, RowsQuery, StandingQuery};
use crate::http::copies_under::{self, UnderAnswer, UnderQuery};
use crate::peer::copies::{Files, Here, Rows, Standing};
use crate::web::code::Code;

const TAG: &str = "network";

pub(super) fn all() -> [Route; 5] {
    let at = |path| Route::at(path, TAG).compressed();
    [
        at("/api/p2p/copies").on(standing()),
        at("/api/p2p/copies/rows").on(rows()),
        at("/api/p2p/copies/files").on(files()),
        at("/api/p2p/copies/here").on(here()),
        at("/api/p2p/copies/under_replicated").on(under_replicated()),
    ]
}

fn standing() -> Operation {
    get(
        READERS,
        "copiesStanding",
        "Tells what this member of a network offers, and what it holds for others",
        copies::standing,
    )
    .query::<StandingQuery>()
    .json::<Standing>(200, "One page of it; `run` is empty where nothing is held.")
    .refuses([Code::BadQuery])
}

fn rows() -> Operation {
    get(
        READERS,
        "copiesRows",
        "Lists of which files of an owner there are to be copies",
        copies::rows,
    )
    .query::<RowsQuery>()
    .json::<Rows>(
        200,
        "One page, which may be empty and have a next one still.",
    )
    .refuses([Code::BadQuery])
}

fn files() -> Operation {
    get(
        READERS,
        "copiesFiles",
        "Tells what owners have signed of files of which there are to be copies",
        copies::files,
    )
    .query::<KeysQuery>()
    .json::<Files>(200, "Those that are known here.")
    .refuses([Code::BadQuery])
}

fn here() -> Operation {
    get(
        READERS,
        "copiesHere",
        "Tells whether files are here, as own ones or as copies",
        copies::here,
    )
    .query::<KeysQuery>()
    .json::<Here>(200, "For each of the keys.")
    .refuses([Code::BadQuery])
}

fn under_replicated() -> Operation {
    get(
        READERS,
        "copiesUnderReplicated",
        "Lists the files that fewer members hold than are to: own ones, then those of owners that \
         are gone for which this node answers",
        copies_under::list,
    )
    .query::<UnderQuery>()
    .json::<UnderAnswer>(
        200,
        "One page, which may be empty and have a next one still.",
    )
    .refuses([Code::BadQuery, Code::NoCopies])
}
