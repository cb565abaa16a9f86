//! Peers that several nodes know together: what each of them has met, all begin with.

use std::time::Duration;

use async_trait::async_trait;

use crate::peer_id::PeerId;
use crate::unavailable::Unavailable;

/// A peer that has answered one of the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRow {
    /// Which.
    pub id: PeerId,
    /// How long ago that was.
    pub age: Duration,
    /// What it told of itself.
    pub registration: Vec<u8>,
}

/// Where all nodes write down whom they know.
#[async_trait]
pub trait PeerRows: Send + Sync + 'static {
    /// Adds those that one node knows to those that the others do; of each the one counts that was
    /// heard of last. Those of whom nothing was heard for `forgotten` are none any more, nor are
    /// more than `most`.
    async fn save(
        &self,
        known: &[PeerRow],
        forgotten: Duration,
        most: usize,
    ) -> Result<(), Unavailable>;

    /// All that are known, the last heard of first.
    async fn load(&self) -> Result<Vec<PeerRow>, Unavailable>;
}
