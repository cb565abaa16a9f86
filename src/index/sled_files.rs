//! The files of sled's directory, looked at before sled opens them: it waits for a pipe, and takes
//! as much memory as a file says that it is long.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::IndexError;
use crate::stored_file;

/// sled's settings, a few lines.
const SETTINGS: &str = "conf";
/// The longest settings, in bytes.
const MAX_SETTINGS: u64 = 64 << 10;
/// sled's records, of which a snapshot tells where each is.
const RECORDS: &str = "db";
/// Where sled keeps long values, of which larder has none.
const LONG_VALUES: &str = "blobs";
/// What is derived from the records, beside them.
pub(super) const SECONDARY: &str = "secondary";
/// What the names of snapshots begin with; 16 hex digits follow.
const SNAPSHOT: &str = "snap.";
/// What follows those while one is written.
const UNFINISHED: &str = ".generating";
/// A snapshot is at most this many times as long as the records of which it tells, and
/// [`BESIDE`] longer.
const TIMES: u64 = 16;
/// How much longer a snapshot may be, in bytes.
const BESIDE: u64 = 1 << 20;

/// A file that somebody has made longer consists of a hole for the most part, through all of which
/// sled would look: it is at most this many times as long as what is in it, and
/// [`HOLLOW_BESIDE`] longer.
const HOLLOW_TIMES: u64 = 4;
/// How much longer it may be, in bytes.
const HOLLOW_BESIDE: u64 = 64 << 20;
/// How many holes of one file are looked at.
const MOST_HOLES: usize = 1 << 12;

/// Makes a database's directory fit for sled, where there is one: removes what a crash has left,
/// and fails with [`IndexError::Lookup`] where something else than a file is in a file's place, or
/// one is longer than sled makes it, or hollow. Blocks.
pub(super) fn prepare(dir: &Path) -> Result<(), IndexError> {
    // What cannot be listed is for sled to tell.
    let Ok(entries) = fs::read_dir(dir) else {
        return Ok(());
    };
    let records = fs::metadata(dir.join(RECORDS)).map_or(0, |look| look.len());
    for entry in entries.flatten() {
        let path = entry.path();
        let fit = if !is_own(&entry) {
            check_foreign(&entry)
        } else if is_unfinished_snapshot(&entry) {
            fs::remove_file(&path)
        } else {
            check(&entry, records)
        };
        if let Err(error) = fit {
            return Err(IndexError::Lookup(format!("{}: {error}", path.display())));
        }
    }
    Ok(())
}

/// How long the files of a database are together, in bytes. Blocks.
pub(super) fn len(dir: &Path) -> io::Result<u64> {
    let mut len = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(look) if is_own(&entry) && look.is_file() => len += look.len(),
            // A snapshot goes when a newer one is there.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(len)
}

/// Whether it is what sled looks for, or what is kept with it. Whatever else somebody has put there
/// is not looked at.
pub(super) fn is_own(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    [SETTINGS, RECORDS, LONG_VALUES, SECONDARY].contains(&&*name) || is_snapshot(&name)
}

/// Whether a file is called as a snapshot is, or one that is being written.
fn is_snapshot(name: &str) -> bool {
    let digits = name.strip_prefix(SNAPSHOT);
    let digits = digits.map(|it| it.strip_suffix(UNFINISHED).unwrap_or(it));
    let is_digit = |it: u8| matches!(it, b'0'..=b'9' | b'A'..=b'F');
    digits.is_some_and(|it| it.len() == 16 && it.bytes().all(is_digit))
}

/// Fails where somebody else has put something there that sled would read for its own, and remove.
fn check_foreign(entry: &DirEntry) -> io::Result<()> {
    if !entry.file_name().to_string_lossy().starts_with(SNAPSHOT) {
        return Ok(());
    }
    let told = "it is not of larder, and would be taken for a snapshot and removed";
    Err(io::Error::new(io::ErrorKind::InvalidData, told))
}

/// Removes a database's directory with its files, and leaves it where somebody else has put
/// something into it. Blocks.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !is_own(&entry) {
            continue;
        }
        // What is in a directory in a file's place is left alone, too.
        let removed = if entry.file_type()?.is_dir() {
            fs::remove_dir(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => removed?,
        }
    }
    match fs::remove_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
            tracing::warn!(dir = %dir.display(),
                "a lookup database is no longer used, and what is left there is not of larder");
            Ok(())
        }
        removed => removed,
    }
}

/// A crash while sled wrote a snapshot leaves a file that keeps it from opening.
fn is_unfinished_snapshot(entry: &DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    is_snapshot(&name) && name.ends_with(UNFINISHED)
}

fn check(entry: &DirEntry, records: u64) -> io::Result<()> {
    // sled writes through a link to whatever it leads to.
    if entry.file_type()?.is_symlink() {
        let told = "it is a link, which larder never makes";
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    if entry.file_type()?.is_dir() {
        return check_long_values(&entry.path());
    }
    let file = stored_file::open(&entry.path())?;
    let len = file.metadata()?.len();
    let name = entry.file_name();
    let longest = match name.to_str() {
        Some(SETTINGS) => MAX_SETTINGS,
        Some(name) if name.starts_with(SNAPSHOT) => {
            records.saturating_mul(TIMES).saturating_add(BESIDE)
        }
        _ => u64::MAX,
    };
    if len > longest {
        let told = format!("it is longer than the {longest} bytes that it can have");
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    let data = data_bytes(&file, len)?;
    if len
        > data
            .saturating_mul(HOLLOW_TIMES)
            .saturating_add(HOLLOW_BESIDE)
    {
        let told = format!("of its {len} bytes only {data} were ever written");
        return Err(io::Error::new(io::ErrorKind::InvalidData, told));
    }
    Ok(())
}

/// sled keeps long values in a directory of their own, each in a file with a number for its name,
/// and larder has none that are so long: what is called so is somebody else's, and sled would
/// remove it.
fn check_long_values(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|it| it.parse::<i64>().is_ok()) {
            let told = "something is there that is not of larder, and would be removed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
    }
    Ok(())
}

/// How many bytes of a file are not in holes. All of them where the file system does not tell, or
/// it has very many holes. Blocks no longer than the disk does.
fn data_bytes(file: &File, len: u64) -> io::Result<u64> {
    let (mut at, mut data) = (0, 0);
    for _ in 0..MOST_HOLES {
        let start = match seek(file, SeekFrom::Data(at)) {
            Err(Errno::NXIO) => return Ok(data),
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(len),
            start => start?,
        };
        at = seek(file, SeekFrom::Hole(start))?;
        data += at.saturating_sub(start);
    }
    Ok(len)
}
