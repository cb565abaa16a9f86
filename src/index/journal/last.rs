//! A copy of the batch that was written last.
//!
//! The end of the journal is the one place where damage looks like a write that a crash cut
//! off. The copy, in a file of its own, tells them apart, and has what was lost. It is written
//! once the batch itself stands, and is never synced: after a power cut it may be of an earlier
//! batch, or damaged, and then it says nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::batch::{Batch, HEADER, MAX_BODY};
use super::damage::Damage;
use super::read::End;
use super::segment::Kind;
use crate::disk::{Disk, DiskFile, is_shortage, open_own};
use crate::index::IndexError;
use crate::stored_file;

/// The file, beside the segments.
const FILE: &str = "last-batch";
/// The longest batch, in bytes.
const LONGEST: u64 = (HEADER + MAX_BODY) as u64;

/// The copy, open for writing.
pub(super) struct LastBatch {
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl LastBatch {
    /// Opens the copy, or makes one, in which an empty batch stands for the end of the journal
    /// where the last one is not known. Where it has what the journal has lost, it stays as it
    /// is until the next write, if that `mends` the journal by it.
    pub(super) fn open(
        (dir, disk): (&Path, &dyn Disk),
        id: &[u8; 16],
        (end, mends): (&End, bool),
    ) -> Result<Self, IndexError> {
        let path = dir.join(FILE);
        if let Some(Damage { path, detail, .. }) = damage_of_last(dir, end) {
            let path = path.display();
            tracing::warn!(%path, detail, "the copy of the last change is damaged");
        }
        let open = || {
            let file = match open_own(disk, &path) {
                Err(e) if is_file(&path) || is_shortage(&e) => return Err(e),
                // Whatever is in its place said nothing.
                Err(_) => {
                    clear(&path, disk)?;
                    disk.create(&path)?
                }
                Ok(file) => file,
            };
            let is_needed = match last(dir, end) {
                Last::Known => true,
                // Until it stands in the journal again, nothing else has it.
                Last::Lost(_) | Last::Beyond(_) => mends,
                Last::Unknown => false,
            };
            if !is_needed {
                let bytes = none(end).encode(id);
                // One that is too long would never be read again.
                file.set_len(bytes.len() as u64)?;
                file.write_all_at(&bytes, 0)?;
            }
            Ok(file)
        };
        let file = open().map_err(|e| IndexError::io("open", &path, e))?;
        Ok(Self { path, file })
    }

    /// Writes down the batch that now stands at the journal's end. Without that the journal is as
    /// good as ever, and an older copy says nothing, so no failure here is an error.
    pub(super) fn write(&self, batch: &[u8]) {
        if let Err(error) = self.file.write_all_at(batch, 0) {
            tracing::debug!(path = %self.path.display(), %error, "the last batch is not copied");
        }
    }
}

/// The batch that stands for the end of a journal of which the last one is not known.
fn none(end: &End) -> Batch {
    Batch {
        first_seq: end.next_seq,
        durable_seq: end.durable_seq,
        relaxed: false,
        entries: Vec::new(),
    }
}

/// What the copy says of a journal that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::index) enum Last {
    /// Nothing: it is not there, damaged, or older than the end.
    Unknown,
    /// It is the batch before the end: whatever follows there was never acknowledged.
    Known,
    /// It follows at the end, where the journal has lost it.
    Lost(Batch),
    /// More is lost than this batch: entries before it are, too. Under relaxed durability a
    /// power cut does that.
    Beyond(Batch),
}

impl Last {
    /// The number after the last entry that it tells of, where the journal has lost that; else 0.
    pub(in crate::index) fn next_seq(&self) -> u64 {
        match self {
            Self::Lost(batch) | Self::Beyond(batch) => batch.next_seq(),
            Self::Unknown | Self::Known => 0,
        }
    }
}

/// Compares the copy in `dir` with the end of the journal there. Blocks.
pub(in crate::index) fn last(dir: &Path, end: &End) -> Last {
    let Some((segment, _)) = &end.last else {
        return Last::Unknown;
    };
    let bytes = stored_file::read(&dir.join(FILE), LONGEST).unwrap_or_default();
    match Batch::decode(&bytes, &segment.header.journal) {
        Err(_) => Last::Unknown,
        Ok((batch, _)) if batch.next_seq() < end.next_seq => Last::Unknown,
        Ok((batch, _)) if batch.next_seq() == end.next_seq => Last::Known,
        Ok((batch, _)) if batch.first_seq == end.next_seq => Last::Lost(batch),
        Ok((batch, _)) => Last::Beyond(batch),
    }
}

/// The copy in `dir` of a journal of this id whose end nobody can read. Blocks.
pub(in crate::index) fn copy_of_last(dir: &Path, journal: &[u8; 16]) -> Option<Batch> {
    let bytes = stored_file::read(&dir.join(FILE), LONGEST).ok()?;
    let (batch, _) = Batch::decode(&bytes, journal).ok()?;
    Some(batch)
}

/// Whether anything is in the place of the copy in `dir`. Blocks.
pub(in crate::index) fn has_copy_of_last(dir: &Path) -> bool {
    dir.join(FILE).symlink_metadata().is_ok()
}

/// What is wrong with the copy in `dir` of a journal that was read to its `end`, for who looks
/// before it is made anew. One that is only older than the end is fine. Blocks.
pub(in crate::index) fn damage_of_last(dir: &Path, end: &End) -> Option<Damage> {
    let (segment, _) = end.last.as_ref()?;
    let path = dir.join(FILE);
    let detail = match stored_file::read(&path, LONGEST) {
        Ok(bytes) => {
            let decoded = Batch::decode(&bytes, &segment.header.journal);
            decoded.err().map(|_| "it cannot be read".to_owned())?
        }
        Err(error) if is_shortage(&error) => return None,
        // Who makes the journal anew leaves none, until something is to be appended.
        Err(_) if !has_copy_of_last(dir) => {
            let is_due = segment.header.kind == Kind::Log && end.next_seq > 1;
            is_due.then(|| "it is not there".to_owned())?
        }
        Err(error) => error.to_string(),
    };
    Some(Damage {
        path,
        offset: 0,
        detail: format!("{detail} (the node makes it anew)"),
        gives_up: false,
    })
}

/// Removes the copy, where the journal is given another end on purpose. Blocks.
pub(in crate::index) fn forget_last(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    clear(&dir.join(FILE), disk)
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|look| look.is_file())
}

/// Clears the place of the copy. A directory, which somebody else has made, is set aside beside
/// it, since what is in it is nobody's here.
fn clear(path: &Path, disk: &dyn Disk) -> io::Result<()> {
    let look = path.symlink_metadata();
    if !look.is_ok_and(|look| look.is_dir()) {
        return disk.remove_file(path);
    }
    let aside = format!("{FILE}.{}.damaged", uuid::Uuid::new_v4());
    let aside = path.with_file_name(aside);
    tracing::warn!(path = %path.display(), aside = %aside.display(),
        "a directory is in the place of a file of the journal; set aside");
    disk.rename(path, &aside)
}
