//! `GET /api/p2p/network`: what this node and the others hold.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::file_view::SpreadView;
use super::gate::ClientShare;
use super::listing::OrderName;
use crate::hash::BlobHash;
use crate::name_form;
use crate::node::Node;
use crate::node::turns::Claimant;
use crate::node::view::{NetworkPage, Selection};
use crate::peer::directory::{FileKey, Held};
use crate::peer_id::PeerId;
use crate::record::{FileId, Order};
use crate::room::Room;
use crate::store::StoreError;
use crate::web::error::ApiError;
use crate::web::file_type;
use crate::web::list;
use crate::web::query;

/// The most files on one page.
const MAX_LIMIT: usize = 1000;
/// About how long a page is at most, in bytes; it may have fewer files than asked for then.
const LONGEST_PAGE: u64 = 1 << 20;
/// How many files are held against a name at a time; the answer may have fewer files
/// than asked for and still a next page.
const LOOK: usize = 20_000;

/// Which files to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NetworkQuery {
    /// The most files on the page; at most 1000 count. There may be fewer and still a next page,
    /// where many peers hold them, or they have long names, or little memory is left.
    #[param(minimum = 1, maximum = 18_446_744_073_709_551_615_usize)]
    #[serde(default, deserialize_with = "query::number")]
    limit: Option<usize>,
    /// From which end on; the oldest first without it.
    #[param(inline)]
    order: Option<OrderName>,
    /// Only files behind this one, without it: where to go on, `next` of the answer before, or the
    /// id of a file. Where the newest come first it only says where the list ends.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}([.]([0-9a-f]{64})?)?$")]
    after: Option<String>,
    /// Only files before this one, without it: where to go on where the newest come first. Where
    /// the oldest do it only says where the list ends.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}([.]([0-9a-f]{64})?)?$")]
    before: Option<String>,
    /// What the names shall hold, whatever the case.
    name: Option<String>,
    /// The id of one file, which need not be the first of its content and name: the answer has it,
    /// or several where holders do not agree, and all else is left out.
    #[param(pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
    id: Option<String>,
}

#[allow(
    clippy::struct_excessive_bools,
    reason = "clients are told each by its name"
)]
#[derive(Serialize, ToSchema)]
struct HeldView {
    file_id: String,
    original_name: String,
    size: u64,
    hash: Option<String>,
    content_type: Option<String>,
    uploaded_at: String,
    peers: Vec<String>,
    /// Those of them that have it as a file of their own, and can remove it; the others hold copies
    /// of it or have its content under another id. Nobody where only copies are left.
    owners: Vec<String>,
    /// Those of them that answer now, this node among them where what it stores is not damaged.
    reachable_peers: Vec<String>,
    /// Whether one of them does; if not, the file cannot be had now.
    reachable: bool,
    /// Whether what this node stores of it is known to be damaged.
    damaged: bool,
    /// Whether this node has the file itself, so that it can be deleted here, and not only its
    /// content under another name.
    own: bool,
    /// Whether this node holds it for another member of the network, and has no file of this
    /// content itself.
    copy: bool,
    /// On how many members it is, where this node has the file itself and its files are to be on
    /// several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<SpreadView>)]
    copies: Option<SpreadView>,
    /// What its uploader wrote of it, where this node holds the file itself and it is asked for
    /// by its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    description: Option<String>,
}

/// The answer of `GET /api/p2p/network`.
#[derive(Serialize, ToSchema)]
pub(super) struct NetworkAnswer {
    status: &'static str,
    peer_id: String,
    file_count: usize,
    /// How many there are, each once however many hold it; of more than a thousand as of a look at
    /// all of them a while ago, with what came and went since.
    total_files: u64,
    files: Vec<HeldView>,
    next: Option<String>,
    /// Whether some peers have told of more files than there is room for here.
    partial: bool,
}

/// Lists one page of what the network holds.
pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Extension(ClientShare(client)): Extension<ClientShare>,
    query: Result<Query<NetworkQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query?;
    let limit = limit(query.limit)?;
    let cursor = |text: Option<String>, ids| text.map(|it| read_cursor(&it, ids)).transpose();
    let (after, before) = (cursor(query.after, LAST)?, cursor(query.before, None)?);
    let name = query.name.map(|name| name_form::folded(&name));
    let id = query.id.map(|id| id.parse::<FileId>()).transpose();
    let id = id.map_err(|_| ApiError::Query("id must be the id of a file".to_owned()))?;
    let room = Room::take(LONGEST_PAGE);
    let wanted = Selection {
        order: query.order.map_or(Order::OldestFirst, Order::from),
        after,
        before,
        name: name.as_deref(),
        limit,
        bytes: room.bytes(),
        look: LOOK,
        searcher: Some(Claimant {
            turns: node.searches(),
            client: client.as_ref(),
        }),
    };
    let page = match id {
        Some(id) => with_id(&node, id).await?,
        None => node.view().page(wanted).await?,
    };
    let is_all = id.is_some()
        || after.is_none() && before.is_none() && name.is_none() && page.next.is_none();
    let answering = node.network().registry.answering().into_iter();
    let answering: HashSet<_> = answering.chain([node.peer_id()]).collect();
    let mut files = Vec::with_capacity(page.files.len());
    for held in page.files {
        let own = page.own.contains(&held.file.id);
        files.push(HeldView::of(&node, held, own, &answering).await?);
    }
    if let (Some(id), [file]) = (id, &mut *files) {
        let own = node.store().get(id).await?;
        file.description = own.map(|it| it.file.description);
    }
    let answer = NetworkAnswer {
        status: "success",
        peer_id: node.peer_id().to_string(),
        file_count: files.len(),
        total_files: if is_all {
            files.len() as u64
        } else {
            node.store().catch_up().await;
            node.network_files().await
        },
        files,
        next: page.next.map(write_cursor),
        partial: node.network().directory.partial_peers() > 0,
    };
    Ok(list::whole(room, &answer))
}

/// How many files are asked for at most.
fn limit(asked: Option<usize>) -> Result<usize, ApiError> {
    match asked {
        Some(0) => Err(ApiError::Query("limit must be at least 1".to_owned())),
        asked => Ok(asked.unwrap_or(MAX_LIMIT).min(MAX_LIMIT)),
    }
}

/// What this id means: one file, or several where holders do not agree.
async fn with_id(node: &Node, id: FileId) -> Result<NetworkPage, StoreError> {
    let own = node.store().get(id).await?;
    Ok(NetworkPage {
        files: node.view().with_id(id).await?,
        own: own.map(|it| it.id).into_iter().collect(),
        next: None,
    })
}

/// Behind all that others tell of an id.
const LAST: Option<BlobHash> = Some(BlobHash::from_bytes([0xff; 32]));

/// A cursor is the file id, and the hash where there is one.
fn write_cursor((id, hash): FileKey) -> String {
    let hash = hash.map(|hash| hash.to_string());
    format!("{id}.{}", hash.unwrap_or_default())
}

/// Reads a cursor. An id alone stands for all that are told of it, as in the list of the node's own
/// files: for `of_id`, the one at which they end.
fn read_cursor(text: &str, of_id: Option<BlobHash>) -> Result<FileKey, ApiError> {
    let wrong = || {
        let message = "after and before must be what an earlier answer gave as next, or an id";
        ApiError::Query(message.to_owned())
    };
    let (id, hash) = match text.split_once('.') {
        Some((id, "")) => (id, None),
        Some((id, hash)) => (id, Some(hash.parse().map_err(|_| wrong())?)),
        None => (text, of_id),
    };
    Ok((id.parse().map_err(|_| wrong())?, hash))
}

impl HeldView {
    async fn of(
        node: &Node,
        Held { file, peers }: Held,
        own: bool,
        answering: &HashSet<PeerId>,
    ) -> Result<Self, StoreError> {
        let myself = node.peer_id();
        let here = file.hash.filter(|_| peers.contains(&myself));
        let copy = match here.filter(|_| !own) {
            Some(hash) => node.copies().is_some() && !node.store().holds(&hash).await?,
            None => false,
        };
        let damaged = match (here, node.copies().filter(|_| copy)) {
            (Some(hash), Some(copies)) => copies.store().is_damaged(&hash).await?,
            (Some(hash), None) => node.store().is_damaged(&hash).await?,
            (None, _) => false,
        };
        let copies = match (here.filter(|_| own), node.copies()) {
            (Some(hash), Some(copies)) => Some(copies.spread_of(file.id, &hash).await?),
            _ => None,
        };
        let mut owners = node.network().directory.owners(file.id);
        owners.extend(own.then_some(myself));
        let reachable = peers.iter().filter(|it| answering.contains(it));
        let reachable = reachable.filter(|it| !(damaged && **it == myself));
        let reachable_peers: Vec<_> = reachable.map(ToString::to_string).collect();
        let content_type = file_type::of(file.content_type.as_deref(), &file.name);
        let content_type = content_type.map(Cow::into_owned);
        Ok(Self {
            file_id: file.id.to_string(),
            original_name: file.name,
            size: file.size,
            hash: file.hash.map(|hash| hash.to_string()),
            content_type,
            uploaded_at: file.uploaded_at,
            peers: peers.iter().map(ToString::to_string).collect(),
            owners: owners.iter().map(ToString::to_string).collect(),
            reachable: !reachable_peers.is_empty(),
            reachable_peers,
            damaged,
            own,
            copy,
            copies: copies.as_ref().map(SpreadView::of),
            description: None,
        })
    }
}
