//! Which node counts what an upload takes of the quota, where several have it.

use std::sync::Arc;

use super::id::UploadId;
use crate::store::TakenRoom;
use crate::upload_rows::Ledger;

/// While it lives this node counts what an upload takes of the quota, and otherwise its row does.
pub(super) struct CountedHere {
    ledger: Arc<Ledger>,
    id: UploadId,
    room: Arc<TakenRoom>,
}

impl CountedHere {
    /// This node counts it from now on, as what `room` has.
    pub(super) fn begin(ledger: &Arc<Ledger>, id: UploadId, room: &Arc<TakenRoom>) -> Self {
        ledger.count_here(id.uuid(), true);
        Self {
            ledger: Arc::clone(ledger),
            id,
            room: Arc::clone(room),
        }
    }
}

impl Drop for CountedHere {
    fn drop(&mut self) {
        self.ledger.count_here(self.id.uuid(), false);
        self.room.note(0);
    }
}
