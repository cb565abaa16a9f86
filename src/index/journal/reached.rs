//! How far the journal has come, noted beside its directory.
//!
//! A journal that was put back from an earlier time is whole in itself, and so is the copy of its
//! last batch, which comes back with it; that of another store is whole, too. So a file outside of
//! its directory tells whose the journal is and up to which entry it was durable once. It is
//! written after each batch and never synced: after a power cut it may be of an earlier moment,
//! or damaged, and then it says nothing. It never says more than what was durable.

use std::io;
use std::path::{Path, PathBuf};

use super::batch::Fields;
use super::damage::Damage;
use super::segment::Segment;
use crate::disk::{Disk, DiskFile, open_own};
use crate::index::IndexError;
use crate::stored_file::{self, is_no_file};

const MAGIC: [u8; 8] = *b"larderR1";
/// The length of the file, in bytes.
const LEN: usize = 8 + 16 + 8 + 4;

/// The file, open for writing.
pub(super) struct ReachedFile {
    path: PathBuf,
    journal: [u8; 16],
    /// None where it cannot be written: the journal is as good as ever without it.
    file: Option<Box<dyn DiskFile>>,
}

impl ReachedFile {
    /// Opens the file of the journal in `dir`, or makes one, and notes that its entries before
    /// `next_seq` are durable and no others ever were. What is no file stays where it is, and then
    /// nothing is noted.
    pub(super) fn open(
        (dir, disk): (&Path, &dyn Disk),
        journal: &[u8; 16],
        next_seq: u64,
    ) -> Result<Self, IndexError> {
        let path = path(dir);
        let reached = Reached {
            journal: *journal,
            next_seq,
        };
        let open = || {
            let file = match path.symlink_metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(&path)?,
                _ => open_own(disk, &path)?,
            };
            file.set_len(LEN as u64)?;
            file.write_all_at(&reached.encode(), 0)?;
            Ok(file)
        };
        let file = match open() {
            Err(error) if !path.is_file() && is_no_file(&error) => {
                tracing::warn!(path = %path.display(), %error,
                    "how far the journal has come cannot be noted, so that a journal of an earlier \
                     time would not show; move away what is there");
                None
            }
            opened => Some(opened.map_err(|e| IndexError::io("open", &path, e))?),
        };
        Ok(Self {
            path,
            journal: *journal,
            file,
        })
    }

    /// Notes that the entries before `next_seq` are durable.
    pub(super) fn note(&self, next_seq: u64) {
        let reached = Reached {
            journal: self.journal,
            next_seq,
        };
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(&reached.encode(), 0)
        {
            let path = self.path.display();
            tracing::debug!(%path, %error, "how far the journal has come is not noted");
        }
    }
}

/// What the file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) struct Reached {
    /// The journal's id.
    journal: [u8; 16],
    /// The number after the last entry that was durable.
    next_seq: u64,
}

impl Reached {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend(MAGIC);
        bytes.extend(self.journal);
        bytes.extend(self.next_seq.to_le_bytes());
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_at_checked(LEN - 4)?;
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return None;
        }
        let mut fields = Fields(body);
        let magic = fields.take::<8>().ok()?;
        let reached = Self {
            journal: fields.take().ok()?,
            next_seq: u64::from_le_bytes(fields.take().ok()?),
        };
        (magic == MAGIC).then_some(reached)
    }

    /// What there is of the journal in `dir`; the error says why that is nothing. Blocks.
    fn read(dir: &Path) -> Result<Option<Self>, String> {
        match stored_file::read(&path(dir), LEN as u64) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.to_string()),
            Ok(bytes) => Self::decode(&bytes)
                .map(Some)
                .ok_or("it cannot be read".into()),
        }
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.with_extension("reached")
}

/// The number after the last entry of the journal in `dir` that is known to have been durable
/// once; 0 where nothing tells. Blocks.
pub(in crate::index) fn reached(dir: &Path) -> u64 {
    let reached = Reached::read(dir).ok().flatten();
    reached.map_or(0, |it| it.next_seq)
}

/// Whether anything is there that tells of a journal in `dir`. Blocks.
pub(in crate::index) fn tells_of_journal(dir: &Path) -> bool {
    Reached::read(dir).is_ok_and(|reached| reached.is_some())
}

/// That these segments in `dir` are of another journal than the one that was there last. Blocks.
pub(in crate::index) fn stranger(dir: &Path, segments: &[Segment]) -> Option<Damage> {
    let reached = Reached::read(dir).ok().flatten()?;
    let first = segments.first()?;
    (first.header.journal != reached.journal).then(|| Damage {
        path: first.path.clone(),
        offset: 0,
        detail: format!(
            "it is of another store's journal than the one that was here: put that back, or, where \
             this one is right, remove {}",
            path(dir).display()
        ),
        gives_up: true,
    })
}

/// What is wrong with the file itself, for who looks before it is made anew. Blocks.
pub(in crate::index) fn damage_of_reached(dir: &Path) -> Option<Damage> {
    let detail = Reached::read(dir).err()?;
    Some(Damage {
        path: path(dir),
        offset: 0,
        detail: format!("{detail} (the node makes it anew)"),
        gives_up: false,
    })
}

/// Removes the file, where the journal becomes another one on purpose. Blocks.
pub(in crate::index) fn forget_reached(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    match disk.remove_file(&path(dir)) {
        // What is no file tells nothing.
        Err(_) if path(dir).is_dir() => Ok(()),
        removed => removed,
    }
}
