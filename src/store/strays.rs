//! What lies in a storage directory itself and is none of larder's.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::{ballast, directory, layout, trash};
use crate::blob::local::{self as blobs, OF_FILE_SYSTEM};
use crate::index::local as index;
use crate::state_file::COMPANIONS;

/// The files that the store has there, beside those of its backends.
const FILES: [&str; 5] = [
    directory::LOCK,
    layout::FORMAT,
    ballast::FILE,
    layout::TRASH,
    trash::UNFINISHED,
];

/// Every path in the storage directory that neither the store knows nor whoever else keeps files
/// of these names there, in order. What a change of one of those may leave beside it is known, too.
/// Blocks.
pub(super) fn strays(storage: &Path, others: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(storage)? {
        let entry = entry?;
        let name = entry.file_name();
        let of_store = FILES.iter().chain(&blobs::FILES).chain(&index::FILES);
        let mut known = of_store.chain(others);
        let is_known = name == OF_FILE_SYSTEM
            || layout::is_directory(&name)
            || known.any(|it| is_of(&name, it));
        if !is_known {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a name is that of a file, or of what stands beside it.
fn is_of(name: &OsStr, file: &str) -> bool {
    let beside = name.to_str().and_then(|it| it.strip_prefix(file));
    beside.is_some_and(|beside| {
        let mut rest = beside;
        while let Some(shorter) = COMPANIONS.iter().find_map(|it| rest.strip_prefix(it)) {
            rest = shorter;
        }
        rest.is_empty()
    })
}
