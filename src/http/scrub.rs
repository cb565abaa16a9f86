//! `/api/p2p/scrub`: how far the scrub is, and what is not whole; and to have everything read now.

use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::switch::Switch;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::index::Totals;
use crate::node::Node;
use crate::node::scrub::{Ended, Round, Scrub};
use crate::record::Timestamp;
use crate::store::{FilesOf, Store};
use crate::text_form;
use crate::web::error::ApiError;

/// How many files are told of one content.
const FILES_OF_ONE: usize = 4;

/// Of what.
#[derive(Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Of {
    /// What other members of the network have this node hold.
    Copies,
}

impl FromStr for Of {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "copies" => Ok(Self::Copies),
            _ => Err("has to be copies, or left out"),
        }
    }
}

impl<'de> Deserialize<'de> for Of {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_form::read(deserializer)
    }
}

/// What is read.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AskQuery {
    /// `copies` for what the node holds for other members of its network, in place of what its own
    /// files have.
    #[param(inline)]
    of: Option<Of>,
}

/// Which contents to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ScrubQuery {
    /// `copies` for what the node holds for other members of its network, in place of what its own
    /// files have.
    #[param(inline)]
    of: Option<Of>,
    /// Only contents behind this one: `next` of the answer before.
    #[param(pattern = "^[0-9a-f]{64}$")]
    after: Option<String>,
    /// `1` to tell of which files they are, which takes a look at all.
    #[param(inline)]
    files: Option<Switch>,
}

/// The answer of `GET /api/p2p/scrub`.
#[derive(Serialize, ToSchema)]
pub(super) struct ScrubAnswer {
    status: &'static str,
    /// How far it is; null where contents are in memory alone.
    scrub: Option<ScrubView>,
    /// Whether the node also holds contents for other members of its network, of which it tells
    /// with `of=copies`.
    holds_copies: bool,
    files: u64,
    /// How many contents are stored, and how many bytes they have.
    blobs: u64,
    blob_bytes: u64,
    /// Contents that files need and that are not whole, as far as has shown.
    unsound: Vec<UnsoundView>,
    /// Behind which one there may be more.
    next: Option<String>,
}

/// Content that is not whole.
#[derive(Serialize, ToSchema)]
struct UnsoundView {
    hash: String,
    /// Whether it is that the disk does not give it; else it is damaged or missing.
    unreadable: bool,
    /// Whether a peer is known that claims to have it: it is repaired from there.
    repairable: bool,
    /// Of which files it is, if that was asked for: the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<ConcernedView>>)]
    files: Option<Vec<ConcernedView>>,
    /// How many more it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u64>)]
    more_files: Option<u64>,
}

/// A file whose content is not whole.
#[derive(Serialize, ToSchema)]
struct ConcernedView {
    file_id: String,
    original_name: String,
}

/// The answer of `POST /api/p2p/scrub`.
#[derive(Serialize, ToSchema)]
pub(super) struct AskedAnswer {
    status: &'static str,
    /// The number of the round: it is done once `last` has this number or a greater one.
    number: u64,
}

/// Tells how far it is, and what is not whole.
pub(super) async fn look(
    State(node): State<Arc<Node>>,
    query: Result<Query<ScrubQuery>, QueryRejection>,
) -> Result<Json<ScrubAnswer>, ApiError> {
    let Query(ScrubQuery { of, after, files }) = query?;
    let (scrub, store) = looked_after(&node, of)?;
    let after = after.map(|it| it.parse::<BlobHash>()).transpose();
    let after = after.map_err(|_| ApiError::Query("after must be a hash".to_owned()))?;
    // Before what is not whole is looked up, so that it has all that the round has found.
    // Where other nodes cannot be asked it is as it was seen last.
    let _ = scrub.look().await;
    let scrub = ScrubView::of(scrub);
    let unsound = store.unsound(after).await?;
    let mut contents: Vec<_> = unsound.contents.iter().map(|it| view(&node, it)).collect();
    if files == Some(Switch::On) && !contents.is_empty() {
        let hashes = unsound.contents.iter().map(|(hash, _)| *hash).collect();
        let mut files = store.files_of(hashes, FILES_OF_ONE).await?;
        for (content, (hash, _)) in contents.iter_mut().zip(&unsound.contents) {
            content.add(files.remove(hash).unwrap_or_default());
        }
    }
    let totals = store.totals();
    let (files, blobs) = counted(&node, of, totals);
    Ok(Json(ScrubAnswer {
        status: "success",
        scrub,
        holds_copies: node.copies().is_some(),
        files,
        blobs,
        blob_bytes: totals.blob_bytes,
        unsound: contents,
        next: unsound.next.map(|it| it.to_string()),
    }))
}

/// Has everything read now, as fast as that goes.
pub(super) async fn ask(
    State(node): State<Arc<Node>>,
    query: Result<Query<AskQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<AskedAnswer>), ApiError> {
    let Query(AskQuery { of }) = query?;
    let (scrub, _) = looked_after(&node, of)?;
    let number = scrub.ask().await?.ok_or(ApiError::NoScrub)?;
    let status = "success";
    Ok((StatusCode::ACCEPTED, Json(AskedAnswer { status, number })))
}

/// What reads what, and that.
fn looked_after(node: &Node, of: Option<Of>) -> Result<(&Scrub, &Store), ApiError> {
    match of {
        None => Ok((node.scrub(), node.store())),
        Some(Of::Copies) => {
            let (scrub, _) = node.care_of_copies().ok_or(ApiError::NoCopies)?;
            let copies = node.copies().ok_or(ApiError::NoCopies)?;
            Ok((scrub, copies.store()))
        }
    }
}

/// How many files there are, and contents. Of what is held for others notes are left out, and their
/// content of no bytes.
fn counted(node: &Node, of: Option<Of>, totals: Totals) -> (u64, u64) {
    match (of, node.copies()) {
        (Some(Of::Copies), Some(copies)) => {
            let held = copies.held().files;
            let has_notes = totals.files > held;
            (held, totals.blobs.saturating_sub(u64::from(has_notes)))
        }
        _ => (totals.files, totals.blobs),
    }
}

fn view(node: &Node, (hash, health): &(BlobHash, Health)) -> UnsoundView {
    UnsoundView {
        hash: hash.to_string(),
        unreadable: *health == Health::Unreadable,
        repairable: node.fetcher().is_held(hash),
        files: None,
        more_files: None,
    }
}

impl UnsoundView {
    fn add(&mut self, FilesOf { first, more }: FilesOf) {
        let first = first.into_iter().map(|it| ConcernedView {
            file_id: it.id.to_string(),
            original_name: it.file.name,
        });
        self.files = Some(first.collect());
        self.more_files = Some(more);
    }
}

/// How far it is to read everything stored.
#[derive(Serialize, ToSchema)]
pub(super) struct ScrubView {
    /// How often that is done, in seconds; null where it is only done when it is asked for.
    every_seconds: Option<u64>,
    /// The round that is under way.
    round: Option<RoundView>,
    /// The last one that has come to its end.
    last: Option<EndedView>,
}

/// A round that is under way.
#[derive(Serialize, ToSchema)]
struct RoundView {
    /// Later ones have greater numbers.
    number: u64,
    #[schema(value_type = String)]
    began_at: Timestamp,
    /// Whether it goes as fast as it can, since it was asked for.
    is_urgent: bool,
    /// How many contents were proven.
    blobs: u64,
    /// How much was read, in bytes.
    bytes: u64,
    /// What could not be looked at, for a reason that is in the log.
    unchecked: u64,
}

/// A round that has come to its end.
#[derive(Serialize, ToSchema)]
struct EndedView {
    number: u64,
    #[schema(value_type = String)]
    began_at: Timestamp,
    #[schema(value_type = String)]
    ended_at: Timestamp,
    blobs: u64,
    bytes: u64,
    unchecked: u64,
    /// How many contents were known to be damaged then.
    damaged: u64,
    /// How many contents the disk did not give.
    unreadable: u64,
    /// What was wrong with files beside the contents, such as the journal: the first 32 of them.
    problems: Vec<String>,
}

impl ScrubView {
    pub(super) fn of(scrub: &Scrub) -> Option<Self> {
        let rounds = scrub.rounds()?;
        Some(Self {
            every_seconds: scrub.every().map(|it| it.as_secs()),
            round: rounds.now.map(RoundView::from),
            last: rounds.last.map(EndedView::from),
        })
    }
}

impl From<Round> for RoundView {
    fn from(round: Round) -> Self {
        Self {
            number: round.number,
            began_at: Timestamp(round.began_at),
            is_urgent: round.is_urgent,
            blobs: round.done.whole,
            bytes: round.done.bytes,
            unchecked: round.done.unchecked,
        }
    }
}

impl From<Ended> for EndedView {
    fn from(ended: Ended) -> Self {
        Self {
            number: ended.number,
            began_at: Timestamp(ended.began_at),
            ended_at: Timestamp(ended.ended_at),
            blobs: ended.done.whole,
            bytes: ended.done.bytes,
            unchecked: ended.done.unchecked,
            damaged: ended.damaged,
            unreadable: ended.unreadable,
            problems: ended.problems,
        }
    }
}
