//! What the journal adds up to, and whether the lookup database does, too.

use crate::index::IndexError;
use crate::index::codec::{self, Entry, encode_record};
use crate::index::journal::Piece;
use crate::index::lookup::Lookup;
use crate::index::progress::Progress;
use crate::index::sums::Sums;

/// The files that the journal leaves: how many there are, and the sum of their digests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JournalSums {
    files: u64,
    digest: u128,
}

impl JournalSums {
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

/// Why a database whose records added up to `found` when it was opened, and which said
/// `before` of them, is wrong after it was brought up to the journal; None if it is not.
pub(super) fn disagreement(
    found: Sums,
    before: &Progress,
    after: &Progress,
    journal: JournalSums,
) -> Option<String> {
    if found != before.sums() {
        return Some("its counts are not those of its files".into());
    }
    let Sums { files, digest, .. } = after.sums();
    let is_same = JournalSums { files, digest } == journal;
    let should = journal.files;
    (!is_same).then(|| format!("its {files} files are not the {should} files of the journal"))
}

/// Why the parts of the lookup database do not fit each other; None if they do.
pub(super) fn inconsistency(
    lookup: &Lookup,
    progress: &Progress,
) -> Result<Option<&'static str>, IndexError> {
    let (files, sums) = lookup.derive()?;
    Ok(if sums != progress.sums() {
        Some("its counts are not those of its files")
    } else if !lookup.has_derived(&files.index()) {
        Some("its names or contents are not those of its files")
    } else {
        None
    })
}
