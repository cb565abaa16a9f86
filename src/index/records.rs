//! Where the records are that a lookup answers with: in a sled database, or where there is none now
//! in the journal itself.

use std::collections::BTreeMap;

use super::IndexError;
use super::asked::Asked;
use super::codec::Entry;
use super::in_journal::InJournal;
use super::in_sled::InSled;
use super::journal::Spot;
use super::progress::Progress;
use crate::record::{FileId, FileRecord};

/// Records.
pub(super) enum Records {
    /// Those of a database.
    InSled(InSled),
    /// Those that stand in the journal.
    InJournal(InJournal),
}

impl Records {
    /// How far they have come where that is written down.
    pub(super) fn progress(&self) -> Result<Option<Progress>, IndexError> {
        match self {
            Self::InSled(records) => records.progress(),
            Self::InJournal(_) => Ok(None),
        }
    }

    /// The encoding of a record.
    pub(super) fn get(&self, id: FileId) -> Result<Option<sled::IVec>, IndexError> {
        match self {
            Self::InSled(records) => records.get(id),
            Self::InJournal(records) => Ok(records.get(id)?.map(sled::IVec::from)),
        }
    }

    /// The first records of those that are asked for.
    pub(super) fn page(&self, asked: &Asked<'_>) -> Result<Vec<FileRecord>, IndexError> {
        match self {
            Self::InSled(records) => records.page(asked),
            Self::InJournal(records) => records.page(asked),
        }
    }

    /// Calls `visit` with the encoding of each record.
    pub(super) fn scan(
        &self,
        visit: impl FnMut(&[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        match self {
            Self::InSled(records) => records.scan(visit),
            Self::InJournal(records) => records.scan(visit),
        }
    }

    /// Hears where a change stands that is about to be taken in.
    pub(super) fn note(&self, entry: &Entry, spot: Spot) {
        if let (Self::InJournal(records), Entry::Added(record)) = (self, entry) {
            records.note(record.id, spot);
        }
    }

    /// Hands what was taken in to the operating system, unless it is in the journal anyway.
    pub(super) fn hand_over(&self) -> Result<(), IndexError> {
        match self {
            Self::InSled(sled) => sled.hand_over(),
            Self::InJournal(_) => Ok(()),
        }
    }

    /// Takes records in, and lets those go for which there is None. Returns which were: from then
    /// on they are read here.
    pub(super) fn take_in(
        &self,
        records: &BTreeMap<FileId, Option<Vec<u8>>>,
        progress: Progress,
    ) -> Result<Vec<FileId>, IndexError> {
        match self {
            Self::InSled(sled) => {
                sled.write(records, progress)?;
                Ok(records.keys().copied().collect())
            }
            Self::InJournal(journal) => Ok(journal.take_in(records)),
        }
    }
}
