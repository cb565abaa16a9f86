//! The routes of peers, and of whoever asks for what they told. They need no token, since what
//! peers tell is signed; so each address has a limit.

use super::operation::{Operation, get, post};
use super::route::Route;
use super::schema::bytes;
use crate::http::access::READERS;
use crate::http::announce::{self, Acknowledged, AllAcknowledged};
use crate::http::exchange;
use crate::http::members::{self, RevocationsAnswer};
use crate::http::network::{self, NetworkAnswer, NetworkQuery};
use crate::http::peers::{self, IntroduceQuery, IntroducedAnswer, PeersAnswer};
use crate::peer::announcement::Announcement;
use crate::peer::batch;
use crate::peer::exchange::{Answer, PATH, Question};
use crate::peer::registration::Registration;
use crate::web::code::Code;

const TAG: &str = "network";
/// Why peers need no token, not even where nobody may write. A private node takes nothing from
/// whoever may not read.
const SIGNED: &str = "Whoever may read may tell: what a node with a key tells is signed.";

pub(super) fn all() -> [Route; 6] {
    let limited = |path| Route::at(path, TAG).limited();
    [
        limited("/api/peers")
            .compressed()
            .on(list_peers())
            .on(introduce()),
        limited("/api/p2p/announce").on(announce()),
        limited("/api/p2p/announcements").on(announce_all()),
        limited(PATH).on(exchange()),
        limited("/api/p2p/network").compressed().on(list_files()),
        limited("/api/p2p/revocations").on(list_revocations()),
    ]
}

fn list_peers() -> Operation {
    get(
        READERS,
        "listPeers",
        "Lists the nodes that this one knows",
        peers::list,
    )
    .json::<PeersAnswer>(200, "They, and this one as `self`.")
}

fn introduce() -> Operation {
    post(
        READERS,
        "introduce",
        "Introduces a node to this one",
        peers::introduce,
    )
    .text(SIGNED)
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

fn announce() -> Operation {
    post(
        READERS,
        "announce",
        "Tells this node what another holds, or no longer holds",
        announce::announce,
    )
    .text(SIGNED)
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

fn announce_all() -> Operation {
    post(
        READERS,
        "announceAll",
        "Tells this node of many files that another holds, or no longer holds",
        announce::announce_all,
    )
    .text(
        "Up to 256 announcements of one node, signed together, in few bytes: for nodes, which fall \
         back on one announcement a request where there is no such route.",
    )
    .takes(batch::TYPE, bytes().build())
    .json::<AllAcknowledged>(200, "They were heard; `kept` tells how many were news.")
    .refuses([
        Code::BadAnnouncement,
        Code::WrongContentType,
        Code::TooLarge,
        Code::TooSlow,
        Code::BodyCut,
    ])
}

fn exchange() -> Operation {
    post(
        READERS,
        "exchange",
        "Compares whom a node knows with whom this one does",
        exchange::exchange,
    )
    .text(
        "A node asks with one number of all whom it knows to be there; where the answer has another \
         one it asks again with lists of what differs, and tells what this one lacks. Each number is \
         the beginning of a BLAKE3 hash over salt, id, address, version of the holdings and \
         membership of a peer that signs what it tells. Whoever may read may compare, since what a \
         node with a key tells is signed.",
    )
    .takes_json::<Question>()
    .json::<Answer>(200, "Whether both know the same, or what differs.")
    .refuses([
        Code::BadExchange,
        Code::WrongContentType,
        Code::TooLarge,
        Code::TooSlow,
        Code::BodyCut,
    ])
}

fn list_revocations() -> Operation {
    get(
        READERS,
        "listRevocations",
        "Lists who was revoked from the network that this node is a member of",
        members::revocations,
    )
    .json::<RevocationsAnswer>(200, "Each signed by the network's key.")
}

fn list_files() -> Operation {
    get(
        READERS,
        "listNetwork",
        "Lists what this node and the others hold",
        network::list,
    )
    .query::<NetworkQuery>()
    .json::<NetworkAnswer>(
        200,
        "One page, which may be short and have a next one still.",
    )
    .refuses([Code::BadQuery, Code::Damaged])
}
