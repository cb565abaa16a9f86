//! The version of everything stored, as a file of the storage directory says it.

use std::io;
use std::path::{Path, PathBuf};

use super::layout::{FORMAT, WITH_TRASH};
use crate::disk::{Disk, DiskError, replace_file};
use crate::stored_file;

/// The longest file that says it, in bytes.
const MAX_BYTES: u64 = 4096;

/// Why it is not known.
#[derive(Debug)]
pub(super) enum VersionError {
    /// The file says something else.
    Unreadable(PathBuf),
    /// The system does not give it.
    Disk(DiskError),
}

/// The version that a storage directory tells; None where no file says one.
pub(super) fn version(dir: &Path) -> Result<Option<u32>, VersionError> {
    let path = dir.join(FORMAT);
    let bytes = match stored_file::read(&path, MAX_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| VersionError::Disk(DiskError::new("read", &path, e)))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let found = text.trim_end().strip_prefix("larder ");
    let found = found.and_then(|version| version.parse().ok());
    found.map(Some).ok_or(VersionError::Unreadable(path))
}

/// Says that a storage directory has a trash. Blocks.
pub(super) fn note_trash(dir: &Path, disk: &dyn Disk) -> Result<(), DiskError> {
    write_version(dir, WITH_TRASH, disk)
}

/// Says the version of a storage directory, at once and durably. Blocks.
pub(super) fn write_version<E: From<DiskError>>(
    dir: &Path,
    version: u32,
    disk: &dyn Disk,
) -> Result<(), E> {
    let (path, version) = (dir.join(FORMAT), format!("larder {version}\n"));
    let written = replace_file(disk, &path, version.as_bytes());
    Ok(written.map_err(|e| DiskError::new("write", path, e))?)
}
