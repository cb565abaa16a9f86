//! Sums over sets of records, which tell whether two sets are the same without
//! holding either in memory.

/// How many records there are, and the sums of their files' sizes and of their digests
/// modulo 2^64 and 2^128. Over a part of the journal they may pass through zero downwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) digest: u128,
}

impl Sums {
    /// Takes in a record.
    pub(super) fn add(&mut self, digest: u128, size: u64) {
        self.files = self.files.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(size);
        self.digest = self.digest.wrapping_add(digest);
    }
}
