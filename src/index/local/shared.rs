//! What readers and the writing thread share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::index::Totals;
use crate::index::lookup::Lookup;

/// The state of an open index.
pub(super) struct Shared {
    pub(super) lookup: RwLock<Current>,
    pub(super) totals: Mutex<Totals>,
    pub(super) next_seq: AtomicU64,
    pub(super) refusal: Arc<OnceLock<String>>,
}

/// The lookup database in use; None when the index is closed.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) lookup: Option<Arc<Lookup>>,
    /// Counts up with every database made anew.
    pub(super) generation: u64,
}

impl Shared {
    pub(super) fn current(&self) -> Current {
        self.lookup.read().clone()
    }

    pub(super) fn set_current(&self, current: Current) {
        *self.lookup.write() = current;
    }

    pub(super) fn set_totals(&self, totals: Totals) {
        *self.totals.lock() = totals;
    }
}
