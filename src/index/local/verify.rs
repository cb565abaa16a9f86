//! Holding the lookup database against the journal, record by record.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::path::PathBuf;

use super::generations::{make_anew, newest_generation};
use super::options::Options;
use super::replay::{Check, Replayed, replay};
use super::seal;
use super::start::prepare;
use super::sums::inconsistency;
use crate::hash::BlobHash;
use crate::index::journal::{Damage, refuse};
use crate::index::lookup::Lookup;
use crate::index::{IndexError, Totals};
use crate::record::{FileId, FileRecord};

/// How many records are compared at once.
const PAGE: usize = 1024;

/// Something in which journal and lookup database are not as they should be.
#[derive(Debug)]
pub enum Finding {
    /// The journal cannot be read here.
    Journal(Damage),
    /// The lookup database cannot be used at all.
    Unusable(String),
    /// The journal has a file that the lookup database has not.
    Missing(FileRecord),
    /// The lookup database has a file that the journal has not.
    Extra(FileRecord),
    /// Journal and lookup database tell different things of a file.
    Different(FileId),
    /// The lookup database's parts do not fit each other.
    Inconsistent(String),
}

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
            tracing::warn!(dir = %self.dir.display(), %error, "not removed");
        }
    }
}

/// Compares the journal with the lookup database and reports each difference.
/// Where the journal is damaged, what can be read of it is compared. Blocks for long.
pub fn verify(options: &Options, report: &mut dyn FnMut(Finding)) -> Result<Journaled, IndexError> {
    let mut found = false;
    let report = &mut |finding| {
        found = true;
        report(finding);
    };
    let segments = prepare(options, &mut |damage| {
        report(Finding::Journal(damage));
        Ok(())
    })?;
    let generation = newest_generation(options)?;
    // One more than the newest: where a start would also make it anew, or remove it.
    let dir = options.generation_dir(generation + 1);
    let journaled = make_anew(options, &segments, generation + 1, &mut |damage| {
        report(Finding::Journal(damage));
        Ok(())
    })?;
    let Replayed {
        lookup, progress, ..
    } = journaled;
    let journaled = Journaled {
        lookup,
        totals: progress.totals(),
        dir,
    };
    // Opening the database changes its files, so a seal that holds has to be made again.
    let sealed = seal::read(options).is_some_and(|seal| seal.holds(options, generation));
    let check = if sealed { Check::Trust } else { Check::Later };
    match replay(options, &segments, generation, check, &mut refuse) {
        Err(IndexError::Lookup(reason)) => report(Finding::Unusable(reason)),
        Err(IndexError::Damaged { .. }) => {}
        Err(error) => return Err(error),
        Ok(Replayed {
            lookup, progress, ..
        }) => {
            compare(&journaled.lookup, &lookup, report)?;
            if let Some(reason) = inconsistency(&lookup, &progress)? {
                report(Finding::Inconsistent(reason.into()));
            }
            lookup.close()?;
            if sealed && !found {
                seal::write(options, generation, progress.next_seq)?;
            }
        }
    }
    Ok(journaled)
}

/// Walks two databases side by side, in the order of the ids.
fn compare(
    journal: &Lookup,
    lookup: &Lookup,
    report: &mut dyn FnMut(Finding),
) -> Result<(), IndexError> {
    let (mut should, mut is) = (Files::of(journal)?, Files::of(lookup)?);
    loop {
        let order = match (should.first(), is.first()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(should), Some(is)) => should.id.cmp(&is.id),
        };
        let (should, is) = match order {
            Ordering::Less => (should.next()?, None),
            Ordering::Greater => (None, is.next()?),
            Ordering::Equal => (should.next()?, is.next()?),
        };
        match (should, is) {
            (Some(file), None) => report(Finding::Missing(file)),
            (None, Some(file)) => report(Finding::Extra(file)),
            (Some(should), Some(is)) if should != is => report(Finding::Different(is.id)),
            _ => {}
        }
    }
}

/// All files of a database, a page in memory at a time.
struct Files<'a> {
    lookup: &'a Lookup,
    page: VecDeque<FileRecord>,
}

impl<'a> Files<'a> {
    fn of(lookup: &'a Lookup) -> Result<Self, IndexError> {
        Ok(Self {
            lookup,
            page: lookup.page(None, PAGE)?.into(),
        })
    }

    fn first(&self) -> Option<&FileRecord> {
        self.page.front()
    }

    fn next(&mut self) -> Result<Option<FileRecord>, IndexError> {
        let next = self.page.pop_front();
        if let (Some(last), true) = (&next, self.page.is_empty()) {
            self.page = self.lookup.page(Some(last.id), PAGE)?.into();
        }
        Ok(next)
    }
}
