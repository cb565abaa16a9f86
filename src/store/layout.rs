//! The directories of a storage directory, none of which may be a link.
//!
//! What is left of a crash is removed and renamed there by its name. Behind a link that would be
//! done to what somebody keeps elsewhere. The storage directory itself may be a link, and any
//! directory in it a mount.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// The directory in a storage directory that is one itself, of what a member of a network holds
/// for others.
pub const COPIES_DIR: &str = "copies";

/// What is made of a directory of an older format, until it is whole.
pub(super) const UPGRADING: &str = "upgrading";

/// All of them, and of which form the names of directories in them are, where there are any.
const DIRECTORIES: [(&str, Option<Names>); 15] = [
    ("blobs", Some(Names::Shards)),
    ("outboards", Some(Names::Shards)),
    ("packs", None),
    ("spool", None),
    ("damaged", None),
    ("uploading", None),
    ("uploading.before", None),
    ("keeping", None),
    ("repairing", None),
    ("journal", None),
    ("index", Some(Names::Generations)),
    ("spare-files", None),
    (UPGRADING, None),
    ("upgrading/index", Some(Names::Generations)),
    (COPIES_DIR, None),
];

/// Those in which is what nothing else has: what was acknowledged.
const LASTING: [&str; 5] = ["blobs", "packs", "journal", "uploading", "keeping"];

/// The version of everything stored, which the steps in `migrations/` lead up to.
pub(super) const VERSION: u32 = 2;
/// The same of a directory that has a trash, of which older larders would list the files again.
pub(super) const WITH_TRASH: u32 = 3;
/// What says the version of a storage directory.
pub(super) const FORMAT: &str = "larder.format";
/// What says which files are in the trash.
pub(super) const TRASH: &str = "trash";
/// What says the version of a directory of backups, which is no storage directory.
pub(crate) const BACKUPS: &str = "larder.backups";

/// What should stand in the version's file, and how it gets there. Only format 2 has packs, and
/// what is taken for format 1 becomes one of format 2 at its next start, whatever it was.
pub(super) fn remedy(dir: &Path) -> String {
    let version = match dir.join("packs").exists() {
        true if dir.join(TRASH).exists() => WITH_TRASH,
        has_packs => 1 + u32::from(has_packs),
    };
    let path = dir.join(FORMAT);
    format!(
        "the line `larder {version}` should stand there, and \
         `echo larder {version} > '{}'` heals it",
        path.display()
    )
}

/// Whether a directory of backups is at `path`, of whatever version. Blocks.
pub(crate) fn has_backups(path: &Path) -> bool {
    let format = path.join(BACKUPS).symlink_metadata();
    format.is_ok_and(|it| !it.is_dir())
}

/// Whether a directory of larder's is called so.
pub(super) fn is_directory(name: &OsStr) -> bool {
    DIRECTORIES.iter().any(|(it, _)| name == *it)
}

/// Of which form the names of directories are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Two hex digits.
    Shards,
    /// Ten digits.
    Generations,
}

impl Names {
    fn contain(self, name: &OsStr) -> bool {
        let name = name.as_encoded_bytes();
        match self {
            Self::Shards => name.len() == 2 && name.iter().all(u8::is_ascii_hexdigit),
            Self::Generations => name.len() == 10 && name.iter().all(u8::is_ascii_digit),
        }
    }
}

/// Whether no other directory may come in the place of this one, by its path in the storage
/// directory, while a node runs.
pub(super) fn is_lasting(below: &Path) -> bool {
    let mut names = below.iter();
    let first = names.next().and_then(OsStr::to_str);
    let is_lasting = first.is_some_and(|first| LASTING.contains(&first));
    let is_shard = names.next().is_none_or(|name| Names::Shards.contain(name));
    is_lasting && is_shard && names.next().is_none()
}

/// The first link that stands in the place of a directory of this storage directory, wherever it
/// leads. Blocks.
pub(super) fn linked(storage: &Path) -> io::Result<Option<PathBuf>> {
    for (name, names) in DIRECTORIES {
        let dir = storage.join(name);
        if dir.is_symlink() {
            return Ok(Some(dir));
        }
        if let Some(names) = names
            && let Some(link) = linked_in(&dir, names)?
        {
            return Ok(Some(link));
        }
    }
    Ok(None)
}

fn linked_in(dir: &Path, names: Names) -> io::Result<Option<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        // Whoever needs the directory tells what is in its place.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if names.contain(&entry.file_name()) && entry.file_type()?.is_symlink() {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}
