//! The routes of peers and of whoever watches over the node.

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{Content, ResponseBuilder, Schema};

use super::operation::{Described, Needs, text};
use crate::http::access::{ANNOUNCE, DOCUMENT, DOCUMENT_PAGE, PEERS};
use crate::http::announce::Acknowledged;
use crate::http::network::{NetworkAnswer, NetworkQuery};
use crate::http::peers::{IntroduceQuery, IntroducedAnswer, PeersAnswer};
use crate::http::status::{HealthAnswer, ReadyAnswer, StatusAnswer};
use crate::peer::announcement::Announcement;
use crate::peer::registration::Registration;
use crate::web::code::Code;

/// All of them.
pub(super) fn all() -> [Described; 11] {
    [
        list_peers(),
        introduce(),
        announce(),
        network(),
        status(),
        events(),
        health(),
        ready(),
        metrics(),
        document(),
        page(),
    ]
}

fn peers(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Described {
    Described::new(method, path, "network", id, summary).refuses([Code::TooManyRequests])
}

fn node(path: &'static str, id: &str, summary: &str) -> Described {
    Described::new(HttpMethod::Get, path, "node", id, summary)
}

fn list_peers() -> Described {
    peers(
        HttpMethod::Get,
        PEERS,
        "listPeers",
        "Lists the nodes that this one knows",
    )
    .needs(Needs::Reading)
    .json::<PeersAnswer>(200, "They, and this one as `self`.")
}

fn introduce() -> Described {
    peers(
        HttpMethod::Post,
        PEERS,
        "introduce",
        "Introduces a node to this one",
    )
    .text("Whoever may read may tell: what a node with a key tells is signed.")
    .needs(Needs::Reading)
    .takes_json::<Registration>()
    .query::<IntroduceQuery>()
    .json::<IntroducedAnswer>(
        200,
        "What came of it, and some of those whom this node knows to be there.",
    )
    .refuses([
        Code::BadQuery,
        Code::BadRegistration,
        Code::WrongContentType,
        Code::TooLarge,
        Code::TooSlow,
        Code::BodyCut,
    ])
}

fn announce() -> Described {
    let summary = "Tells this node what another holds, or no longer holds";
    peers(HttpMethod::Post, ANNOUNCE, "announce", summary)
        .text("Whoever may read may tell: what a node with a key tells is signed.")
        .needs(Needs::Reading)
        .takes_json::<Announcement>()
        .json::<Acknowledged>(200, "It was heard; `kept` tells whether it was news.")
        .refuses([
            Code::BadAnnouncement,
            Code::WrongContentType,
            Code::TooLarge,
            Code::TooSlow,
            Code::BodyCut,
        ])
}

fn network() -> Described {
    let path = "/api/p2p/network";
    peers(
        HttpMethod::Get,
        path,
        "listNetwork",
        "Lists what this node and the others hold",
    )
    .needs(Needs::Reading)
    .query::<NetworkQuery>()
    .json::<NetworkAnswer>(
        200,
        "One page, which may be short and have a next one still.",
    )
    .refuses([Code::BadQuery, Code::Damaged])
}

fn status() -> Described {
    node(
        "/api/p2p/status",
        "status",
        "Tells what the node holds and knows",
    )
    .needs(Needs::Reading)
    .json::<StatusAnswer>(200, "Counts, and the node's own address.")
}

fn events() -> Described {
    let text = "Events named `files`, `network`, `peers` and `keep`, each once at the start and \
                then when that has changed; `storage` has the answer of `/api/p2p/status`.";
    node("/api/events", "events", "Tells what changes, as it happens")
        .needs(Needs::Reading)
        .answers(200, of_type(text, "text/event-stream"))
        .refuses([Code::TooManyStreams])
}

fn health() -> Described {
    node("/health", "health", "Tells whether the node works")
        .json::<HealthAnswer>(200, "It runs; `degraded` when it takes no more changes.")
}

fn ready() -> Described {
    node(
        "/ready",
        "ready",
        "Tells whether the node would take an upload now",
    )
    .text("Whatever keeps it from that, the status is 503.")
    .json::<ReadyAnswer>(200, "It would.")
    .refuses_as(
        503,
        [
            Code::DiskFull,
            Code::OverQuota,
            Code::ReadOnly,
            Code::Shortage,
            Code::WriteFailed,
            Code::WritingClosed,
            Code::Internal,
        ],
    )
}

fn metrics() -> Described {
    let answer = of_type(
        "All counters, in the text format of Prometheus.",
        "text/plain",
    );
    node("/metrics", "metrics", "Tells what the node counts")
        .needs(Needs::Reading)
        .answers(200, answer)
}

fn document() -> Described {
    node(DOCUMENT, "openapi", "This document")
        .answers(200, of_type("OpenAPI 3.1.", "application/json"))
}

fn page() -> Described {
    node(DOCUMENT_PAGE, "docs", "This document, for people")
        .answers(200, of_type("A page.", "text/html"))
}

fn of_type(description: &str, content_type: &str) -> ResponseBuilder {
    let schema = match content_type {
        "application/json" => Schema::from(utoipa::openapi::Object::new()),
        _ => Schema::from(text().build()),
    };
    ResponseBuilder::new()
        .description(description)
        .content(content_type, Content::new(Some(schema)))
}
