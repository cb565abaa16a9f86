//! What is remembered of an entry without its pack.

use crate::blob::pack_format::ENTRY_HEADER;
use crate::hash::BlobHash;

/// The beginning of a blob's hash. Different blobs may share it, so whoever looks for a
/// blob compares the whole hash with the entry's header.
pub(super) type Prefix = [u8; 8];

/// The beginning of a hash.
pub(super) fn prefix(hash: &BlobHash) -> Prefix {
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// An entry of some pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackEntry {
    pub(super) prefix: Prefix,
    /// Where the entry begins in its pack, in bytes.
    pub(super) offset: u32,
    /// The length of the blob, in bytes.
    pub(super) len: u32,
}

impl PackEntry {
    /// Where the entry is, in the pack with this number.
    pub(super) fn extent(&self, pack: u32) -> Extent {
        Extent {
            pack,
            offset: self.offset,
            len: self.len,
        }
    }
}

/// Where an entry is. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Extent {
    /// The number of the pack.
    pub(super) pack: u32,
    /// Where the entry begins, in bytes.
    pub(super) offset: u32,
    /// The length of the blob, in bytes.
    pub(super) len: u32,
}

impl Extent {
    /// How much of its pack the entry takes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(ENTRY_HEADER) + u64::from(self.len)
    }
}
