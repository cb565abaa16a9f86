//! What nodes tell each other when they compare whom they know.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::items::{self, Items, MAX_BUCKETS};
use crate::peer::elements::Elements;
use crate::peer::holdings::Holdings;
use crate::peer::registration::{MAX_BYTES, Registration};

/// The longest question, in bytes: the numbers of as many peers as a node knows, or as many
/// registrations as are told at once.
pub const MAX_QUESTION: usize = 256 << 10;
/// The longest answer, in bytes.
pub(super) const MAX_ANSWER: usize = 512 << 10;
/// The most numbers of one list.
pub(super) const MAX_NUMBERS: usize = 4096;
/// The most registrations told at once.
pub(super) const MAX_TOLD: usize = 128;
/// About how long they are at most together, in bytes.
pub const MAX_TOLD_BYTES: usize = 160 << 10;

/// A question: whether the node that is asked knows the same peers to be there. It is asked once
/// more, with lists, where it does not, and once more with what the other lacks.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
pub struct Question {
    /// Who asks.
    pub peer_id: String,
    /// Begins what each number is the hash of: 16 lowercase hex digits.
    #[serde(default)]
    pub salt: String,
    /// The exclusive or of the numbers of all who are there, in the same form.
    #[serde(default)]
    pub root: String,
    /// What the one that asks holds, where that has changed lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdings: Option<Holdings>,
    /// In how many buckets the answer before has counted its peers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buckets: Option<u64>,
    /// Which of them differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differing: Vec<u64>,
    /// The numbers of the peers in those that are there, one after the other.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub there: String,
    /// The same of those that were not asked yet.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub untried: String,
    /// The registrations that the other lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Registration>,
    /// The numbers of those that the other has told, and that do not answer the one that asks.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub silent: String,
}

/// The answer to a question.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answer {
    /// Whether the node that answers knows the same peers to be there.
    pub same: bool,
    /// Whether it reaches the one that asks; null where it has not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// How long ago it last tried, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_ms_ago: Option<u64>,
    /// The node that answers, where the two differ.
    #[serde(rename = "self", skip_serializing_if = "Option::is_none")]
    pub this: Option<Registration>,
    /// The same number of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub root: String,
    /// A number of each bucket.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub buckets: String,
    /// Registrations that the one that asks lacks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Registration>,
    /// The numbers of those that it has told that are not there for the node that answers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wanted: String,
    /// The numbers of those whose registrations it has told and that do not answer here.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub silent: String,
}

/// An answer as it comes, of which nothing is made that is not wanted.
#[derive(Debug, Deserialize)]
pub(super) struct Heard<'a> {
    #[serde(default)]
    pub(super) same: bool,
    #[serde(default)]
    pub(super) reachable: Option<bool>,
    #[serde(default)]
    pub(super) tried_ms_ago: Option<u64>,
    #[serde(borrow, default, rename = "self")]
    this: Option<&'a RawValue>,
    #[serde(default)]
    root: String,
    #[serde(default)]
    buckets: String,
    #[serde(borrow, default)]
    peers: Option<Elements<'a>>,
    #[serde(default)]
    wanted: String,
    #[serde(default)]
    silent: String,
}

/// Why a question is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoQuestion {
    /// Who asks is no peer.
    #[error("peer_id must be a UUID")]
    PeerId,
    /// A number has another form.
    #[error("{0} must be numbers of 16 lowercase hex digits, so many at most")]
    Numbers(&'static str),
    /// There are no such buckets.
    #[error("buckets must be 1 to {MAX_BUCKETS}, and differing some of them")]
    Buckets,
    /// Too much is told at once.
    #[error("peers must be {MAX_TOLD} registrations at most")]
    TooMany,
}

impl Question {
    pub(super) fn opening(peer_id: String, salt: u64, items: &Items) -> Self {
        Self {
            peer_id,
            salt: items::write([salt]),
            root: items::write([items.root()]),
            ..Self::default()
        }
    }

    /// The numbers of those who are there, and of those who were not asked yet.
    pub(super) fn numbers(&self) -> Result<[Vec<u64>; 2], NoQuestion> {
        let read =
            |name, text: &str| items::read(text, MAX_NUMBERS).ok_or(NoQuestion::Numbers(name));
        Ok([read("there", &self.there)?, read("untried", &self.untried)?])
    }
}

impl Heard<'_> {
    pub(super) fn teller(&self) -> Option<Registration> {
        let this = self.this.map(RawValue::get);
        let this = this.filter(|it| it.len() <= MAX_BYTES);
        this.and_then(|it| serde_json::from_str(it).ok())
    }

    pub(super) fn root(&self) -> Option<u64> {
        one(&self.root)
    }

    /// The number of each bucket; none where there are more than may be.
    pub(super) fn buckets(&self) -> Vec<u64> {
        items::read(&self.buckets, MAX_BUCKETS).unwrap_or_default()
    }

    pub(super) fn registrations(&self) -> Vec<Registration> {
        let peers = self.peers.iter();
        let peers = peers.flat_map(|it| it.read(MAX_BYTES));
        peers.take(MAX_TOLD).collect()
    }

    pub(super) fn wanted(&self) -> Vec<u64> {
        items::read(&self.wanted, MAX_NUMBERS).unwrap_or_default()
    }

    pub(super) fn silent(&self) -> Vec<u64> {
        items::read(&self.silent, MAX_NUMBERS).unwrap_or_default()
    }
}

/// The one number of a text that has one.
pub(super) fn one(text: &str) -> Option<u64> {
    match items::read(text, 1)?[..] {
        [number] => Some(number),
        _ => None,
    }
}

/// As many of these as one message may have.
pub(super) fn some_of(registrations: impl Iterator<Item = Registration>) -> Vec<Registration> {
    let mut bytes = 0;
    let some = registrations.take(MAX_TOLD).take_while(|it| {
        bytes += serde_json::to_string(it).map_or(0, |text| text.len());
        bytes <= MAX_TOLD_BYTES
    });
    some.collect()
}
