//! Records where they stand in the journal: what answers while there is no lookup database, as on a
//! full disk, on which none can be written.
//!
//! What is known of a record is its id and its place there, 32 bytes of memory for each file, about
//! 50 with the tree's nodes. Whoever asks for it reads the change that has added it, under its
//! checksum. Nothing is written.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use super::IndexError;
use super::asked::Asked;
use super::codec::{Entry, encode_record};
use super::guard::failed;
use super::journal::{LastRead, Reread, Segment, Spot};
use super::page::page_of;
use crate::record::{FileId, FileRecord};

/// How many places are looked up at once to read all records.
const STEP: usize = 1024;

/// The records of a journal.
pub(super) struct InJournal {
    journal: Reread,
    places: RwLock<Places>,
}

#[derive(Default)]
struct Places {
    /// Where the records are.
    of: BTreeMap<FileId, Spot>,
    /// Where those are that were read and not taken in yet.
    noted: BTreeMap<FileId, Spot>,
}

impl InJournal {
    /// Opens the segments of a journal, of which nothing is known yet.
    pub(super) fn open(segments: &[Segment]) -> Result<Self, IndexError> {
        Ok(Self {
            journal: Reread::open(segments)?,
            places: RwLock::default(),
        })
    }

    /// Notes where a record stands that is about to be taken in.
    pub(super) fn note(&self, id: FileId, spot: Spot) {
        self.places.write().noted.insert(id, spot);
    }

    /// Takes records in whose place was noted, and lets those go for which there is None; the
    /// others stay in `records`. What is taken in can be read from here on before it is gone there.
    pub(super) fn take_in(&self, records: &BTreeMap<FileId, Option<Vec<u8>>>) -> Vec<FileId> {
        let mut places = self.places.write();
        let Places { of, noted } = &mut *places;
        let mut taken = Vec::with_capacity(records.len());
        for (id, record) in records {
            let spot = noted.remove(id);
            match (record, spot) {
                (None, _) => drop(of.remove(id)),
                (Some(_), Some(spot)) => drop(of.insert(*id, spot)),
                (Some(_), None) => continue,
            }
            taken.push(*id);
        }
        taken
    }

    /// The encoding of a record.
    pub(super) fn get(&self, id: FileId) -> Result<Option<Vec<u8>>, IndexError> {
        let spot = self.places.read().of.get(&id).copied();
        let record = spot.map(|spot| self.read(id, spot, &mut LastRead::default()));
        Ok(record.transpose()?.map(encode_record))
    }

    fn read(&self, id: FileId, spot: Spot, last: &mut LastRead) -> Result<FileRecord, IndexError> {
        match self.journal.entry(spot, last)? {
            Entry::Added(record) if record.id == id => Ok(record),
            _ => Err(failed(format!(
                "another change stands where file {id} was added"
            ))),
        }
    }

    /// The first records of those that are asked for.
    pub(super) fn page(&self, asked: &Asked<'_>) -> Result<Vec<FileRecord>, IndexError> {
        let places: Vec<_> = {
            let places = self.places.read();
            let within = places.of.range(asked.range);
            let within = within.map(|(id, spot)| (*id, *spot));
            let is_asked = |(id, _): &(FileId, Spot)| !(asked.is_other)(id);
            if asked.is_backwards {
                within.rev().filter(is_asked).take(asked.limit).collect()
            } else {
                within.filter(is_asked).take(asked.limit).collect()
            }
        };
        let mut last = LastRead::default();
        let places = places.into_iter();
        let read = places.map(|(id, spot)| self.read(id, spot, &mut last));
        page_of(read, asked.limit)
    }

    /// Calls `visit` with the encoding of each record.
    pub(super) fn scan(
        &self,
        mut visit: impl FnMut(&[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let mut asked = Asked {
            limit: STEP,
            ..Asked::default()
        };
        loop {
            let page = self.page(&asked)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            asked.begin_behind(last.id);
            page.into_iter()
                .try_for_each(|record| visit(&encode_record(record)))?;
        }
    }
}
