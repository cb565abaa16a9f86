//! `/api/peers`: the peers this node knows, and itself; a peer may introduce itself.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::node::Node;
use crate::peer::membership::Certificate;
use crate::peer::prefix::narrow_of;
use crate::peer::registration::{MAX_BYTES, Registration};
use crate::peer::registry::{Introduced, Introducer, Peer};
use crate::peer_id::PeerId;
use crate::room::Room;
use crate::web::body::RequestBody;
use crate::web::clients::ClientAddress;
use crate::web::error::ApiError;
use crate::web::json;
use crate::web::list;
use crate::web::query;

/// How many peers the answer to a registration names unless it is told a number.
const SAMPLE: usize = 100;
/// The most peers that the answer to a registration names.
const MAX_SAMPLE: usize = 256;
/// About how long a peer is in it, in bytes.
const PEER_BYTES: usize = 600;

/// A peer as the REST contract shows it, with its signature to be passed along.
#[derive(Serialize, ToSchema)]
pub(super) struct PeerView {
    #[serde(flatten)]
    registration: Registration,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    verified: bool,
    /// Whether it answered when it was last asked; absent of the node itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
    /// How it is a member of this node's network; absent where this one is of none.
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberView>,
    /// How much it holds for other members; absent where that is not known, and where this node
    /// has nothing to do with copies.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<OfferView>,
}

/// How much a member holds for others, as it has told when it was last asked.
#[derive(Serialize, ToSchema)]
pub(super) struct OfferView {
    /// At most, in bytes.
    offer_bytes: u64,
    /// How much of that is used: the contents that it holds for others, each once.
    used_bytes: u64,
    /// How much it can still take, which is less than is left of its offer where its disk is full;
    /// of the node itself it is told in the list of peers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_bytes: Option<u64>,
    /// Whether it is gone, so that others hold what it held.
    gone: bool,
}

impl OfferView {
    fn of(node: &Node, id: PeerId) -> Option<Self> {
        let offer = node.copies()?.offer_of(id)?;
        Some(Self {
            offer_bytes: offer.offer,
            used_bytes: offer.used,
            left_bytes: Some(offer.left),
            gone: offer.is_gone,
        })
    }

    fn of_self(node: &Node) -> Option<Self> {
        let copies = node.copies()?;
        Some(Self {
            offer_bytes: copies.options().offer,
            used_bytes: copies.held().bytes,
            left_bytes: None,
            gone: false,
        })
    }

    /// How much this node can still take for others.
    async fn left_here(node: &Node) -> Option<u64> {
        Some(node.copies()?.left().await)
    }
}

/// How a peer is a member of a network.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberView {
    /// What it may do, as words with commas between them.
    rights: String,
    /// Until when, unless it was renewed since it told so.
    expires: String,
}

impl MemberView {
    fn of(certificate: &Certificate) -> Self {
        Self {
            rights: certificate.rights.clone(),
            expires: certificate.expires_at().to_string(),
        }
    }
}

impl PeerView {
    /// The node itself, now.
    pub(super) fn of_self(node: &Node) -> Self {
        let members = node.network().client.reach().members.as_ref();
        Self {
            registration: node.network().myself(),
            last_seen: None,
            verified: true,
            reachable: None,
            member: members.map(|it| MemberView::of(&it.certificate())),
            copies: OfferView::of_self(node),
        }
    }

    fn of(peer: Peer, node: &Node) -> Self {
        // What it shows was checked when it was taken in.
        let is_member = node.network().client.reach().members.is_some();
        let shown = peer.told.registration.membership.as_deref();
        let shown = shown.filter(|_| is_member);
        let certificate = shown.and_then(|it| it.parse().ok());
        Self {
            member: certificate.as_ref().map(MemberView::of),
            copies: OfferView::of(node, peer.id()),
            last_seen: Some(peer.last_seen.to_string()),
            verified: peer.verified(),
            reachable: Some(peer.answered),
            registration: peer.told.registration,
        }
    }
}

/// The answer of `GET /api/peers`.
#[derive(Serialize, ToSchema)]
pub(super) struct PeersAnswer {
    status: &'static str,
    peers: Vec<PeerView>,
    peer_count: usize,
    #[serde(rename = "self")]
    this: PeerView,
}

/// Whom an answer to a registration shall name.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct IntroduceQuery {
    /// The most peers in the answer; 100 where it is not given, and at most 256 count.
    #[serde(default, deserialize_with = "query::number")]
    limit: Option<usize>,
}

/// The answer of `POST /api/peers`.
#[derive(Serialize, ToSchema)]
pub(super) struct IntroducedAnswer {
    #[serde(flatten)]
    peers: PeersAnswer,
    /// What came of it: `new`, `known`, `myself` (it claims to be this node), `unsigned`
    /// (that is not taken here), `full`, or `left` (it said goodbye).
    introduced: &'static str,
    /// What this node knows of whoever introduced itself.
    you: You,
}

/// What this node knows of whoever introduced itself.
#[derive(Serialize, ToSchema)]
struct You {
    /// Whether it answers where it says it is; null where it was not asked yet.
    reachable: Option<bool>,
    /// How long ago this node last tried to ask it there, in milliseconds; null where it has
    /// not tried. A try from before it started says nothing of how it is reached now.
    tried_ms_ago: Option<u64>,
    /// What its key had signed before for another address, where this node takes it to be: two
    /// nodes have one key, or it has moved. Absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    also_at: Option<Registration>,
}

impl You {
    fn of(node: &Node, id: Option<PeerId>, also_at: Option<Registration>) -> Self {
        let reached = id.and_then(|id| node.network().registry.reaches(id));
        Self {
            reachable: reached.map(|(reached, _)| reached),
            tried_ms_ago: reached.map(|(_, tried)| {
                // Rounded up, so that no try seems later than it was.
                u64::try_from(tried.elapsed().as_millis() + 1).unwrap_or(u64::MAX)
            }),
            also_at,
        }
    }
}

impl PeersAnswer {
    /// The answer around so many peers.
    fn around(node: &Node, peer_count: usize) -> Self {
        Self {
            status: "success",
            peers: Vec::new(),
            peer_count,
            this: PeerView::of_self(node),
        }
    }
}

fn name_of(introduced: Introduced) -> &'static str {
    match introduced {
        Introduced::New | Introduced::InsteadOf(_) => "new",
        Introduced::Known => "known",
        Introduced::Myself => "myself",
        Introduced::Unsigned => "unsigned",
        Introduced::Full => "full",
        Introduced::Left => "left",
    }
}

/// What is known to be signed with the key of a peer that does not say that it is there.
fn elsewhere(node: &Node, id: PeerId, told: &Registration) -> Option<Registration> {
    let registry = &node.network().registry;
    let known = registry.get(id).filter(Peer::verified)?;
    let known = known.told.registration;
    (known.address != told.address && !registry.has_left(id)).then_some(known)
}

/// `GET /api/peers`
pub(super) async fn list(State(node): State<Arc<Node>>) -> Response {
    let (around, mut after) = (Arc::clone(&node), None);
    let left = OfferView::left_here(&node).await;
    let around = move |count| {
        let mut answer = PeersAnswer::around(&around, count);
        if let Some(copies) = &mut answer.this.copies {
            copies.left_bytes = left;
        }
        answer
    };
    let some = move |limit| {
        let peers = node.network().registry.shown(after, limit);
        after = peers.last().map(|(id, _)| *id).or(after);
        let peers = peers.into_iter();
        peers.map(|(_, it)| PeerView::of(it, &node)).collect()
    };
    list::answer(list::pieces(around, some)).await
}

/// `POST /api/peers`: takes a peer in, and tells it some of those whom this node knows to be
/// there.
pub(super) async fn introduce(
    State(node): State<Arc<Node>>,
    query: Result<Query<IntroduceQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let limit = query.limit.unwrap_or(SAMPLE).min(MAX_SAMPLE);
    let from = request.extensions().get::<ClientAddress>();
    // What is in the same process has no address.
    let near = from.is_none_or(|it| it.ip.is_loopback());
    let from = from.map(|it| narrow_of(it.ip));
    let body = RequestBody::of_json(request, MAX_BYTES as u64)?
        .read_all()
        .await?;
    let registration = json::read_registration(&body)?;
    let id = registration.peer_id.parse().ok();
    let also_at = id.and_then(|id| elsewhere(&node, id, &registration));
    let met = node
        .network()
        .meet(registration, Introducer::Itself(from), near);
    let introduced = met.map_err(|e| ApiError::Registration(e.to_string()))?;
    let room = Room::take((limit * PEER_BYTES) as u64);
    let limit = limit.min(room.bytes() / PEER_BYTES);
    let some = node.network().registry.some_answering(limit).into_iter();
    let some: Vec<_> = some.map(|it| PeerView::of(it, &node)).collect();
    let answer = IntroducedAnswer {
        introduced: name_of(introduced),
        you: You::of(&node, id, also_at),
        peers: PeersAnswer {
            peer_count: some.len(),
            peers: some,
            ..PeersAnswer::around(&node, 0)
        },
    };
    Ok(list::whole(room, &answer))
}
