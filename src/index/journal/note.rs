//! Notes of how far a journal has come: where they are, and what they look like.
//!
//! One beside the journal is a file of one record. One in a directory of contents is a file of
//! two, of which the first is durable from the beginning, so that a power cut leaves no note that
//! says nothing, and the second is written in place; or it is the name of an empty directory
//! there, among directories, which is renamed.

use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::batch::Fields;
use crate::disk::{Disk, DiskFile, open_own, replace_file};
use crate::stored_file;

/// What a record begins with.
const MAGIC: [u8; 8] = *b"larderR1";
/// The same beside the journal, where contents have notes, too.
const MAGIC_OF_ALL: [u8; 8] = *b"larderR2";
/// The same with contents of which what no record needs is kept, until somebody settles that.
const MAGIC_OF_KEPT: [u8; 8] = *b"larderR3";
/// The length of a record, in bytes.
const LEN: usize = 8 + 16 + 8 + 4;
/// What the name of a directory begins with that is a note.
const NAME: &str = "reached-";

/// A directory of contents that records of the journal need.
#[derive(Debug, Clone)]
pub struct ContentDir {
    /// Where it is.
    pub dir: PathBuf,
    /// The file in it in which it is noted how far the journal has come; None where only
    /// directories belong there, so that the name of one is the note.
    pub note: Option<PathBuf>,
    /// The sizes of the contents that come into it, in bytes.
    pub sizes: RangeInclusive<u64>,
    /// Whether any content is in it; what cannot be looked at counts as some. It blocks.
    pub holds_any: fn(&Path) -> bool,
}

impl ContentDir {
    /// What is said to be a note there.
    pub(super) fn note(&self) -> &Path {
        self.note.as_deref().unwrap_or(&self.dir)
    }

    /// What the notes there tell, each with where it is; the error says why one says nothing.
    /// Blocks.
    pub(super) fn read(&self) -> Result<Vec<(PathBuf, Reached)>, String> {
        match &self.note {
            Some(path) => Ok(read(path)?
                .map(|it| (path.clone(), it))
                .into_iter()
                .collect()),
            None => names(&self.dir).map_err(|error| error.to_string()),
        }
    }

    /// Opens the note there, or makes one, which tells of nothing but `reached`. Blocks.
    pub(super) fn open(&self, disk: &dyn Disk, reached: Reached) -> io::Result<Note> {
        let (path, place) = if let Some(path) = &self.note {
            (path.clone(), open_in_file(disk, path, reached)?)
        } else {
            let path = open_as_name(disk, &self.dir, reached)?;
            (path.clone(), Place::Name(path))
        };
        let sizes = self.sizes.clone();
        Ok(Note { path, place, sizes })
    }
}

/// A note that can be written.
pub(super) struct Note {
    pub(super) path: PathBuf,
    place: Place,
    /// The sizes of the contents that it is with.
    pub(super) sizes: RangeInclusive<u64>,
}

enum Place {
    /// In a file, at so many bytes from its start.
    File(Box<dyn DiskFile>, u64),
    /// In the name of this directory.
    Name(PathBuf),
}

impl Note {
    /// Opens the note beside the journal, or makes one. Blocks.
    pub(super) fn beside(disk: &dyn Disk, path: &Path, reached: Reached) -> io::Result<Self> {
        let file = match path.symlink_metadata() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(path)?,
            _ => open_own(disk, path)?,
        };
        file.set_len(LEN as u64)?;
        file.write_all_at(&reached.encode(), 0)?;
        Ok(Self {
            path: path.to_owned(),
            place: Place::File(file, 0),
            sizes: 0..=u64::MAX,
        })
    }

    /// Writes it, not durably. Blocks.
    pub(super) fn write(&mut self, disk: &dyn Disk, reached: Reached) -> io::Result<()> {
        match &mut self.place {
            Place::File(file, offset) => file.write_all_at(&reached.encode(), *offset),
            Place::Name(path) => {
                let to = path.with_file_name(reached.name());
                if path.is_dir() {
                    disk.rename(path, &to)?;
                } else {
                    // Somebody clears away what is empty.
                    disk.create_dir(&to)?;
                }
                *path = to;
                Ok(())
            }
        }
    }
}

fn open_in_file(disk: &dyn Disk, path: &Path, reached: Reached) -> io::Result<Place> {
    let look = path.symlink_metadata();
    if look.is_ok_and(|look| !look.is_file() && !look.is_symlink()) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let first = read_records(path).ok().and_then(|[first, _]| first);
    let is_fit = |it: Reached| {
        it.kind == reached.kind && it.journal == reached.journal && it.next_seq <= reached.next_seq
    };
    let record = reached.encode();
    if !first.is_some_and(is_fit) {
        replace_file(disk, path, &[&record[..], &record].concat())?;
    }
    let file = open_own(disk, path)?;
    file.set_len(2 * LEN as u64)?;
    file.write_all_at(&record, LEN as u64)?;
    Ok(Place::File(file, LEN as u64))
}

fn open_as_name(disk: &dyn Disk, dir: &Path, reached: Reached) -> io::Result<PathBuf> {
    let path = dir.join(reached.name());
    let mut others = names(dir)?;
    others.retain(|(other, _)| *other != path);
    if !path.is_dir() {
        // Also where somebody has put something into it.
        let renamed = others.last().map(|(other, _)| disk.rename(other, &path));
        if renamed.is_some_and(|it| it.is_ok()) {
            others.pop();
        } else {
            // Of what a file system lies over it may rename no directories.
            disk.create_dir(&path).map_err(in_the_way)?;
        }
        disk.sync_dir(dir)?;
    }
    for (other, _) in others {
        if let Err(error) = std::fs::remove_dir(&other) {
            tracing::warn!(path = %other.display(), %error, "a note of another time stays");
        }
    }
    Ok(path)
}

fn in_the_way(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::AlreadyExists => io::ErrorKind::InvalidData.into(),
        _ => error,
    }
}

/// What a note tells besides how far the journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// That contents have notes, too: so it is beside the journal.
    OfAll,
    /// That contents are kept that no record needs, as long as nobody has settled what is lost.
    OfKept,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Plain, Self::OfAll, Self::OfKept];

    fn magic(self) -> [u8; 8] {
        match self {
            Self::Plain => MAGIC,
            Self::OfAll => MAGIC_OF_ALL,
            Self::OfKept => MAGIC_OF_KEPT,
        }
    }
}

/// What a note tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// What it tells besides.
    pub(super) kind: Kind,
    /// The journal's id.
    pub(super) journal: [u8; 16],
    /// The number after the last entry that was durable.
    pub(super) next_seq: u64,
}

impl Reached {
    fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LEN);
        bytes.extend(self.kind.magic());
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
        let magic = fields.take().ok()?;
        Some(Self {
            kind: Kind::ALL.into_iter().find(|it| it.magic() == magic)?,
            journal: fields.take().ok()?,
            next_seq: u64::from_le_bytes(fields.take().ok()?),
        })
    }

    /// The same as the name of a directory: all of a record, in hex digits.
    fn name(self) -> String {
        let digits = self.encode().into_iter().map(|byte| format!("{byte:02x}"));
        [NAME.to_owned(), digits.collect()].concat()
    }

    fn from_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(NAME)?;
        let pairs = digits.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        let reached = Self::decode(&bytes.collect::<Option<Vec<_>>>()?)?;
        (reached.name() == name).then_some(reached)
    }
}

/// The whole records of a file, which has two at most.
fn read_records(path: &Path) -> io::Result<[Option<Reached>; 2]> {
    let bytes = stored_file::read(path, 2 * LEN as u64)?;
    let (first, second) = bytes.split_at_checked(LEN).unwrap_or((&bytes, &[]));
    Ok([first, second].map(Reached::decode))
}

/// What the file at `path` tells; the error says why that is nothing. Blocks.
pub(super) fn read(path: &Path) -> Result<Option<Reached>, String> {
    match read_records(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
        Ok([first, second]) => second.or(first).map(Some).ok_or("it cannot be read".into()),
    }
}

/// What the names of directories in `dir` tell.
fn names(dir: &Path) -> io::Result<Vec<(PathBuf, Reached)>> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let reached = entry.file_name().to_str().and_then(Reached::from_name);
        if let Some(reached) = reached
            && entry.file_type()?.is_dir()
        {
            found.push((entry.path(), reached));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_a_record_does_and_no_other_name_tells_anything() {
        for kind in Kind::ALL {
            let reached = Reached {
                kind,
                journal: [7; 16],
                next_seq: 1 << 40,
            };
            let name = reached.name();
            assert_eq!(Reached::from_name(&name), Some(reached));
            assert_eq!(Reached::decode(&reached.encode()), Some(reached));
            for at in 0..name.len() {
                let mut other = name.clone().into_bytes();
                other[at] = if other[at] == b'0' { b'1' } else { b'0' };
                let other = String::from_utf8(other).unwrap();
                assert_eq!(Reached::from_name(&other), None, "{other}");
                assert_eq!(Reached::from_name(&name[..at]), None);
            }
            assert_eq!(Reached::from_name(&name.to_uppercase()), None);
        }
    }
}
