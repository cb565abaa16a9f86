//! What stands in the directory of a node that keeps its files elsewhere: a node that is started
//! there without its settings would begin with no file at all, under the identity of all others.

use std::io;
use std::path::Path;

use crate::disk::DiskError;
#[cfg(feature = "shared")]
use crate::disk::{Disk, replace_file};
use crate::stored_file;

/// In the storage directory: a line with the version, and one with the URL of the bucket.
pub(super) const NAME: &str = "larder.servers";
const KIND: &str = "larder-servers 1\n";
/// The most of it that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// Notes in the storage directory `dir` that files are in `bucket`. Blocks.
#[cfg(feature = "shared")]
pub(super) fn write(dir: &Path, disk: &dyn Disk, bucket: &str) -> Result<(), DiskError> {
    let path = dir.join(NAME);
    let text = format!("{KIND}{bucket}\n");
    let is_noted = stored_file::read(&path, MAX_BYTES).is_ok_and(|it| it == text.as_bytes());
    if is_noted {
        return Ok(());
    }
    let written = replace_file(disk, &path, text.as_bytes());
    written.map_err(|e| DiskError::new("write", path, e))
}

/// The URL of the bucket in which the node of the storage directory `dir` keeps its files; None
/// where nothing says that it keeps them elsewhere. Blocks.
pub(super) fn read(dir: &Path) -> Result<Option<String>, DiskError> {
    let path = dir.join(NAME);
    let said = match stored_file::read(&path, MAX_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        said => said.map_err(|e| DiskError::new("read", &path, e))?,
    };
    let said = String::from_utf8_lossy(&said);
    let bucket = said.strip_prefix(KIND).unwrap_or("a bucket");
    Ok(Some(bucket.trim_end().to_owned()))
}
