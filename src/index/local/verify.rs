//! Holding the lookup database against the journal, record by record.

use std::collections::HashSet;

use super::compare::{IndexFinding, Report, compare};
use super::generations::{copy_newest, newest_generation};
use super::mend;
use super::options::Options;
use super::replay::{Check, Replayed, read_in_journal, replay};
use super::seal;
use super::start::prepare;
use super::sums::inconsistency;
use crate::hash::BlobHash;
use crate::index::journal::{End, Segment, damage_of_last, damage_of_reached, refuse};
use crate::index::lookup::Lookup;
use crate::index::{IndexError, Totals};
use crate::record::FileRecord;

/// What the journal says; about 100 bytes of memory for each file.
pub struct Journaled {
    lookup: Lookup,
    totals: Totals,
}

impl Journaled {
    /// How much the journal's files are.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The hash of every content that files need, in order, and its length in bytes: 40 bytes of
    /// memory for each.
    pub fn contents(&self) -> Result<Vec<(BlobHash, u64)>, IndexError> {
        self.lookup.contents()
    }

    /// Tells `each` of every file whose content is one of `hashes`. Blocks for long.
    pub fn files_of(
        &self,
        hashes: &HashSet<BlobHash>,
        each: &mut dyn FnMut(FileRecord),
    ) -> Result<(), IndexError> {
        self.lookup.files_of(hashes, each)
    }
}

/// Reports what is wrong with the end of the journal and with what tells of it; whether its end is.
fn tell_end(options: &Options, end: &End, report: Report<'_>) -> bool {
    let dir = options.journal().dir;
    let problem = mend::problem(options, end);
    let is_told = problem.is_some();
    let about = damage_of_last(&dir, end).into_iter().chain(problem);
    for damage in about.chain(damage_of_reached(&options.journal())) {
        report(IndexFinding::Journal(damage));
    }
    is_told
}

/// Compares the journal with the lookup database and reports each difference.
/// Where the journal is damaged, what can be read of it is compared. Where lookup databases are
/// made elsewhere, and the disk is frozen, nothing changes in the storage directory. Blocks for
/// long.
pub fn verify(options: &Options, report: Report<'_>) -> Result<Journaled, IndexError> {
    let mut found = false;
    let report = &mut |finding| {
        found = true;
        report(finding);
    };
    let segments = prepare(options, &mut |damage| {
        report(IndexFinding::Journal(damage));
        Ok(())
    })?;
    let journaled = read_in_journal(options, &segments, &mut |damage| {
        report(IndexFinding::Journal(damage));
        Ok(())
    })?;
    let end_is_told = tell_end(options, &journaled.end, report);
    let Replayed {
        lookup, progress, ..
    } = journaled;
    let journaled = Journaled {
        lookup,
        totals: progress.totals(),
    };
    match compare_with(options, &segments, &journaled, (end_is_told, report)) {
        Err(IndexError::Lookup(reason)) => report(IndexFinding::Unusable(reason)),
        Err(IndexError::Damaged { .. }) => {}
        // The rest can be checked without it.
        Err(error @ IndexError::Disk(_)) if error.is_full() || options.elsewhere.is_some() => {
            report(IndexFinding::Unchecked(error));
        }
        compared => {
            // Opening the database has changed its files.
            if let Some((generation, next_seq)) = compared?
                && !found
                && options.elsewhere.is_none()
            {
                seal::write(options, generation, next_seq)?;
            }
        }
    }
    Ok(journaled)
}

/// Compares the lookup database with what the journal says, whose end may be told of already. Where
/// a seal held for it, returns what to seal again: the generation, and how far it has come.
fn compare_with(
    options: &Options,
    segments: &[Segment],
    journaled: &Journaled,
    (end_is_told, report): (bool, Report<'_>),
) -> Result<Option<(u64, u64)>, IndexError> {
    let found_seal = seal::read(options);
    if options.elsewhere.is_some() {
        copy_newest(options)?;
    }
    let generation = newest_generation(options)?;
    let sealed = found_seal
        .seal()
        .is_some_and(|seal| seal.holds(options, generation));
    match found_seal {
        seal::Found::Damaged => report(IndexFinding::Seal),
        seal::Found::Whole(_) if !sealed => report(IndexFinding::Unsealed),
        _ => {}
    }
    let check = if sealed { Check::Trust } else { Check::Later };
    let Replayed {
        lookup,
        progress,
        end,
        is_ahead,
        ..
    } = replay(options, segments, generation, check, &mut refuse)?;
    if is_ahead && !end_is_told {
        report(IndexFinding::Journal(end.damage(progress.next_seq)));
    }
    compare(&journaled.lookup, &lookup, report)?;
    if let Some(reason) = inconsistency(&lookup, &progress)? {
        report(IndexFinding::Inconsistent(reason.into()));
    }
    lookup.close()?;
    Ok(sealed.then_some((generation, progress.next_seq)))
}
