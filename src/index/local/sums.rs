//! Sums over sets of records, which tell whether two sets are the same without
//! holding either in memory.

use crate::index::IndexError;
use crate::index::codec::{self, Entry, decode_record, encode_record};
use crate::index::journal::Piece;
use crate::index::lookup::{self, Lookup, Progress};

/// How many records there are, and the sum of their digests modulo 2^128.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) files: u64,
    pub(super) digest: u128,
}

impl Sums {
    /// Takes in a piece of the journal.
    pub(super) fn count(&mut self, piece: &Piece) {
        let (Piece::Snapshot(batch, _) | Piece::Log(batch)) = piece;
        for entry in &batch.entries {
            match entry {
                Entry::Added(record) => {
                    self.files += 1;
                    let digest = codec::digest(&encode_record(record.clone()));
                    self.digest = self.digest.wrapping_add(digest);
                }
                Entry::Removed { digest, .. } => {
                    self.files = self.files.wrapping_sub(1);
                    self.digest = self.digest.wrapping_sub(*digest);
                }
            }
        }
    }

    /// Why the lookup database does not hold what these sums were made of; None if it does.
    pub(super) fn disagreement(
        &self,
        lookup: &Lookup,
        progress: &Progress,
    ) -> Result<Option<String>, IndexError> {
        let scan = Scan::of(lookup)?;
        let said = Self {
            files: progress.files,
            digest: progress.digest,
        };
        Ok(if scan.sums != *self {
            Some(format!(
                "it holds {} files where the journal has {}",
                scan.sums.files, self.files
            ))
        } else if said != *self || progress.bytes != scan.bytes || progress.blobs != scan.blobs {
            Some("its counts are not those of its files".into())
        } else if scan.names != scan.expected_names {
            Some("its names are not those of its files".into())
        } else if scan.hashes != scan.expected_hashes {
            Some("its hashes are not those of its files".into())
        } else {
            None
        })
    }
}

/// What one pass over the whole lookup database adds up.
#[derive(Default)]
struct Scan {
    sums: Sums,
    bytes: u64,
    blobs: u64,
    names: u128,
    expected_names: u128,
    hashes: u128,
    expected_hashes: u128,
}

impl Scan {
    fn of(lookup: &Lookup) -> Result<Self, IndexError> {
        let mut scan = Self::default();
        lookup.scan(|kind, key, value| {
            match kind {
                lookup::FILE => scan.file(value)?,
                lookup::NAME => scan.names = scan.names.wrapping_add(codec::digest(key)),
                lookup::HASH => {
                    let users = u128::from(codec::decode::<u64>(value)?);
                    let digest = codec::digest(key).wrapping_mul(users);
                    scan.hashes = scan.hashes.wrapping_add(digest);
                    scan.blobs += 1;
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(scan)
    }

    fn file(&mut self, value: &[u8]) -> Result<(), IndexError> {
        let record = decode_record(value)?;
        let digest = |key: &[u8]| codec::digest(key.split_at(1).1);
        let name = digest(&lookup::name_key(&record.file.name, record.id));
        let hash = digest(&lookup::hash_key(&record.file.hash));
        self.sums.files += 1;
        self.sums.digest = self.sums.digest.wrapping_add(codec::digest(value));
        self.bytes += record.file.size;
        self.expected_names = self.expected_names.wrapping_add(name);
        self.expected_hashes = self.expected_hashes.wrapping_add(hash);
        Ok(())
    }
}
