//! Whether a check has to leave a storage directory as it is.

use std::io;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, open};

use super::ballast;
use super::directory::Directory;
use crate::disk::is_full;

/// Why nothing is written into a storage directory that is only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwritable {
    /// Its file system is read-only, or its rights keep this process from it.
    Frozen,
    /// Its file system is full, or a quota of the system is.
    Full,
}

/// Why a check writes nothing into a storage directory; None where it can. Blocks.
pub fn unwritable(dir: &Path) -> Option<Unwritable> {
    if Directory::is_frozen(dir) {
        Some(Unwritable::Frozen)
    } else if is_short_of_room(dir) {
        Some(Unwritable::Full)
    } else {
        None
    }
}

/// Whether what an opening writes might not fit, found out by room that is taken, by a file without
/// a name, and given back at once: quotas do not show otherwise.
fn is_short_of_room(dir: &Path) -> bool {
    let free = rustix::fs::statvfs(dir);
    let free = free.map(|it| it.f_bavail.saturating_mul(it.f_frsize));
    if free.is_ok_and(|free| free < ballast::BYTES) || ballast::free_files(dir) == 0 {
        return true;
    }
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let tried = open(dir, flags, Mode::RUSR | Mode::WUSR)
        .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, ballast::BYTES));
    // Some file systems know neither such a file nor this call, and say so.
    tried.is_err_and(|error| is_full(&io::Error::from(error)))
}
