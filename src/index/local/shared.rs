//! What readers and the writing thread share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::hash::BlobHash;
use crate::health::Health;
use crate::index::health::Healths;
use crate::index::in_use::InUse;
use crate::index::lookup::Lookup;
use crate::index::{Content, IndexError, Totals};
use crate::place::Place;

/// The state of an open index.
pub(super) struct Shared {
    pub(super) lookup: RwLock<Current>,
    pub(super) totals: Mutex<Totals>,
    pub(super) next_seq: AtomicU64,
    pub(super) refusal: Arc<OnceLock<String>>,
    pub(super) in_use: Arc<InUse>,
    pub(super) healths: Healths,
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

    /// What is known of a content. Known in memory, so no blocking thread is needed.
    pub(super) fn content(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError> {
        let lookup = self.current().lookup.ok_or(IndexError::Closed)?;
        let users = lookup.users(hash);
        Ok((users > 0).then(|| Content {
            place: Place::of(hash),
            users,
            checked_at: self.healths.checked_at(hash),
            is_damaged: self.healths.is_found(hash, Health::Damaged),
            is_unreadable: self.healths.is_found(hash, Health::Unreadable),
        }))
    }

    pub(super) fn set_current(&self, current: Current) {
        *self.lookup.write() = current;
    }

    pub(super) fn set_totals(&self, totals: Totals) {
        *self.totals.lock() = totals;
    }
}
