//! How what is stored and not whole comes again from peers, as the node tells of it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::node::Node;
use crate::node::repair::ToRepair;

/// How what is not whole is repaired.
#[derive(Serialize, ToSchema)]
pub(super) struct RepairView {
    /// The hash of what is repaired now.
    now: Option<String>,
    /// How many contents were repaired since the start.
    repaired: u64,
    /// How many bytes peers have brought for that.
    fetched_bytes: u64,
    /// How many contents are not whole and held by no peer that is known, as it was when that was
    /// last looked at.
    unobtainable: u64,
    /// How many are held by peers and could not be repaired yet; they are tried again.
    failing: u64,
}

impl RepairView {
    /// None where contents are in memory alone.
    pub(super) fn of(node: &Node) -> Option<Self> {
        if !node.store().can_be_scrubbed() {
            return None;
        }
        let repair = node.repair();
        let ToRepair {
            unobtainable,
            failing,
        } = repair.to_repair();
        Some(Self {
            now: repair.now().map(|it| it.to_string()),
            repaired: repair.repaired.get(),
            fetched_bytes: repair.fetched.get(),
            unobtainable,
            failing,
        })
    }
}
