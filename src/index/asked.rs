//! Which records of many somebody asks for.

use std::ops::Bound;

use super::IndexError;
use super::page::page_of;
use crate::record::{FileId, FileRecord};

/// The ids between which records are.
pub(super) type Range = (Bound<FileId>, Bound<FileId>);

/// Records that somebody asks for.
pub(super) struct Asked<'a> {
    pub(super) range: Range,
    /// How many at most; fewer where their texts are long.
    pub(super) limit: usize,
    /// Whether from the last one on.
    pub(super) is_backwards: bool,
    /// Which are not asked for.
    pub(super) is_other: &'a dyn Fn(&FileId) -> bool,
}

impl Default for Asked<'_> {
    /// All of them.
    fn default() -> Self {
        Self {
            range: (Bound::Unbounded, Bound::Unbounded),
            limit: usize::MAX,
            is_backwards: false,
            is_other: &|_| false,
        }
    }
}

impl Asked<'_> {
    /// Asks for those behind this one.
    pub(super) fn begin_behind(&mut self, id: FileId) {
        self.range.0 = Bound::Excluded(id);
    }

    /// The first of these records that are asked for.
    pub(super) fn first(
        &self,
        records: impl Iterator<Item = Result<FileRecord, IndexError>>,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let is_asked = |record: &Result<FileRecord, _>| {
            !record
                .as_ref()
                .is_ok_and(|record| (self.is_other)(&record.id))
        };
        page_of(records.filter(is_asked), self.limit)
    }
}
