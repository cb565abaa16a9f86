//! Sums over sets of records, which tell whether two sets are the same without
//! holding either in memory.

use crate::index::IndexError;
use crate::index::codec::{self, Entry, decode_record, encode_record};
use crate::index::journal::Piece;
use crate::index::lookup::{self, Lookup, Progress};

/// How many records there are, and the sum of their digests modulo 2^128. Over a part
/// of the journal the count may pass through zero downwards.
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
                    self.files = self.files.wrapping_add(1);
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
}

/// Why the lookup database does not hold what the journal holds, or does not agree
/// with itself; None if it is as it should be.
pub(super) fn disagreement(
    lookup: &Lookup,
    progress: &Progress,
    journal: Sums,
) -> Result<Option<String>, IndexError> {
    let scan = Scan::of(lookup)?;
    if scan.sums == journal {
        return Ok(scan.inconsistency(progress));
    }
    let (has, should) = (scan.sums.files, journal.files);
    Ok(Some(format!(
        "its {has} files are not the {should} files of the journal"
    )))
}

/// Why the parts of the lookup database do not fit each other; None if they do.
pub(super) fn inconsistency(
    lookup: &Lookup,
    progress: &Progress,
) -> Result<Option<String>, IndexError> {
    Ok(Scan::of(lookup)?.inconsistency(progress))
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

    fn inconsistency(&self, progress: &Progress) -> Option<String> {
        let counted = Sums {
            files: progress.files,
            digest: progress.digest,
        };
        let parts = [
            (
                "counts",
                counted == self.sums && progress.bytes == self.bytes,
            ),
            ("names", self.names == self.expected_names),
            (
                "hashes",
                self.hashes == self.expected_hashes && progress.blobs == self.blobs,
            ),
        ];
        let (part, _) = parts.into_iter().find(|(_, fits)| !fits)?;
        Some(format!("its {part} are not those of its files"))
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
