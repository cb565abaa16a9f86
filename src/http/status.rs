//! How the node is: `GET /api/p2p/status` for people, `GET /health` and `GET /ready` for
//! supervisors.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::access;
use super::peers::PeerView;
use super::repair::RepairView;
use super::scrub::ScrubView;
use super::trash::TrashView;
use crate::access::{Access, Writers};
use crate::node::Node;
use crate::peer::membership::Standing;
use crate::peer::unanswered::Unanswered;
use crate::web::error::ApiError;
use crate::web::transfers::{RECEIVING, TransferShare};

/// The answer of `GET /api/p2p/status`.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusAnswer {
    status: &'static str,
    peer: PeerView,
    peers_discovered: usize,
    /// How many of them answered when they were last asked.
    peers_reachable: usize,
    local_files: u64,
    storage_dir: String,
    /// How many files `/api/p2p/network` lists, as its `total_files` tells.
    network_files: u64,
    forged_messages: u64,
    /// The size of all files together, in bytes, as if each had its own content.
    file_bytes: u64,
    blobs: u64,
    /// The content that is kept, in bytes: each once, however many files have it.
    blob_bytes: u64,
    /// How many bytes more can be kept now, within the quota and what is free on the disk; absent
    /// where neither bounds it, and in events.
    #[serde(skip_serializing_if = "Option::is_none")]
    room_bytes: Option<u64>,
    /// How many bytes are kept at most; absent where only the disk limits that.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota_bytes: Option<u64>,
    /// Whether peers reach this node where it says it is: false where those that tell have
    /// tried in vain, null where that is not known.
    reachable: Option<bool>,
    /// Where another node answers with the key of this one, as a copy of its storage directory
    /// does; null where nobody was heard of.
    key_also_at: Option<String>,
    /// Those that `--peer` and `--bootstrap` name and that do not answer, or are not taken.
    unanswered: Vec<Unanswered>,
    /// Whether some peers have told of more files than there is room for here, so that of these
    /// the newest are known only.
    partial: bool,
    /// How far it is to read everything stored, which is done once in a while; null where contents
    /// are in memory alone.
    scrub: Option<ScrubView>,
    /// How what is not whole is repaired; null where contents are in memory alone.
    repair: Option<RepairView>,
    /// What was removed and can be brought back; not counted in the files, but in the contents.
    trash: TrashView,
    /// How it stands with the copies that members of the network hold for each other; absent where
    /// the node holds none.
    #[serde(skip_serializing_if = "Option::is_none")]
    copies: Option<CopiesView>,
}

/// How it stands with copies.
#[derive(Serialize, ToSchema)]
struct CopiesView {
    /// On how many members the files of this node are to be, where they do not say so.
    copies: u8,
    /// How many bytes it holds for others at most.
    offer_bytes: u64,
    /// How many of them are used: the contents that it holds for others, each once.
    used_bytes: u64,
    /// How many files of others it holds; several may have one content.
    held_files: u64,
    /// Own files that are to have copies, and files of owners that are gone for which this node
    /// answers.
    files: u64,
    /// Those of them that fewer members hold than are to.
    under_replicated: u64,
    /// Other members that are there.
    members: u64,
    /// Those that are gone.
    gone: u64,
    /// How many of the contents that it holds are known to be damaged; they come again from others.
    damaged: u64,
    /// How many of them the disk did not give the last time.
    unreadable: u64,
    /// How many were repaired since the start.
    repaired: u64,
    /// How far it is to read all that it holds.
    scrub: Option<ScrubView>,
}

impl CopiesView {
    fn of(node: &Node) -> Option<Self> {
        let (copies, (scrub, repair)) = (node.copies()?, node.care_of_copies()?);
        let (options, counts, held) = (copies.options(), copies.counts(), copies.held());
        let damage = copies.store().damage();
        Some(Self {
            copies: options.copies,
            offer_bytes: options.offer,
            used_bytes: held.bytes,
            held_files: held.files,
            files: counts.files,
            under_replicated: counts.under_replicated,
            members: counts.members,
            gone: counts.gone,
            damaged: damage.known,
            unreadable: damage.unreadable,
            repaired: repair.repaired.get(),
            scrub: ScrubView::of(scrub),
        })
    }
}

impl StatusAnswer {
    pub(super) async fn of(node: &Node) -> Self {
        node.store().catch_up().await;
        // Where other nodes cannot be asked it is as it was seen last.
        let _ = node.scrub().look().await;
        let totals = node.store().totals();
        Self {
            status: "success",
            peer: PeerView::of_self(node),
            peers_discovered: node.network().registry.len(),
            peers_reachable: node.network().registry.answering().len(),
            local_files: totals.files,
            storage_dir: node.store().storage().to_string(),
            network_files: node.network_files().await,
            forged_messages: node.network().messages.forged.get(),
            file_bytes: totals.bytes,
            blobs: totals.blobs,
            blob_bytes: totals.blob_bytes,
            room_bytes: None,
            quota_bytes: node.store().quota(),
            reachable: is_reached(node),
            key_also_at: node.network().copied_key.other().map(|it| it.to_string()),
            unanswered: node.network().unanswered.list(),
            partial: node.network().directory.partial_peers() > 0,
            scrub: ScrubView::of(node.scrub()),
            repair: RepairView::of(node),
            trash: TrashView::of(node.store()),
            copies: CopiesView::of(node),
        }
    }
}

/// Tells what the node holds and knows.
pub(super) async fn status(State(node): State<Arc<Node>>) -> Json<StatusAnswer> {
    let mut answer = StatusAnswer::of(&node).await;
    let room = node.store().room().await;
    answer.room_bytes = (room < u64::MAX).then_some(room);
    Json(answer)
}

/// The answer of `GET /health`.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    status: &'static str,
    version: &'static str,
    /// Whether an upload of somebody who may write would be taken now.
    writable: bool,
    /// Why it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    reason: Option<Cow<'static, str>>,
    writers: Writers,
    #[serde(flatten)]
    asker: Asker,
    /// How many contents are known to be damaged; this and the next four are for those who may
    /// read.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<u64>,
    /// How many contents could not be read the last time, since the disk failed or their files are
    /// not for this node. Nobody knows whether they are damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<u64>,
    /// How many of these no peer has that is known, as it was when that was last looked at: others
    /// come again by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    unobtainable: Option<u64>,
    /// How many changes of files the index has lost for good. Until that is settled, content that
    /// no file needs is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_changes: Option<u64>,
    /// The directories of contents that were empty at the start although files need what belongs
    /// there. Nothing is put there until a start that finds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    empty: Option<Vec<String>>,
    /// How it stands with the node in its network, if it is to be a member of one: `member`,
    /// `ends_soon`, `expired` or `revoked`.
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
    /// Whether long content is proven against its hash before it is given out.
    verify_reads: bool,
}

/// What whoever asks may do.
#[derive(Serialize, ToSchema)]
struct Asker {
    /// Whether whoever asks may write.
    may_write: bool,
    /// Whether whoever asks may read; where not, the node is private.
    may_read: bool,
    /// Whether the node knows the token that it is asked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    knows_token: Option<bool>,
}

impl Asker {
    fn of(access: &Access, headers: &HeaderMap) -> Self {
        Self {
            may_write: access::may_write(access, headers),
            may_read: access::may_read(access, headers),
            knows_token: access::knows_token(access, headers),
        }
    }
}

/// How it stands with a node in its network, if it is to be a member of one.
fn standing_of(node: &Node) -> Option<Standing> {
    let channel = node.network().client.reach().members.as_ref()?;
    Some(channel.standing())
}

/// Fails as an upload would fail now, whoever sent it.
pub(super) async fn check_writable(node: &Node, access: &Access) -> Result<(), ApiError> {
    if access.writers() == Writers::Nobody {
        return Err(ApiError::NobodyWrites);
    }
    let checked = node.store().check_writable().await;
    checked.map_err(ApiError::NotReady)
}

/// Tells whether the node works. One that takes no changes now, or knows that content is
/// damaged or unreadable or that changes are lost, or is a member no longer, is degraded; it
/// still answers with 200, since it serves what it has.
pub(super) async fn health(
    State(node): State<Arc<Node>>,
    State(access): State<Arc<Access>>,
    share: TransferShare,
    headers: HeaderMap,
) -> Json<HealthAnswer> {
    let checked = check_writable(&node, &access).await;
    let checked = checked.and_then(|()| share.check(RECEIVING));
    let reason = checked.err().map(|error| error.message());
    // What a node has stored is nobody's business who may not read it.
    let may_read = access::may_read(&access, &headers);
    let told = |count: u64| may_read.then_some(count);
    let empty = node.store().bare_dirs();
    let damage = node.store().damage();
    let (damaged, unreadable) = (told(damage.known), told(damage.unreadable));
    let lost_changes = told(node.store().lost_changes());
    let is_sound = [damaged, unreadable, lost_changes]
        .iter()
        .all(|it| it.is_none_or(|it| it == 0));
    let standing = standing_of(&node).filter(|_| may_read);
    let is_heard = standing.is_none_or(Standing::is_member);
    Json(HealthAnswer {
        status: if reason.is_none() && is_sound && is_heard {
            "healthy"
        } else {
            "degraded"
        },
        version: env!("CARGO_PKG_VERSION"),
        writable: reason.is_none(),
        reason,
        writers: access.writers(),
        asker: Asker::of(&access, &headers),
        damaged,
        unreadable,
        unobtainable: told(node.repair().to_repair().unobtainable),
        lost_changes,
        empty: may_read.then(|| empty.to_vec()).filter(|it| !it.is_empty()),
        membership: standing.map(Standing::code),
        verify_reads: node.store().storage().verifies_reads(),
    })
}

/// The answer of `GET /ready`.
#[derive(Serialize, ToSchema)]
pub(super) struct ReadyAnswer {
    status: &'static str,
    writers: Writers,
    /// Whether peers reach this node; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
    /// As in `/health`.
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<&'static str>,
}

/// Whether peers reach this node, if that is known. Of a network that it is a member of no longer
/// nobody does, whatever was told before.
fn is_reached(node: &Node) -> Option<bool> {
    match standing_of(node) {
        Some(standing) if !standing.is_member() => Some(false),
        _ => node.network().reachability.get(Instant::now()),
    }
}

/// Tells whether the node does all it is there for, uploads among it. One that is a member no
/// longer serves its own clients all the same, so it is degraded and answers 200. A gate before
/// every route says that it shuts down.
pub(super) async fn ready(
    State(node): State<Arc<Node>>,
    State(access): State<Arc<Access>>,
    share: TransferShare,
    headers: HeaderMap,
) -> Result<Json<ReadyAnswer>, ApiError> {
    check_writable(&node, &access).await?;
    share.check(RECEIVING)?;
    let standing = standing_of(&node).filter(|_| access::may_read(&access, &headers));
    let is_heard = standing.is_none_or(Standing::is_member);
    Ok(Json(ReadyAnswer {
        status: if is_heard { "ready" } else { "degraded" },
        writers: access.writers(),
        reachable: is_reached(&node),
        membership: standing.map(Standing::code),
    }))
}
