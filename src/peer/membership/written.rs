//! What is written beside the key of a network, or beside the certificate of a member: files of
//! lines, each of which is signed.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Revocation;
use super::revocation::{self, MAX_REVOKED};
use crate::{given_file, secret_file};

/// What the name of the file of revocations ends with.
const REVOKED: &str = ".revoked";

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RollError {
    /// It cannot be read.
    #[error("{0} cannot be read")]
    Unreadable(PathBuf, #[source] io::Error),
    /// It cannot be written.
    #[error("{0} cannot be written")]
    Unwritable(PathBuf, #[source] io::Error),
    /// A line of it is something else.
    #[error("{0}, line {1}: it is nothing that a network's key has signed")]
    Line(PathBuf, usize),
    /// It is full.
    #[error("{0} has {1} lines, which is the most")]
    Full(PathBuf, usize),
}

/// The path with this behind its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(OsStr::new(ending));
    PathBuf::from(beside)
}

/// The lines of the file at `path`, of at most so many and so long ones; none where there is no
/// file. Blocks.
pub(super) fn lines<T: FromStr>(
    path: &Path,
    most: usize,
    longest: usize,
) -> Result<Vec<T>, RollError> {
    let text = given_file::read(path, (most * (longest + 1)) as u64).and_then(|given| {
        secret_file::check(&given.file)?;
        given.text()
    });
    let text = match text {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RollError::Unreadable(path.to_owned(), error)),
        Ok(text) => text,
    };
    let lines = text.lines().enumerate();
    let line = |(number, it): (usize, &str)| {
        it.parse()
            .map_err(|_| RollError::Line(path.to_owned(), number + 1))
    };
    lines.map(line).collect()
}

/// Puts these lines in the place of what is there. Blocks.
pub(super) fn write_lines<T: Display>(path: &Path, lines: &[T]) -> Result<(), RollError> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push('\n');
    }
    replace(path, text.as_bytes()).map_err(|it| RollError::Unwritable(path.to_owned(), it))
}

/// Has nobody else write beside the file at `path` while what this gives lives. Blocks while
/// another one writes.
pub(super) fn lock(path: &Path) -> Result<fs::File, RollError> {
    let file = fs::File::open(path);
    let file = file.map_err(|error| RollError::Unreadable(path.to_owned(), error))?;
    // Where a file system has no locks, nothing is lost but this.
    let _ = file.lock();
    Ok(file)
}

/// The revocations that are written beside the file at `path`. Blocks.
pub fn revocations(path: &Path) -> Result<Vec<Revocation>, RollError> {
    lines(&beside(path, REVOKED), MAX_REVOKED, revocation::MAX_BYTES)
}

/// Writes a revocation down beside the file at `path`. Blocks.
pub fn add_revocation(path: &Path, revocation: Revocation) -> Result<(), RollError> {
    let _lock = lock(path)?;
    let mut all = revocations(path)?;
    if all.iter().any(|it| it.member == revocation.member) {
        return Ok(());
    }
    let path = beside(path, REVOKED);
    if all.len() >= MAX_REVOKED {
        return Err(RollError::Full(path, MAX_REVOKED));
    }
    all.push(revocation);
    write_lines(&path, &all)
}

/// Puts a file of the owner's alone in the place of what is there, at once and so that it lasts.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    // Which makes it for its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|it| it.error)?;
    fs::File::open(parent)?.sync_all()
}
