//! Holding the lookup database against the journal, record by record.

use std::path::PathBuf;

use super::compare::{IndexFinding, Report, compare};
use super::generations::{SCRATCH, make_anew, newest_generation};
use super::mend;
use super::options::Options;
use super::replay::{Check, Replayed, replay};
use super::seal;
use super::start::prepare;
use super::sums::inconsistency;
use crate::hash::BlobHash;
use crate::index::journal::{damage_of_last, refuse};
use crate::index::lookup::Lookup;
use crate::index::{IndexError, Totals};

/// What the journal says, as a lookup database of its own; gone on drop.
pub struct Journaled {
    lookup: Lookup,
    totals: Totals,
    dir: PathBuf,
}

impl Journaled {
    /// How much the journal's files are.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Every hash that files need, in order: 32 bytes of memory for each.
    pub fn hashes(&self) -> Result<Vec<BlobHash>, IndexError> {
        self.lookup.hashes()
    }
}

impl Drop for Journaled {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            let dir = self.dir.display();
            tracing::warn!(%dir, %error, "a directory of this check could not be removed");
        }
    }
}

/// Compares the journal with the lookup database and reports each difference.
/// Where the journal is damaged, what can be read of it is compared. Blocks for long.
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
    let dir = options.generation_dir(SCRATCH);
    let journaled = make_anew(options, &segments, SCRATCH, &mut |damage| {
        report(IndexFinding::Journal(damage));
        Ok(())
    })?;
    if let Some(damage) = damage_of_last(&options.journal().dir, &journaled.end) {
        report(IndexFinding::Journal(damage));
    }
    let problem = mend::problem(options, &journaled.end);
    let end_is_told = problem.is_some();
    if let Some(damage) = problem {
        report(IndexFinding::Journal(damage));
    }
    let Replayed {
        lookup, progress, ..
    } = journaled;
    let journaled = Journaled {
        lookup,
        totals: progress.totals(),
        dir,
    };
    let generation = newest_generation(options)?;
    let found_seal = seal::read(options);
    // Opening the database changes its files, so a seal that holds has to be made again.
    let sealed = found_seal
        .seal()
        .is_some_and(|seal| seal.holds(options, generation));
    match found_seal {
        seal::Found::Damaged => report(IndexFinding::Seal),
        seal::Found::Whole(_) if !sealed => report(IndexFinding::Unsealed),
        _ => {}
    }
    let check = if sealed { Check::Trust } else { Check::Later };
    match replay(options, &segments, generation, check, &mut refuse) {
        Err(IndexError::Lookup(reason)) => report(IndexFinding::Unusable(reason)),
        Err(IndexError::Damaged { .. }) => {}
        Err(error) => return Err(error),
        Ok(Replayed {
            lookup,
            progress,
            end,
            is_ahead,
            ..
        }) => {
            if is_ahead && !end_is_told {
                report(IndexFinding::Journal(end.damage(progress.next_seq)));
            }
            compare(&journaled.lookup, &lookup, report)?;
            if let Some(reason) = inconsistency(&lookup, &progress)? {
                report(IndexFinding::Inconsistent(reason.into()));
            }
            lookup.close()?;
            if sealed && !found {
                seal::write(options, generation, progress.next_seq)?;
            }
        }
    }
    Ok(journaled)
}
