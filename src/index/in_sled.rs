//! Records in a sled database.
//!
//! Keys: `f` + id -> record; `p` -> [`Progress`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::IndexError;
use super::asked::{Asked, Range};
use super::codec;
use super::guard::{Database, failed, of_sled};
use super::progress::Progress;
use super::sled_files;
use crate::record::{FileId, FileRecord};

const FILE: u8 = b'f';
const PROGRESS: &[u8] = b"p";
/// Where a database said how far it had come that also had keys for names and contents.
const OLD_PROGRESS: &[u8] = b"m";

/// A database, open.
pub(super) struct InSled {
    pub(super) dir: PathBuf,
    db: Database,
}

fn file_key(id: FileId) -> Vec<u8> {
    [&[FILE], id.as_bytes().as_slice()].concat()
}

impl InSled {
    /// Opens or creates a database. Blocks.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        // With such a clock sled panics as soon as it is configured.
        if SystemTime::now() < UNIX_EPOCH {
            return Err(IndexError::Clock);
        }
        sled_files::prepare(dir)?;
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes);
        Ok(Self {
            dir: dir.to_owned(),
            db: Database::open(&config, dir)?,
        })
    }

    /// How far it has come; None for an empty database.
    pub(super) fn progress(&self) -> Result<Option<Progress>, IndexError> {
        if self.read(OLD_PROGRESS)?.is_some() {
            return Err(failed("an older larder wrote it"));
        }
        let progress = self.read(PROGRESS)?;
        Ok(progress.map(|bytes| codec::decode(&bytes)).transpose()?)
    }

    /// The encoding of a record.
    pub(super) fn get(&self, id: FileId) -> Result<Option<sled::IVec>, IndexError> {
        self.read(&file_key(id))
    }

    fn read(&self, key: &[u8]) -> Result<Option<sled::IVec>, IndexError> {
        self.db
            .with(|db| db.get(key).map_err(|e| of_sled(&self.dir, e)))
    }

    /// The first records of those that are asked for.
    pub(super) fn page(&self, asked: &Asked<'_>) -> Result<Vec<FileRecord>, IndexError> {
        let decode = |value: sled::Result<sled::IVec>| {
            let value = value.map_err(|e| of_sled(&self.dir, e))?;
            Ok(codec::decode_record(&value)?)
        };
        self.db.with(|db| {
            let values = db.range::<Vec<u8>, _>(keys(asked.range)).values();
            if asked.is_backwards {
                asked.first(values.rev().map(decode))
            } else {
                asked.first(values.map(decode))
            }
        })
    }

    /// Calls `visit` with the encoding of each record.
    pub(super) fn scan(
        &self,
        mut visit: impl FnMut(&[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        self.db.with(|db| {
            for value in db.range([FILE]..[FILE + 1]).values() {
                visit(&value.map_err(|e| of_sled(&self.dir, e))?)?;
            }
            Ok(())
        })
    }

    /// Takes records in, and lets those go for which there is None, in one batch with how far
    /// that brings the database.
    pub(super) fn write(
        &self,
        records: &BTreeMap<FileId, Option<Vec<u8>>>,
        progress: Progress,
    ) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        for (id, value) in records {
            match value {
                Some(value) => batch.insert(file_key(*id), value.as_slice()),
                None => batch.remove(file_key(*id)),
            }
        }
        batch.insert(PROGRESS, codec::encode(progress));
        self.db
            .with(|db| db.apply_batch(batch).map_err(|e| of_sled(&self.dir, e)))
    }

    /// Hands everything to the operating system.
    pub(super) fn hand_over(&self) -> Result<(), IndexError> {
        self.db
            .with(|db| db.flush().map(drop).map_err(|e| of_sled(&self.dir, e)))
    }

    /// Hands everything to the operating system and closes; returns where it is.
    pub(super) fn close(self) -> Result<PathBuf, IndexError> {
        self.db.close()?;
        Ok(self.dir)
    }
}

/// The keys of these records.
fn keys((from, to): Range) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let from = match from {
        Bound::Unbounded => Bound::Included(vec![FILE]),
        from => from.map(file_key),
    };
    let to = match to {
        Bound::Unbounded => Bound::Excluded(vec![FILE + 1]),
        to => to.map(file_key),
    };
    (from, to)
}
