//! Packs: objects in which many short contents are. What those who write them and those who know
//! where contents are have to tell each other.

use std::sync::Arc;

use async_trait::async_trait;

use crate::hash::BlobHash;
use crate::place::Place;
use crate::unavailable::Unavailable;

/// How many bytes a content takes in a pack beside its own.
pub const ENTRY_OVERHEAD: u64 = 44;

/// What is done for a pack until nobody counts on its lease any more. Dropping it ends that.
pub trait Lease: Send + Sync + 'static {
    /// A file was made of what is in it, so nothing is left that somebody has to put in order.
    fn kept(&self);
}

/// A place for a pack, which nobody collects while one of these lives.
#[derive(Clone)]
pub struct PackLease {
    /// The object that is to be the pack.
    pub place: Place,
    lease: Arc<dyn Lease>,
}

/// Where a content was kept together with others.
pub struct Gathered {
    /// Where in which pack.
    pub place: Place,
    /// How long the pack is, in bytes.
    pub pack_bytes: u64,
    /// The pack's.
    pub lease: PackLease,
}

/// A content in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedContent {
    /// Its hash.
    pub hash: BlobHash,
    /// Where in which pack.
    pub place: Place,
    /// Its length, in bytes.
    pub size: u64,
}

/// A content that was written to another pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Which.
    pub hash: BlobHash,
    /// Where it was.
    pub from: Place,
    /// Where it is, too.
    pub to: Place,
}

/// Where all nodes write down what they know of packs.
#[async_trait]
pub trait PackRows: Send + Sync + 'static {
    /// Whether all nodes know of packs, as far as this one has heard: they write none before.
    fn are_known(&self) -> bool;

    /// A place for a pack, of which nobody has ever heard.
    async fn lease(&self) -> Result<PackLease, Unavailable>;

    /// What files need in a few packs of which they need less than half, and which nobody else
    /// looks at for a while; nothing of what is known to be damaged.
    async fn sparse(&self) -> Result<Vec<PackedContent>, Unavailable>;

    /// Has files find contents where they were written to, all of them in one pack of so many
    /// bytes, at once: those that are still needed, and still where they were. Tells how many.
    async fn moved(
        &self,
        pack: &PackLease,
        pack_bytes: u64,
        contents: &[Moved],
    ) -> Result<u64, Unavailable>;
}

impl PackLease {
    /// The lease of a place.
    pub fn new(place: Place, lease: impl Lease) -> Self {
        let lease = Arc::new(lease);
        Self { place, lease }
    }

    /// A file was made of what is in the pack.
    pub fn kept(&self) {
        self.lease.kept();
    }
}
