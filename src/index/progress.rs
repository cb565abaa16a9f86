//! How far the lookup database has come.

use bincode::{Decode, Encode};

use super::Totals;
use super::sums::Sums;

/// How far the database has come, and sums over what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Progress {
    /// The journal it was made from.
    pub(super) journal: [u8; 16],
    /// The sequence number of the next entry to apply.
    pub(super) next_seq: u64,
    /// Whether the entries before were durable in the journal when they were applied.
    pub(super) durable: bool,
    /// The highest id ever applied.
    pub(super) last_id: [u8; 16],
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    /// The sum of the digests of all records, modulo 2^128.
    pub(super) digest: u128,
}

impl Progress {
    /// What it says that the records add up to.
    pub(super) fn sums(&self) -> Sums {
        Sums {
            files: self.files,
            bytes: self.bytes,
            digest: self.digest,
        }
    }

    pub(super) fn totals(&self) -> Totals {
        let Self {
            files,
            bytes,
            blobs,
            blob_bytes,
            ..
        } = *self;
        Totals {
            files,
            bytes,
            blobs,
            blob_bytes,
            ..Totals::default()
        }
    }
}
