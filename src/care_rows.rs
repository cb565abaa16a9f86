//! What is done for a store that several nodes share, and by one of them at a time.
//!
//! Whoever does it has the turn for as long as a lease lasts that is renewed meanwhile. Two that
//! do it at once do no harm, and the same twice.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::unavailable::Unavailable;

/// What one node does for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// It reads everything again.
    Scrub,
    /// It brings anew what is not whole.
    Repair,
}

/// Whose turn it is, and how far it is to read everything again.
#[async_trait]
pub trait CareRows: Send + Sync {
    /// How long a turn lasts that is not renewed.
    fn lease(&self) -> Duration;

    /// Takes the turn, or keeps it; false where another node has it.
    async fn take(&self, care: Care, node: Uuid) -> Result<bool, Unavailable>;

    /// Gives the turn up, if it is this node's.
    async fn leave(&self, care: Care, node: Uuid) -> Result<(), Unavailable>;

    /// How far the scrub is, as it was written down last, and how often that was; empty at first.
    async fn scrub(&self) -> Result<(i64, Vec<u8>), Unavailable>;

    /// Writes down how far the scrub is, unless another node has since `found` times; tells
    /// whether it has.
    async fn note_scrub(&self, found: i64, rounds: &[u8]) -> Result<bool, Unavailable>;
}
