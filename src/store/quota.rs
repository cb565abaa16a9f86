//! The quota: how many bytes of content a store keeps.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::StoreError;
use crate::blob::BlobError;
use crate::hash::BlobHash;

/// A limit of the bytes of all blobs.
pub(super) struct Quota {
    limit: u64,
    coming: Mutex<Coming>,
}

/// Contents on their way, which the index does not count yet.
#[derive(Default)]
struct Coming {
    /// How long each is, in bytes, and how many uploads bring it.
    contents: HashMap<BlobHash, (u64, usize)>,
    /// How long they are together, in bytes.
    bytes: u64,
}

/// Room for a content on its way; given back on drop, when the index counts the content.
pub(super) struct Reservation {
    quota: Arc<Quota>,
    hash: BlobHash,
}

impl Quota {
    pub(super) fn of(limit: u64) -> Arc<Self> {
        let coming = Mutex::default();
        Arc::new(Self { limit, coming })
    }

    /// How many bytes it is.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What is left of it where so many bytes are kept.
    pub(super) fn left(&self, kept: u64) -> u64 {
        let taken = kept.saturating_add(self.coming.lock().bytes);
        self.limit.saturating_sub(taken)
    }

    /// Fails where there is no room for so many bytes more; `kept` tells how many the index counts.
    pub(super) fn check(&self, bytes: u64, kept: impl FnOnce() -> u64) -> Result<(), StoreError> {
        self.check_beside(bytes, kept, &self.coming.lock())
    }

    fn check_beside(
        &self,
        bytes: u64,
        kept: impl FnOnce() -> u64,
        coming: &Coming,
    ) -> Result<(), StoreError> {
        // Looked at under the lock: what is no longer on its way is counted by now.
        let taken = kept().saturating_add(coming.bytes);
        if taken.saturating_add(bytes) > self.limit {
            return Err(BlobError::OverQuota(self.limit).into());
        }
        Ok(())
    }

    /// Reserves room for a content of so many bytes, which takes no more where others bring the
    /// same; `kept` as for [`Quota::check`].
    pub(super) fn reserve(
        self: &Arc<Self>,
        hash: BlobHash,
        bytes: u64,
        kept: impl FnOnce() -> u64,
    ) -> Result<Reservation, StoreError> {
        let mut coming = self.coming.lock();
        if let Some((_, uploads)) = coming.contents.get_mut(&hash) {
            *uploads += 1;
        } else {
            self.check_beside(bytes, kept, &coming)?;
            coming.contents.insert(hash, (bytes, 1));
            coming.bytes += bytes;
        }
        let quota = Arc::clone(self);
        Ok(Reservation { quota, hash })
    }

    /// Whether this content is on its way.
    pub(super) fn expects(&self, hash: &BlobHash) -> bool {
        self.coming.lock().contents.contains_key(hash)
    }

    /// Whether a content of so many bytes is on its way.
    pub(super) fn expects_length(&self, bytes: u64) -> bool {
        let coming = self.coming.lock();
        coming.contents.values().any(|(length, _)| *length == bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut coming = self.quota.coming.lock();
        let Some((bytes, uploads)) = coming.contents.get_mut(&self.hash) else {
            return;
        };
        let bytes = *bytes;
        *uploads -= 1;
        if *uploads == 0 {
            coming.contents.remove(&self.hash);
            coming.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_its_way_counts_until_it_is_kept_and_once_however_often_it_comes() {
        let quota = Quota::of(100);
        let [one, two, three] = [b"1", b"2", b"3"].map(|it| BlobHash::of(it));
        let first = quota.reserve(one, 60, || 0).unwrap();
        assert!(quota.reserve(two, 41, || 0).is_err());
        let again = quota.reserve(one, 60, || 0).unwrap();
        let second = quota.reserve(two, 40, || 0).unwrap();
        assert!(quota.check(1, || 0).is_err());
        assert!(quota.expects(&one) && quota.expects_length(60));
        drop(first);
        assert!(quota.reserve(three, 1, || 0).is_err(), "one more brings it");
        drop(again);
        assert!(!quota.expects(&one) && !quota.expects_length(60));
        assert!(quota.reserve(three, 1, || 60).is_err());
        drop(second);
        assert!(quota.reserve(three, 40, || 60).is_ok());
        assert!(quota.reserve(three, 41, || 60).is_err());
        assert!(quota.check(0, || 200).is_err());
    }
}
