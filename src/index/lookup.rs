//! The lookup database: a sled tree of the records, and what is derived from them.
//!
//! It is never trusted to last: it remembers, in the same atomic batch as each
//! change, up to which journal entry it has come, and whoever finds it wrong throws
//! it away and makes it anew from the journal.
//!
//! Keys: `f` + id -> record; `p` -> [`Progress`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;

use super::IndexError;
use super::codec::{self, DecodeError, Entry};
use super::guard::{Database, failed, of_sled};
use super::progress::Progress;
use super::secondary::{Secondary, Unindexed};
use super::sled_files;
use super::sums::Sums;
use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord};

pub(super) const FILE: u8 = b'f';
const PROGRESS: &[u8] = b"p";
/// Where a database said how far it had come that also had keys for names and contents.
const OLD_PROGRESS: &[u8] = b"m";

/// The database, open.
pub(super) struct Lookup {
    dir: PathBuf,
    db: Database,
    secondary: RwLock<Secondary>,
    recent: RwLock<Recent>,
}

/// Changes that are not in sled yet: each batch costs sled as much as several records.
#[derive(Default)]
struct Recent {
    /// Encoded records by their ids; None for those that went.
    records: BTreeMap<FileId, Option<Vec<u8>>>,
    /// How far the changes bring the database.
    progress: Option<Progress>,
}

/// After so many records were read, sled is opened anew: it does not give all of the memory
/// back that reading them took.
const MANY: u64 = 10_000;
/// How many changed records are brought to sled together.
const RECENT: usize = 256;

impl From<DecodeError> for IndexError {
    fn from(error: DecodeError) -> Self {
        failed(error)
    }
}

fn file_key(id: FileId) -> Vec<u8> {
    [&[FILE], id.as_bytes().as_slice()].concat()
}

impl Lookup {
    /// Opens or creates the database, and adds up what it holds. Blocks.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Sums), IndexError> {
        let mut lookup = Self::open_records(dir, cache_bytes)?;
        lookup.discard_saved()?;
        let (files, sums) = lookup.derive()?;
        if sums.files > MANY {
            drop(lookup);
            lookup = Self::open_records(dir, cache_bytes)?;
        }
        lookup.secondary = RwLock::new(files.index());
        Ok((lookup, sums))
    }

    /// Opens a database whose files are as [`Lookup::close`] left them. Blocks.
    pub(super) fn open_unchanged(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let mut lookup = Self::open_records(dir, cache_bytes)?;
        let saved = Secondary::load(dir).map_err(|e| IndexError::io("read", dir, e))?;
        lookup.discard_saved()?;
        let secondary = match saved {
            Some(saved) => saved,
            None => lookup.derive()?.0.index(),
        };
        lookup.secondary = RwLock::new(secondary);
        Ok(lookup)
    }

    fn open_records(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        // With such a clock sled panics as soon as it is configured.
        if SystemTime::now() < UNIX_EPOCH {
            return Err(IndexError::Clock);
        }
        sled_files::prepare(dir)?;
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes);
        Ok(Self {
            dir: dir.to_owned(),
            db: Database::open(&config, dir)?,
            secondary: RwLock::default(),
            recent: RwLock::default(),
        })
    }

    /// What was saved holds no longer once anything changes.
    fn discard_saved(&self) -> Result<(), IndexError> {
        Secondary::discard(&self.dir)
    }

    /// Reads from the records what the secondary indexes are made of, and adds them up.
    pub(super) fn derive(&self) -> Result<(Unindexed, Sums), IndexError> {
        self.flush()?;
        let (mut files, mut sums) = (Unindexed::default(), Sums::default());
        self.scan(|value| {
            let record = codec::decode_record(value)?;
            files.add(&record);
            sums.add(codec::digest(value), record.file.size);
            Ok(())
        })?;
        Ok((files, sums))
    }

    /// Whether what is kept in memory is this.
    pub(super) fn has_derived(&self, secondary: &Secondary) -> bool {
        *self.secondary.read() == *secondary
    }

    /// How far it has come; the default for an empty database.
    pub(super) fn progress(&self) -> Result<Progress, IndexError> {
        if self.read(OLD_PROGRESS)?.is_some() {
            return Err(failed("an older larder wrote it"));
        }
        match self.read(PROGRESS)? {
            Some(bytes) => Ok(codec::decode(&bytes)?),
            None => Ok(Progress {
                next_seq: 1,
                ..Progress::default()
            }),
        }
    }

    fn read(&self, key: &[u8]) -> Result<Option<sled::IVec>, IndexError> {
        self.db
            .with(|db| db.get(key).map_err(|e| of_sled(&self.dir, e)))
    }

    pub(super) fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        match self.encoded(id)? {
            Some(bytes) => Ok(Some(codec::decode_record(&bytes)?)),
            None => Ok(None),
        }
    }

    /// The digest of a record's encoding, as the sums count it.
    pub(super) fn digest_of(&self, id: FileId) -> Result<Option<u128>, IndexError> {
        Ok(self.encoded(id)?.map(|bytes| codec::digest(&bytes)))
    }

    /// The encoding of a record.
    fn encoded(&self, id: FileId) -> Result<Option<sled::IVec>, IndexError> {
        if let Some(recent) = self.recent.read().records.get(&id) {
            return Ok(recent.as_deref().map(sled::IVec::from));
        }
        self.read(&file_key(id))
    }

    pub(super) fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        let mut before = None;
        loop {
            let Some(id) = self.secondary.read().named(name, before) else {
                return Ok(None);
            };
            // Another name may begin alike, and the file may be gone since.
            match self.get(id)?.filter(|record| record.file.is_named(name)) {
                Some(record) => return Ok(Some(record)),
                None => before = Some(id),
            }
        }
    }

    /// See [`super::IndexBackend::earlier`].
    pub(super) fn earlier(
        &self,
        name: &str,
        hash: &BlobHash,
        than: FileId,
        known: u32,
    ) -> Result<Option<FileId>, IndexError> {
        if self.secondary.read().users(hash) <= known {
            return Ok(None);
        }
        let first = self.secondary.read().first_named(name, than);
        for id in first {
            let record = self.get(id)?.map(|record| record.file);
            if record.is_some_and(|it| it.is_named(name) && it.hash == *hash) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    pub(super) fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let mut from = after.map_or_else(|| vec![FILE], file_key);
        if after.is_some() {
            from.push(0);
        }
        // Held to the end, so that nothing moves to sled meanwhile.
        let recent = self.recent.read();
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = recent.records.range((first, Bound::Unbounded));
        let added = behind.filter_map(|(_, value)| value.as_deref());
        let mut page = decoded(added.take(limit))?;
        self.db.with(|db| {
            let values = db.range(from..vec![FILE + 1]).values();
            self.add_older(values, &recent, limit, &mut page)
        })?;
        Ok(page.into_values().take(limit).collect())
    }

    pub(super) fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let to = before.map_or_else(|| vec![FILE + 1], file_key);
        let recent = self.recent.read();
        let last = before.map_or(Bound::Unbounded, Bound::Excluded);
        let ahead = recent.records.range((Bound::Unbounded, last)).rev();
        let added = ahead.filter_map(|(_, value)| value.as_deref());
        let mut page = decoded(added.take(limit))?;
        self.db.with(|db| {
            let values = db.range(vec![FILE]..to).values().rev();
            self.add_older(values, &recent, limit, &mut page)
        })?;
        Ok(page.into_values().rev().take(limit).collect())
    }

    /// Adds at most `limit` of these records of sled to a page, but those that have changed since.
    fn add_older(
        &self,
        values: impl Iterator<Item = sled::Result<sled::IVec>>,
        recent: &Recent,
        limit: usize,
        page: &mut BTreeMap<FileId, FileRecord>,
    ) -> Result<(), IndexError> {
        let mut found = 0;
        for value in values {
            if found == limit {
                break;
            }
            let record = codec::decode_record(&value.map_err(|e| of_sled(&self.dir, e))?)?;
            if !recent.records.contains_key(&record.id) {
                found += 1;
                page.insert(record.id, record);
            }
        }
        Ok(())
    }

    /// How many files need a content.
    pub(super) fn users(&self, hash: &BlobHash) -> u32 {
        self.secondary.read().users(hash)
    }

    /// Every hash that files need, in order.
    pub(super) fn hashes(&self) -> Result<Vec<BlobHash>, IndexError> {
        self.flush()?;
        let mut hashes = Vec::new();
        self.scan(|value| {
            hashes.push(codec::decode_record(value)?.file.hash);
            Ok(())
        })?;
        hashes.sort_unstable();
        hashes.dedup();
        Ok(hashes)
    }

    /// Calls `visit` with the encoding of each record in sled.
    fn scan(
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

    /// Applies entries in order, together with how far that brings the database:
    /// `progress` with `next_seq` and `durable` set by the caller, sums by this.
    pub(super) fn apply(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        progress: Progress,
    ) -> Result<Progress, IndexError> {
        let prepared = self.prepare(entries, progress)?;
        let progress = self.remember(prepared, progress.next_seq, progress.durable);
        self.flush_if_many()?;
        Ok(progress)
    }

    /// Makes out what entries change, in order, without changing anything.
    pub(super) fn prepare(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        progress: Progress,
    ) -> Result<Prepared, IndexError> {
        let mut change = Change {
            lookup: self,
            progress,
            batch: BTreeMap::new(),
            users: BTreeMap::new(),
        };
        let mut changed = Vec::new();
        for entry in entries {
            changed.extend(change.apply(entry)?);
        }
        Ok(Prepared {
            progress: change.progress,
            batch: change.batch,
            changed,
        })
    }

    /// Answers from now on with what was prepared, which cannot fail; nothing may have been
    /// remembered in between.
    pub(super) fn remember(&self, prepared: Prepared, next_seq: u64, durable: bool) -> Progress {
        let Prepared {
            progress,
            batch,
            changed,
        } = prepared;
        let progress = Progress {
            next_seq,
            durable,
            ..progress
        };
        let mut recent = self.recent.write();
        recent.records.extend(batch);
        recent.progress = Some(progress);
        drop(recent);
        let mut secondary = self.secondary.write();
        for change in changed {
            match change {
                Changed::Added(record) => secondary.add(&record),
                Changed::Removed(record) => secondary.remove(&record),
            }
        }
        progress
    }

    /// Brings what is recent to sled once it is much.
    pub(super) fn flush_if_many(&self) -> Result<(), IndexError> {
        if self.recent.read().records.len() < RECENT {
            return Ok(());
        }
        self.flush()
    }

    /// Brings what is recent to sled.
    fn flush(&self) -> Result<(), IndexError> {
        let mut batch = sled::Batch::default();
        {
            let recent = self.recent.read();
            let Some(progress) = recent.progress else {
                return Ok(());
            };
            for (id, value) in &recent.records {
                match value {
                    Some(value) => batch.insert(file_key(*id), value.as_slice()),
                    None => batch.remove(file_key(*id)),
                }
            }
            batch.insert(PROGRESS, codec::encode(progress));
        }
        // Nobody but the caller changes anything, and readers find it in both meanwhile.
        self.db
            .with(|db| db.apply_batch(batch).map_err(|e| of_sled(&self.dir, e)))?;
        *self.recent.write() = Recent::default();
        Ok(())
    }

    /// Hands everything to the operating system and closes.
    pub(super) fn close(self) -> Result<(), IndexError> {
        self.flush()?;
        let Self {
            dir, db, secondary, ..
        } = self;
        db.close()?;
        let secondary = secondary.into_inner();
        let saved = secondary.save(&dir);
        saved.map_err(|e| IndexError::io("write into", dir, e))
    }
}

/// Changes that were made out.
pub(super) struct Prepared {
    progress: Progress,
    batch: BTreeMap<FileId, Option<Vec<u8>>>,
    changed: Vec<Changed>,
}

/// One batch in the making; what it has changed already is read from itself.
struct Change<'a> {
    lookup: &'a Lookup,
    progress: Progress,
    /// Records by their ids; None for those that go.
    batch: BTreeMap<FileId, Option<Vec<u8>>>,
    /// How many files need the contents that it has changed.
    users: BTreeMap<BlobHash, u32>,
}

/// What an entry came to.
enum Changed {
    Added(FileRecord),
    Removed(FileRecord),
}

impl Change<'_> {
    fn apply(&mut self, entry: Entry) -> Result<Option<Changed>, IndexError> {
        match entry {
            Entry::Added(record) => {
                self.add(&record);
                Ok(Some(Changed::Added(record)))
            }
            Entry::Removed { id, digest } => Ok(self.remove(id, digest)?.map(Changed::Removed)),
        }
    }

    fn users(&mut self, hash: BlobHash) -> &mut u32 {
        let before = || self.lookup.secondary.read().users(&hash);
        self.users.entry(hash).or_insert_with(before)
    }

    fn add(&mut self, record: &FileRecord) {
        let (id, size) = (record.id, record.file.size);
        let value = codec::encode_record(record.clone());
        let users = self.users(record.file.hash);
        *users += 1;
        let is_first = *users == 1;
        let sums = &mut self.progress;
        sums.files += 1;
        sums.bytes += size;
        if is_first {
            sums.blobs += 1;
            sums.blob_bytes += size;
        }
        sums.digest = sums.digest.wrapping_add(codec::digest(&value));
        sums.last_id = sums.last_id.max(*id.as_bytes());
        self.batch.insert(id, Some(value));
    }

    fn remove(&mut self, id: FileId, digest: u128) -> Result<Option<FileRecord>, IndexError> {
        let record = match self.batch.get(&id) {
            Some(Some(value)) => Some(codec::decode_record(value)?),
            Some(None) => None,
            None => self.lookup.get(id)?,
        };
        // Only behind damage that was skipped can a file go that never came.
        let Some(record) = record else {
            return Ok(None);
        };
        let hash = record.file.hash;
        let users = self.users(hash);
        let left = users.checked_sub(1);
        let left = left.ok_or_else(|| failed(format!("nobody needs {hash}")))?;
        *users = left;
        self.batch.insert(id, None);
        let sums = &mut self.progress;
        sums.files = sums.files.saturating_sub(1);
        sums.bytes = sums.bytes.saturating_sub(record.file.size);
        if left == 0 {
            sums.blobs = sums.blobs.saturating_sub(1);
            sums.blob_bytes = sums.blob_bytes.saturating_sub(record.file.size);
        }
        sums.digest = sums.digest.wrapping_sub(digest);
        Ok(Some(record))
    }
}

/// Records by their ids.
fn decoded<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<BTreeMap<FileId, FileRecord>, IndexError> {
    let decoded = values.map(|value| {
        let record = codec::decode_record(value)?;
        Ok((record.id, record))
    });
    decoded.collect()
}
