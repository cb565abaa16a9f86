//! What lookups answer with: the records, in the lookup database or where there is none in the
//! journal, and what is derived from them.
//!
//! The database is never trusted to last: it remembers, in the same atomic batch as each
//! change, up to which journal entry it has come, and whoever finds it wrong throws
//! it away and makes it anew from the journal.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::path::Path;

use parking_lot::RwLock;

use super::IndexError;
use super::asked::{Asked, Range};
use super::codec::{self, DecodeError, Entry};
use super::guard::failed;
use super::in_journal::InJournal;
use super::in_sled::InSled;
use super::journal::{Segment, Spot};
use super::page::page_of;
use super::progress::Progress;
use super::records::Records;
use super::secondary::{Secondary, Unindexed};
use super::sums::Sums;
use crate::disk::is_full;
use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord};

/// The records, open, with what is derived from them.
pub(super) struct Lookup {
    records: Records,
    secondary: RwLock<Secondary>,
    recent: RwLock<Recent>,
}

/// Changes that are not among the records yet: each batch costs sled as much as several of them.
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
/// How many changed records are brought to the others together.
const RECENT: usize = 256;

impl From<DecodeError> for IndexError {
    fn from(error: DecodeError) -> Self {
        failed(error)
    }
}

impl Lookup {
    /// Opens or creates the database, and adds up what it holds. Blocks.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<(Self, Sums), IndexError> {
        let mut lookup = Self::of(Records::InSled(InSled::open(dir, cache_bytes)?));
        Secondary::discard(dir)?;
        let (files, sums) = lookup.derive()?;
        if sums.files > MANY {
            drop(lookup);
            lookup = Self::of(Records::InSled(InSled::open(dir, cache_bytes)?));
        }
        lookup.secondary = RwLock::new(files.index());
        Ok((lookup, sums))
    }

    /// Opens a database whose files are as [`Lookup::close`] left them. Blocks.
    pub(super) fn open_unchanged(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        let mut lookup = Self::of(Records::InSled(InSled::open(dir, cache_bytes)?));
        let saved = Secondary::load(dir).map_err(|e| IndexError::io("read", dir, e))?;
        // It holds no longer once anything changes.
        Secondary::discard(dir)?;
        let secondary = match saved {
            Some(saved) => saved,
            None => lookup.derive()?.0.index(),
        };
        lookup.secondary = RwLock::new(secondary);
        Ok(lookup)
    }

    /// One that reads records where they stand in the journal and writes nothing. It has none
    /// before whoever reads the journal [tells](Lookup::note) where they are and
    /// [applies](Lookup::apply) them. Blocks.
    pub(super) fn in_journal(segments: &[Segment]) -> Result<Self, IndexError> {
        Ok(Self::of(Records::InJournal(InJournal::open(segments)?)))
    }

    /// Whether it reads records where they stand in the journal.
    pub(super) fn is_in_journal(&self) -> bool {
        matches!(self.records, Records::InJournal(_))
    }

    fn of(records: Records) -> Self {
        Self {
            records,
            secondary: RwLock::default(),
            recent: RwLock::default(),
        }
    }

    /// Hears where a change stands in the journal that is about to be applied.
    pub(super) fn note(&self, entry: &Entry, spot: Spot) {
        self.records.note(entry, spot);
    }

    /// Reads from the records what the secondary indexes are made of, and adds them up.
    pub(super) fn derive(&self) -> Result<(Unindexed, Sums), IndexError> {
        self.flush()?;
        let (mut files, mut sums) = (Unindexed::default(), Sums::default());
        self.records.scan(|value| {
            let record = codec::decode_record(value)?;
            files.add(&record);
            sums.add(codec::digest(value), record.file.size);
            Ok(())
        })?;
        Ok((files, sums))
    }

    /// Reads all records of the database as it is, and tells what is wrong with it.
    pub(super) fn check(&self) -> Result<Option<&'static str>, IndexError> {
        let before = self.records.progress()?;
        let mut sums = Sums::default();
        self.records.scan(|value| {
            let record = codec::decode_record(value)?;
            sums.add(codec::digest(value), record.file.size);
            Ok(())
        })?;
        // Of what has changed meanwhile no sum says anything.
        let is_still = self.records.progress()? == before;
        let is_wrong = before.is_some_and(|it| is_still && it.sums() != sums);
        Ok(is_wrong.then_some("its counts are not those of its files"))
    }

    /// Whether what is kept in memory is this.
    pub(super) fn has_derived(&self, secondary: &Secondary) -> bool {
        *self.secondary.read() == *secondary
    }

    /// How far it has come; the default for an empty database.
    pub(super) fn progress(&self) -> Result<Progress, IndexError> {
        let progress = self.records.progress()?;
        Ok(progress.unwrap_or(Progress {
            next_seq: 1,
            ..Progress::default()
        }))
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
        self.records.get(id)
    }

    pub(super) fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        self.named_before(name, None)
    }

    /// The newest file with this name, before another one if there is one given.
    pub(super) fn named_before(
        &self,
        name: &str,
        before: Option<FileId>,
    ) -> Result<Option<FileRecord>, IndexError> {
        let mut before = before;
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
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.within((from, Bound::Unbounded), limit, false)?;
        page_of(page.into_values().map(Ok), limit)
    }

    pub(super) fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError> {
        let to = before.map_or(Bound::Unbounded, Bound::Excluded);
        let page = self.within((Bound::Unbounded, to), limit, true)?;
        page_of(page.into_values().rev().map(Ok), limit)
    }

    /// Records of this range, among them the first that make up a page, or the last.
    fn within(
        &self,
        range: Range,
        limit: usize,
        is_backwards: bool,
    ) -> Result<BTreeMap<FileId, FileRecord>, IndexError> {
        // Held to the end, so that nothing moves to the other records meanwhile.
        let recent = self.recent.read();
        let added = recent.records.range(range);
        let added = added.filter_map(|(_, value)| value.as_deref());
        let added = added.map(codec::decode_record);
        let newer = if is_backwards {
            page_of(added.rev(), limit)?
        } else {
            page_of(added, limit)?
        };
        let older = self.records.page(&Asked {
            range,
            limit,
            is_backwards,
            is_other: &|id| recent.records.contains_key(id),
        })?;
        let page = newer.into_iter().chain(older);
        Ok(page.map(|record| (record.id, record)).collect())
    }

    /// How many files need a content.
    pub(super) fn users(&self, hash: &BlobHash) -> u32 {
        self.secondary.read().users(hash)
    }

    /// The hash of every content that files need, in order, and its length in bytes.
    pub(super) fn contents(&self) -> Result<Vec<(BlobHash, u64)>, IndexError> {
        self.flush()?;
        let mut contents = Vec::new();
        self.records.scan(|value| {
            let file = codec::decode_record(value)?.file;
            contents.push((file.hash, file.size));
            Ok(())
        })?;
        contents.sort_unstable();
        contents.dedup_by_key(|(hash, _)| *hash);
        Ok(contents)
    }

    /// Tells `each` of every file whose content is one of `hashes`.
    pub(super) fn files_of(
        &self,
        hashes: &HashSet<BlobHash>,
        each: &mut dyn FnMut(FileRecord),
    ) -> Result<(), IndexError> {
        self.flush()?;
        self.records.scan(|value| {
            let record = codec::decode_record(value)?;
            if hashes.contains(&record.file.hash) {
                each(record);
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

    /// Brings what is recent to the other records once it is much.
    pub(super) fn flush_if_many(&self) -> Result<(), IndexError> {
        if self.recent.read().records.len() < RECENT {
            return Ok(());
        }
        self.flush()
    }

    /// Hands what was brought to the other records to the operating system, so that nothing of it
    /// is lost with the process.
    pub(super) fn hand_over(&self) -> Result<(), IndexError> {
        self.records.hand_over()
    }

    /// Brings what is recent to the other records.
    pub(super) fn flush(&self) -> Result<(), IndexError> {
        let taken = {
            let recent = self.recent.read();
            let Some(progress) = recent.progress else {
                return Ok(());
            };
            self.records.take_in(&recent.records, progress)?
        };
        // Nobody but the caller changes anything, and readers find it in both meanwhile.
        let mut recent = self.recent.write();
        for id in taken {
            recent.records.remove(&id);
        }
        recent.progress = None;
        Ok(())
    }

    /// Hands everything to the operating system and closes. What is derived is left out where
    /// there is no room for it: then the next start derives it.
    pub(super) fn close(self) -> Result<(), IndexError> {
        self.flush()?;
        let Self {
            records, secondary, ..
        } = self;
        let Records::InSled(records) = records else {
            return Ok(());
        };
        let dir = records.close()?;
        let saved = secondary.into_inner().save(&dir);
        let error = match saved {
            Err(error) if is_full(&error) => error,
            saved => return saved.map_err(|e| IndexError::io("write into", dir, e)),
        };
        tracing::debug!(%error, "names and contents are derived at the next start");
        Secondary::discard(&dir)
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
