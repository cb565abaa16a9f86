//! The seal: a clean stop leaves a checksum of the lookup database's files, so that
//! the next start can trust them without looking into them.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::options::Options;
use crate::disk::replace_file;
use crate::index::{IndexError, sled_files};
use crate::stored_file;

const MAGIC: &[u8; 8] = b"larderS2";
/// What a seal begins with whose own fields are under no checksum.
const OLD_MAGIC: &[u8; 8] = b"larderS1";
/// The length of a seal without the checksum of itself.
const LEN: usize = 8 + 8 + 8 + 32;
/// The longest seal, in bytes.
const MAX_BYTES: u64 = LEN as u64 + 32;

/// What a clean stop wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seal {
    /// The generation of the sealed database.
    generation: u64,
    /// The sequence number after the last entry of the journal, all durable.
    pub(super) next_seq: u64,
    /// Whether only the sealed database vouches for that number, as an older larder's seal
    /// says nothing that shows whether it is itself whole.
    is_old: bool,
    /// The checksum of the database's files.
    checksum: [u8; 32],
}

/// The file, in the storage directory.
pub(super) const FILE: &str = "index.seal";

fn path(options: &Options) -> PathBuf {
    options.dir.join(FILE)
}

/// Seals the closed database of this generation. Blocks.
pub(super) fn write(options: &Options, generation: u64, next_seq: u64) -> Result<(), IndexError> {
    let path = path(options);
    let seal = || {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(generation.to_le_bytes());
        bytes.extend(next_seq.to_le_bytes());
        bytes.extend(checksum(&options.generation_dir(generation))?);
        bytes.extend(blake3::hash(&bytes).as_bytes());
        replace_file(&*options.disk, &path, &bytes)
    };
    seal().map_err(|e| IndexError::io("write", &path, e))
}

/// What there is of a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// None: the last stop was a crash.
    Absent,
    /// Bytes that no stop has written.
    Damaged,
    /// A seal, which may still not hold.
    Whole(Seal),
}

impl Found {
    pub(super) fn seal(self) -> Option<Seal> {
        match self {
            Self::Whole(seal) => Some(seal),
            Self::Absent | Self::Damaged => None,
        }
    }
}

/// What there is of a seal. Blocks.
pub(super) fn read(options: &Options) -> Found {
    match stored_file::read(&path(options), MAX_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Found::Absent,
        bytes => {
            let seal = bytes.ok().and_then(|bytes| parse(&bytes));
            seal.map_or(Found::Damaged, Found::Whole)
        }
    }
}

/// Breaks the seal, before the first change. Blocks.
pub(super) fn remove(options: &Options) -> Result<(), IndexError> {
    let path = path(options);
    let remove = || {
        options.disk.remove_file(&path)?;
        // From now on the database changes; the seal must not come back.
        options.disk.sync_dir(&options.dir)
    };
    remove().map_err(|e| IndexError::io("remove", &path, e))
}

fn parse(bytes: &[u8]) -> Option<Seal> {
    let (fields, own_checksum) = bytes.split_at_checked(LEN)?;
    let (magic, rest) = fields.split_first_chunk::<8>()?;
    let is_whole = match magic {
        MAGIC => own_checksum == blake3::hash(fields).as_bytes(),
        OLD_MAGIC => own_checksum.is_empty(),
        _ => false,
    };
    let (generation, rest) = rest.split_first_chunk()?;
    let (next_seq, checksum) = rest.split_first_chunk()?;
    is_whole.then_some(Seal {
        generation: u64::from_le_bytes(*generation),
        next_seq: u64::from_le_bytes(*next_seq),
        is_old: magic == OLD_MAGIC,
        checksum: checksum.try_into().ok()?,
    })
}

impl Seal {
    /// Whether a larder has written it that knew no checksum of the seal itself.
    pub(super) fn is_old(&self) -> bool {
        self.is_old
    }

    /// Whether what it says of the journal's end can be believed, beside a database that has
    /// come to the entry `reached` and whose files are those that were sealed, or not.
    pub(super) fn is_proven(&self, holds: bool, reached: u64) -> bool {
        !self.is_old || (holds && self.next_seq == reached)
    }

    /// Whether the database's files are those that were sealed. Blocks.
    pub(super) fn holds(&self, options: &Options, generation: u64) -> bool {
        let dir = options.generation_dir(generation);
        // Before much is read of what no database is.
        if sled_files::prepare(&dir).is_err() {
            return false;
        }
        let now = checksum(&dir);
        self.generation == generation && now.is_ok_and(|now| now == self.checksum)
    }
}

/// A checksum over names, lengths and contents of all files of the database in a directory.
fn checksum(dir: &Path) -> io::Result<[u8; 32]> {
    let mut hasher = blake3::Hasher::new();
    let mut waiting = vec![dir.to_owned()];
    let mut buffer = vec![0; 1 << 20];
    while let Some(path) = waiting.pop() {
        hasher.update(
            path.strip_prefix(dir)
                .unwrap_or(&path)
                .as_os_str()
                .as_encoded_bytes(),
        );
        if path.is_dir() {
            let mut below = Vec::new();
            for entry in std::fs::read_dir(&path)? {
                let entry = entry?;
                // What somebody else has put there is nothing of the database.
                if path != dir || sled_files::is_own(&entry) {
                    below.push(entry.path());
                }
            }
            below.sort();
            waiting.extend(below);
            continue;
        }
        let mut file = stored_file::open(&path)?;
        hasher.write_all(&file.metadata()?.len().to_le_bytes())?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
        }
    }
    Ok(*hasher.finalize().as_bytes())
}
