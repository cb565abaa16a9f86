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

/// What the others were told of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerNews {
    /// Which.
    pub id: PeerId,
    /// How often something was heard of what it holds.
    pub count: i64,
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

    /// Tells the others that something was heard of what these hold, which are written down where
    /// nobody has done so yet, and what they know then.
    async fn tell(&self, heard: &[PeerRow]) -> Result<Vec<PeerNews>, Unavailable>;

    /// What was told lately by any node, of peers or of what they hold; again and again.
    async fn hear(&self) -> Result<Vec<PeerNews>, Unavailable>;
}
