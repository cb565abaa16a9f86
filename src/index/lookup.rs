//! The lookup database: a sled tree that answers every lookup.
//!
//! It is never trusted to last: it remembers, in the same atomic batch as each
//! change, up to which journal entry it has come, and whoever finds it wrong throws
//! it away and makes it anew from the journal.
//!
//! Keys: `f` + id -> record; `n` + 8 bytes of the name's hash + id -> nothing;
//! `h` + hash -> how many files need it; `m` -> [`Progress`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use bincode::{Decode, Encode};

use super::codec::{self, DecodeError, Entry};
use super::{IndexError, Totals};
use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord};

pub(super) const FILE: u8 = b'f';
pub(super) const NAME: u8 = b'n';
pub(super) const HASH: u8 = b'h';
const PROGRESS: &[u8] = b"m";

/// How far the database has come, and sums over what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub(super) struct Progress {
    /// The journal it was made from.
    pub(super) journal: [u8; 16],
    /// The sequence number of the next entry to apply.
    pub(super) next_seq: u64,
    /// Whether the entries before were durable in the journal when they were applied.
    pub(super) durable: bool,
    /// The highest id ever applied.
    pub(super) last_id: [u8; 16],
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    /// The sum of the digests of all records, modulo 2^128.
    pub(super) digest: u128,
}

impl Progress {
    pub(super) fn totals(&self) -> Totals {
        let Self {
            files,
            bytes,
            blobs,
            blob_bytes,
            ..
        } = *self;
        Totals {
            files,
            bytes,
            blobs,
            blob_bytes,
        }
    }
}

/// The database, open.
pub(super) struct Lookup {
    db: sled::Db,
}

fn failed(error: impl std::fmt::Display) -> IndexError {
    IndexError::Lookup(error.to_string())
}

impl From<DecodeError> for IndexError {
    fn from(error: DecodeError) -> Self {
        failed(error)
    }
}

/// sled panics on some damage instead of returning an error; here both are errors.
fn guard<T>(work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(failed(format!(
            "panic: {}",
            text.unwrap_or("of unknown kind")
        )))
    })
}

fn file_key(id: FileId) -> Vec<u8> {
    [&[FILE], id.as_bytes().as_slice()].concat()
}

pub(super) fn hash_key(hash: &BlobHash) -> Vec<u8> {
    [&[HASH], hash.as_bytes().as_slice()].concat()
}

/// All names with the same hash share this beginning of their keys.
fn name_prefix(name: &str) -> Vec<u8> {
    [
        &[NAME],
        blake3::hash(name.as_bytes()).as_bytes().split_at(8).0,
    ]
    .concat()
}

pub(super) fn name_key(name: &str, id: FileId) -> Vec<u8> {
    [name_prefix(name).as_slice(), id.as_bytes()].concat()
}

impl Lookup {
    /// Opens or creates the database. Blocks.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, IndexError> {
        remove_unfinished_snapshots(dir)?;
        guard(|| {
            let config = sled::Config::new().path(dir).cache_capacity(cache_bytes);
            config.open().map(|db| Self { db }).map_err(failed)
        })
    }

    /// How far it has come; the default for an empty database.
    pub(super) fn progress(&self) -> Result<Progress, IndexError> {
        match self.read(PROGRESS)? {
            Some(bytes) => Ok(codec::decode(&bytes)?),
            None => Ok(Progress {
                next_seq: 1,
                ..Progress::default()
            }),
        }
    }

    fn read(&self, key: &[u8]) -> Result<Option<sled::IVec>, IndexError> {
        guard(|| self.db.get(key).map_err(failed))
    }

    pub(super) fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError> {
        match self.read(&file_key(id))? {
            Some(bytes) => Ok(Some(codec::decode_record(&bytes)?)),
            None => Ok(None),
        }
    }

    /// The digest of a record's encoding, as the sums count it.
    pub(super) fn digest_of(&self, id: FileId) -> Result<Option<u128>, IndexError> {
        Ok(self.read(&file_key(id))?.map(|bytes| codec::digest(&bytes)))
    }

    pub(super) fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError> {
        let prefix = name_prefix(name);
        guard(|| {
            for key in self.db.scan_prefix(&prefix).keys().rev() {
                let key = key.map_err(failed)?;
                let id = key.get(prefix.len()..).and_then(|id| id.try_into().ok());
                let id = FileId::from_bytes(id.ok_or_else(|| failed("a name's key is damaged"))?);
                // Another name may share the hash.
                if let Some(record) = self.get(id)?.filter(|record| record.file.name == name) {
                    return Ok(Some(record));
                }
            }
            Ok(None)
        })
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
        guard(|| {
            let values = self.db.range(from..vec![FILE + 1]).values().take(limit);
            values
                .map(|value| Ok(codec::decode_record(&value.map_err(failed)?)?))
                .collect()
        })
    }

    pub(super) fn needs(&self, hash: &BlobHash) -> Result<bool, IndexError> {
        Ok(self.read(&hash_key(hash))?.is_some())
    }

    /// At most `limit` hashes that files need, in order, from the first after `after`.
    pub(super) fn hashes(
        &self,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobHash>, IndexError> {
        let mut from = after.map_or_else(|| vec![HASH], |hash| hash_key(&hash));
        if after.is_some() {
            from.push(0);
        }
        guard(|| {
            let keys = self.db.range(from..vec![HASH + 1]).keys().take(limit);
            keys.map(|key| {
                let key = key.map_err(failed)?;
                let hash = key.get(1..).and_then(|hash| hash.try_into().ok());
                let hash = hash.ok_or_else(|| failed("a hash's key is damaged"))?;
                Ok(BlobHash::from_bytes(hash))
            })
            .collect()
        })
    }

    /// Calls `visit` with each key's first byte and the rest of the key and the value.
    pub(super) fn scan(
        &self,
        mut visit: impl FnMut(u8, &[u8], &[u8]) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        guard(|| {
            for pair in self.db.iter() {
                let (key, value) = pair.map_err(failed)?;
                let (kind, rest) = key.split_first().ok_or_else(|| failed("an empty key"))?;
                visit(*kind, rest, &value)?;
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
        guard(|| {
            let mut change = Change {
                lookup: self,
                progress,
                batch: BTreeMap::new(),
            };
            for entry in entries {
                change.apply(entry)?;
            }
            let Change {
                progress, batch, ..
            } = change;
            let mut sled_batch = sled::Batch::default();
            for (key, value) in batch {
                match value {
                    Some(value) => sled_batch.insert(key, value),
                    None => sled_batch.remove(key),
                }
            }
            sled_batch.insert(PROGRESS, codec::encode(progress));
            self.db.apply_batch(sled_batch).map_err(failed)?;
            Ok(progress)
        })
    }

    /// Hands everything to the operating system and closes.
    pub(super) fn close(self) -> Result<(), IndexError> {
        guard(|| {
            self.db.flush().map_err(failed)?;
            drop(self.db);
            Ok(())
        })
    }
}

/// One batch in the making; keys it has changed already are read from itself.
struct Change<'a> {
    lookup: &'a Lookup,
    progress: Progress,
    batch: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Change<'_> {
    fn read(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.batch.get(key) {
            Some(value) => Ok(value.clone()),
            None => Ok(self.lookup.read(key)?.map(|value| value.to_vec())),
        }
    }

    fn apply(&mut self, entry: Entry) -> Result<(), IndexError> {
        match entry {
            Entry::Added(record) => self.add(record),
            Entry::Removed { id, digest } => self.remove(id, digest),
        }
    }

    fn add(&mut self, record: FileRecord) -> Result<(), IndexError> {
        let (id, size) = (record.id, record.file.size);
        let hash_key = hash_key(&record.file.hash);
        let users = self
            .read(&hash_key)?
            .map_or(Ok(0), |users| codec::decode::<u64>(&users))?;
        self.batch.insert(hash_key, Some(codec::encode(users + 1)));
        self.batch
            .insert(name_key(&record.file.name, id), Some(Vec::new()));
        let value = codec::encode_record(record);
        let sums = &mut self.progress;
        sums.files += 1;
        sums.bytes += size;
        if users == 0 {
            sums.blobs += 1;
            sums.blob_bytes += size;
        }
        sums.digest = sums.digest.wrapping_add(codec::digest(&value));
        sums.last_id = sums.last_id.max(*id.as_bytes());
        self.batch.insert(file_key(id), Some(value));
        Ok(())
    }

    fn remove(&mut self, id: FileId, digest: u128) -> Result<(), IndexError> {
        let value = self.read(&file_key(id))?;
        // Only behind damage that was skipped can a file go that never came.
        let Some(value) = value else { return Ok(()) };
        let FileRecord { file, .. } = codec::decode_record(&value)?;
        let hash_key = hash_key(&file.hash);
        let users = self
            .read(&hash_key)?
            .map_or(Ok(0), |users| codec::decode::<u64>(&users))?;
        let left = users
            .checked_sub(1)
            .ok_or_else(|| failed(format!("nobody needs {}", file.hash)))?;
        self.batch
            .insert(hash_key, (left > 0).then(|| codec::encode(left)));
        self.batch.insert(name_key(&file.name, id), None);
        self.batch.insert(file_key(id), None);
        let sums = &mut self.progress;
        sums.files = sums.files.saturating_sub(1);
        sums.bytes = sums.bytes.saturating_sub(file.size);
        if left == 0 {
            sums.blobs = sums.blobs.saturating_sub(1);
            sums.blob_bytes = sums.blob_bytes.saturating_sub(file.size);
        }
        sums.digest = sums.digest.wrapping_sub(digest);
        Ok(())
    }
}

/// A crash while sled wrote a snapshot leaves a file that keeps it from opening.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), IndexError> {
    let Ok(files) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    for file in files.flatten() {
        let name = file.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let path = file.path();
            std::fs::remove_file(&path).map_err(|e| IndexError::io("remove", path, e))?;
        }
    }
    Ok(())
}
