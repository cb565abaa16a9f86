//! How far a node is in reading everything it stores, as it tells.

use serde::{Deserialize, Serialize};

use super::output;

/// How far it is.
#[derive(Deserialize, Serialize)]
pub(super) struct Scrub {
    every_seconds: Option<u64>,
    pub(super) round: Option<Round>,
    pub(super) last: Option<LastRound>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct Round {
    pub(super) number: u64,
    began_at: String,
    is_urgent: bool,
    blobs: u64,
    pub(super) bytes: u64,
    unchecked: u64,
}

#[derive(Deserialize, Serialize)]
pub(super) struct LastRound {
    pub(super) number: u64,
    began_at: String,
    ended_at: String,
    blobs: u64,
    bytes: u64,
    pub(super) unchecked: u64,
    damaged: u64,
    unreadable: u64,
    // Older nodes tell none.
    #[serde(default)]
    pub(super) problems: Vec<String>,
}

impl Scrub {
    /// The same in words, of a node that keeps so many bytes; None where nothing was read and
    /// nothing will be.
    pub(super) fn told(&self, kept: u64) -> Option<String> {
        let last = self.last.as_ref().filter(|it| it.blobs > 0);
        let ended = last.map(|last| {
            let at = output::field(&last.ended_at);
            format!("what is stored was last read and proven at {at}Z")
        });
        let Some(round) = &self.round else {
            return ended;
        };
        let (read, kept) = (output::size(round.bytes), output::size(kept));
        let ended = ended.map(|it| format!("; {it}")).unwrap_or_default();
        Some(format!("has read {read} of {kept}{ended}"))
    }
}
