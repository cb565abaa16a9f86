//! The routes of whoever watches over the node or wants to know how it is used.

use super::operation::{Operation, get, post};
use super::route::Route;
use super::schema::{of_type, text, with_headers};
use crate::http::access::{ANYBODY, READERS, WRITERS};
use crate::http::scrub::{self, AskQuery, AskedAnswer, ScrubAnswer, ScrubQuery};
use crate::http::status::{self, HealthAnswer, ReadyAnswer, StatusAnswer};
use crate::http::{events, metrics, openapi, page};
use crate::web::code::Code;

const TAG: &str = "node";

/// What is for anybody tells nothing of the node's files.
pub(super) fn all() -> [Route; 10] {
    let at = |path| Route::at(path, TAG);
    [
        at("/api/p2p/status").compressed().on(status()),
        at("/api/p2p/scrub").compressed().on(scrub()).on(ask()),
        at("/api/events").on(events()),
        at("/health").on(health()),
        at("/ready").on(ready()),
        at("/metrics").compressed().on(metrics()),
        at("/api/openapi.json").compressed().on(document()),
        at("/api/docs").compressed().on(document_page()),
        at("/").on(page()),
        at("/page/{*name}").on(page_file()),
    ]
}

fn page() -> Operation {
    served(
        get(ANYBODY, "page", "The page for people", page::index),
        "text/html",
    )
}

fn page_file() -> Operation {
    let summary = "A script, a style or a picture of the page for people";
    let operation = get(ANYBODY, "pageFile", summary, page::file);
    let operation = operation.segment("name", "Which; it may have slashes.", text());
    served(operation, "*/*").refuses([Code::UnknownPath])
}

/// What the page consists of has.
fn served(operation: Operation, content_type: &str) -> Operation {
    let unchanged = with_headers("The client has it already.", [("ETag", "Its version.")]);
    operation
        .answers(200, of_type("It.", content_type))
        .answers(304, unchanged)
        .refuses([Code::PreconditionFailed])
}

fn status() -> Operation {
    get(
        READERS,
        "status",
        "Tells what the node holds and knows",
        status::status,
    )
    .json::<StatusAnswer>(200, "Counts, and the node's own address.")
}

fn scrub() -> Operation {
    get(
        READERS,
        "scrub",
        "Tells how far everything stored was read, and what is not whole",
        scrub::look,
    )
    .query::<ScrubQuery>()
    .json::<ScrubAnswer>(200, "How far it is.")
    .refuses([Code::BadQuery, Code::NoCopies])
}

fn ask() -> Operation {
    post(
        WRITERS,
        "askToScrub",
        "Has everything stored read now, as fast as that goes",
        scrub::ask,
    )
    .text("One that was asked for before and has not come to its end goes on.")
    .query::<AskQuery>()
    .json::<AskedAnswer>(202, "It is read.")
    .refuses([Code::BadQuery, Code::NoCopies, Code::NoScrub])
}

fn events() -> Operation {
    let text = "Events named `files`, `network`, `peers` and `keep`, each once at the start and \
                then when that has changed; `storage` has the answer of `/api/p2p/status`.";
    get(
        READERS,
        "events",
        "Tells what changes, as it happens",
        events::events,
    )
    .answers(200, of_type(text, "text/event-stream"))
}

fn health() -> Operation {
    get(
        ANYBODY,
        "health",
        "Tells whether the node works",
        status::health,
    )
    .json::<HealthAnswer>(200, "It runs; `degraded` when it takes no more changes.")
}

fn ready() -> Operation {
    get(
        ANYBODY,
        "ready",
        "Tells whether the node would take an upload now",
        status::ready,
    )
    .text("Whatever keeps it from that, the status is 503.")
    .json::<ReadyAnswer>(200, "It would.")
    .refuses_as(
        503,
        [
            Code::DiskFull,
            Code::FileSizeLimit,
            Code::OverQuota,
            Code::ReadOnly,
            Code::Shortage,
            Code::WriteFailed,
            Code::WritingClosed,
            Code::Internal,
        ],
    )
}

fn metrics() -> Operation {
    let text = "All counters, in the text format of Prometheus.";
    get(
        READERS,
        "metrics",
        "Tells what the node counts",
        metrics::metrics,
    )
    .answers(200, of_type(text, "text/plain"))
}

fn document() -> Operation {
    get(ANYBODY, "openapi", "This document", openapi::document)
        .answers(200, of_type("OpenAPI 3.1.", "application/json"))
}

fn document_page() -> Operation {
    get(
        ANYBODY,
        "docs",
        "This document, for people",
        openapi::document_page,
    )
    .answers(200, of_type("A page.", "text/html"))
}
