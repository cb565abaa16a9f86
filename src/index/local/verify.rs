//! Holding the lookup database against the journal, record by record.

use std::path::PathBuf;

use super::compare::{IndexFinding, Report, compare};
use super::generations::{SCRATCH, copy_newest, make_anew, newest_generation};
use super::mend;
use super::options::Options;
use super::replay::{Check, Replayed, replay};
use super::seal;
use super::start::prepare;
use super::sums::inconsistency;
use crate::hash::BlobHash;
use crate::index::journal::{End, damage_of_last, damage_of_reached, refuse};
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
    if options.elsewhere.is_some() {
        copy_newest(options)?;
    }
    let dir = options.generation_dir(SCRATCH);
    let journaled = make_anew(options, &segments, SCRATCH, &mut |damage| {
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
            if sealed && !found && options.elsewhere.is_none() {
                seal::write(options, generation, progress.next_seq)?;
            }
        }
    }
    Ok(journaled)
}
