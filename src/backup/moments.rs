//! The backups that there are: a file for each, which names the pieces of its list.
//!
//! The file is `moments/<number of ten digits>`: a line, `larder-moment 1 <BLAKE3 hash of the
//! rest>`, and the rest, which is JSON.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::BackupError;
use crate::disk::{Disk, DiskError, open_stored, replace_file};
use crate::hash::BlobHash;
use crate::record::Timestamp;
use crate::stored_file;

/// Where they are.
pub(super) const MOMENTS: &str = "moments";
/// What says that a backup was begun.
const UNFINISHED: &str = "unfinished";
/// What the first line of each begins with.
const KIND: &str = "larder-moment 1";
/// The longest one that is read, in bytes: of the list of a hundred million files.
const MAX_BYTES: u64 = 64 << 20;

/// A backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Moment {
    /// Its number, which is greater than that of each one before it.
    #[serde(skip)]
    pub number: u32,
    /// Whose files they are.
    pub peer_id: String,
    /// Of which moment it is, by the clock of that node, in milliseconds since 1970.
    pub at: i64,
    /// How many files it has.
    pub files: u64,
    /// The sum of their sizes, in bytes.
    pub bytes: u64,
    /// How many of them have no content in it, since nobody had it whole.
    pub lacking: u64,
    /// The pieces of the list.
    pub(super) lists: Vec<List>,
}

/// A piece of a list.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct List {
    pub(super) hash: BlobHash,
    pub(super) size: u64,
}

/// What was found of a backup.
#[derive(Debug)]
pub struct Found {
    /// Its number.
    pub number: u32,
    /// The backup, or why it cannot be read.
    pub moment: Result<Moment, BackupError>,
}

impl Moment {
    /// When it was, for people.
    pub fn time(&self) -> String {
        format!("{}Z", Timestamp(self.at))
    }
}

/// Where backups are written down. All calls block.
#[derive(Clone)]
pub(super) struct MomentFiles {
    /// The directory of backups.
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
}

impl MomentFiles {
    /// All backups, the oldest first.
    pub(super) fn all(&self) -> Result<Vec<Found>, BackupError> {
        let dir = self.dir.join(MOMENTS);
        let names = self.disk.names(&dir);
        let names = match names {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(BackupError::NoMoments(dir));
            }
            names => names.map_err(|e| DiskError::new("list", &dir, e))?,
        };
        let numbers = names.iter().filter_map(|it| number(it.to_str()?));
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        let found = numbers.into_iter().map(|number| Found {
            number,
            moment: self.read(number),
        });
        Ok(found.collect())
    }

    pub(super) fn path_of(&self, number: u32) -> PathBuf {
        self.dir.join(MOMENTS).join(format!("{number:010}"))
    }

    fn read(&self, number: u32) -> Result<Moment, BackupError> {
        let path = self.path_of(number);
        let file = open_stored(&*self.disk, &path);
        let bytes = file.and_then(|file| stored_file::whole(file, MAX_BYTES));
        let bytes = match bytes {
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                return Err(damaged(&path, "it is no file, or has no end"));
            }
            bytes => bytes.map_err(|e| DiskError::new("read", &path, e))?,
        };
        let end = bytes.iter().position(|it| *it == b'\n');
        let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        if line != first_line(rest).as_bytes() {
            return Err(damaged(&path, "its bytes have another hash"));
        }
        let read = serde_json::from_slice::<Moment>(rest);
        let moment = read.map_err(|e| damaged(&path, &e.to_string()))?;
        Ok(Moment { number, ..moment })
    }

    /// Writes a backup down, of which all is durable that it names, as the newest, whose number
    /// that gives.
    pub(super) fn add(&self, moment: &Moment) -> Result<u32, BackupError> {
        let last = self.all()?.last().map_or(0, |it| it.number);
        let number = last + 1;
        let path = self.path_of(number);
        let failed = |e| DiskError::new("write", &path, e);
        let rest = serde_json::to_vec_pretty(moment).map_err(|e| failed(e.into()))?;
        let text = [first_line(&rest).as_bytes(), b"\n", &rest].concat();
        replace_file(&*self.disk, &path, &text).map_err(failed)?;
        Ok(number)
    }

    /// Gives these backups up, durably, so that the contents may go that they need.
    pub(super) fn give_up(&self, numbers: &[u32]) -> Result<(), BackupError> {
        for number in numbers {
            let path = self.path_of(*number);
            let removed = self.disk.remove_file(&path);
            removed.map_err(|e| DiskError::new("remove", &path, e))?;
        }
        let dir = self.dir.join(MOMENTS);
        let synced = self.disk.sync_dir(&dir);
        Ok(synced.map_err(|e| DiskError::new("sync", &dir, e))?)
    }

    /// Notes that a backup is begun, so that contents may be there which none needs.
    pub(super) fn note_unfinished(&self) -> Result<(), BackupError> {
        let path = self.dir.join(UNFINISHED);
        let noted = replace_file(&*self.disk, &path, b"");
        Ok(noted.map_err(|e| DiskError::new("write", &path, e))?)
    }

    /// Whether one was begun of which something may be left.
    pub(super) fn has_unfinished(&self) -> bool {
        self.dir.join(UNFINISHED).exists()
    }

    /// Nothing is left of what was begun.
    pub(super) fn forget_unfinished(&self) -> Result<(), BackupError> {
        let path = self.dir.join(UNFINISHED);
        let removed = self.disk.remove_file(&path);
        Ok(removed.map_err(|e| DiskError::new("remove", &path, e))?)
    }
}

fn first_line(rest: &[u8]) -> String {
    format!("{KIND} {}", BlobHash::of(rest))
}

fn damaged(path: &Path, detail: &str) -> BackupError {
    BackupError::Damaged {
        path: path.to_owned(),
        detail: detail.to_owned(),
    }
}

fn number(name: &str) -> Option<u32> {
    let number = name.parse().ok()?;
    (name == format!("{number:010}")).then_some(number)
}
