//! Introductions: whom a bootstrap server or a peer knows, as they tell alike.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::elements::Elements;
use super::registration::{MAX_BYTES, Registration};

/// The most peers taken of one answer.
const MAX_PEERS: usize = 10_000;

/// Peers that somebody knows, as they go over the wire.
#[derive(Debug, Deserialize)]
pub struct Introductions<'a> {
    #[serde(borrow)]
    peers: Elements<'a>,
    /// Who tells it; bootstrap servers do not.
    #[serde(borrow, rename = "self")]
    this: Option<&'a RawValue>,
    /// What it tells of whoever introduced itself.
    #[serde(borrow, default)]
    you: Option<&'a RawValue>,
}

/// What an answer tells of whoever introduced itself.
#[derive(Debug, Default, Deserialize)]
struct You {
    #[serde(default)]
    reachable: Option<bool>,
    #[serde(default)]
    tried_ms_ago: Option<u64>,
    #[serde(default)]
    also_at: Option<Registration>,
}

impl Introductions<'_> {
    /// The registrations of those that it knows, unchecked; what is none is left out.
    pub fn registrations(&self) -> Vec<Registration> {
        self.peers.read(MAX_BYTES).take(MAX_PEERS).collect()
    }

    /// Whether the teller reaches whoever introduced itself, if it has tried, and how long
    /// before this answer it has; older ones do not tell when.
    pub fn reaches_me(&self) -> Option<(bool, Option<Duration>)> {
        let you = self.you();
        let tried = you.tried_ms_ago.map(Duration::from_millis);
        you.reachable.map(|reached| (reached, tried))
    }

    /// What the teller has heard, signed with the key of whoever introduced itself, of another
    /// address than its own; unchecked.
    pub fn also_at(&self) -> Option<Registration> {
        self.you().also_at
    }

    fn you(&self) -> You {
        let you = self.you.filter(|it| it.get().len() <= MAX_BYTES);
        let you = you.map(|it| serde_json::from_str(it.get()));
        you.and_then(Result::ok).unwrap_or_default()
    }

    /// The registration of whoever tells it, unchecked.
    pub fn teller(&self) -> Option<Registration> {
        let this = self.this.map(RawValue::get);
        let this = this.filter(|it| it.len() <= MAX_BYTES);
        this.and_then(|it| serde_json::from_str(it).ok())
    }
}
