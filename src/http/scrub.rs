//! How far the scrub is.

use serde::Serialize;
use utoipa::ToSchema;

use crate::node::scrub::{Ended, Round, Scrub};
use crate::record::Timestamp;

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
        }
    }
}
