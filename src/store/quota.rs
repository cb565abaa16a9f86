//! The quota: how many bytes of content a store keeps.

use std::sync::Arc;

use parking_lot::Mutex;

use super::StoreError;
use crate::blob::BlobError;

/// A limit of the bytes of all blobs.
pub(super) struct Quota {
    limit: u64,
    /// Of blobs on their way, which the index does not count yet, in bytes.
    reserved: Mutex<u64>,
}

/// Bytes of a blob on its way; given back on drop, when the index counts the blob.
pub(super) struct Reservation {
    quota: Arc<Quota>,
    bytes: u64,
}

impl Quota {
    pub(super) fn of(limit: u64) -> Arc<Self> {
        let reserved = Mutex::default();
        Arc::new(Self { limit, reserved })
    }

    /// How many bytes it is.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What is left of it where so many bytes are kept.
    pub(super) fn left(&self, kept: u64) -> u64 {
        let taken = kept.saturating_add(*self.reserved.lock());
        self.limit.saturating_sub(taken)
    }

    /// Reserves room for a blob; `kept` tells how many bytes the index counts.
    pub(super) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        kept: impl FnOnce() -> u64,
    ) -> Result<Reservation, StoreError> {
        let mut reserved = self.reserved.lock();
        // Looked at under the lock: a blob that is no longer reserved is counted by now.
        let taken = kept().saturating_add(*reserved);
        if taken.saturating_add(bytes) > self.limit {
            return Err(BlobError::OverQuota(self.limit).into());
        }
        *reserved += bytes;
        let quota = Arc::clone(self);
        Ok(Reservation { quota, bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        *self.quota.reserved.lock() -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_it_is_kept() {
        let quota = Quota::of(100);
        let first = quota.reserve(60, || 0).unwrap();
        assert!(quota.reserve(41, || 0).is_err());
        let second = quota.reserve(40, || 0).unwrap();
        drop(first);
        assert!(quota.reserve(1, || 60).is_err());
        drop(second);
        assert!(quota.reserve(40, || 60).is_ok());
        assert!(quota.reserve(41, || 60).is_err());
        assert!(quota.reserve(0, || 200).is_err());
    }
}
