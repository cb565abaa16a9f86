//! Two lookup databases side by side, and what may be found wrong between journal and database.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::index::IndexError;
use crate::index::journal::Damage;
use crate::index::lookup::Lookup;
use crate::record::{FileId, FileRecord};

/// How many records are compared at once.
const PAGE: usize = 1024;

/// Something in which journal and lookup database are not as they should be.
#[derive(Debug)]
pub enum IndexFinding {
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
    /// What a clean stop wrote down of the lookup database is damaged.
    Seal,
    /// The lookup database's files are not those that the last stop left.
    Unsealed,
    /// The lookup database could not be looked into, mostly for want of room.
    Unchecked(IndexError),
}

/// Hears of each finding.
pub type Report<'a> = &'a mut dyn FnMut(IndexFinding);

/// Walks two databases side by side, in the order of the ids.
pub(super) fn compare(
    journal: &Lookup,
    lookup: &Lookup,
    report: Report<'_>,
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
            (Some(file), None) => report(IndexFinding::Missing(file)),
            (None, Some(file)) => report(IndexFinding::Extra(file)),
            (Some(should), Some(is)) if should != is => report(IndexFinding::Different(is.id)),
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
