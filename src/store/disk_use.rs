//! What parts of the storage directory take of the disk.

use std::io;
use std::path::Path;

/// Files below a directory, and the sum of their lengths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// How many.
    pub count: u64,
    /// In bytes.
    pub bytes: u64,
}

/// Everything below a directory; nothing where there is none. Files come and go meanwhile,
/// which is no error. Blocks.
pub(super) fn files_below(dir: &Path) -> io::Result<DiskUse> {
    let mut found = DiskUse::default();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Some(entries) = unless_gone(std::fs::read_dir(dir))? else {
            continue;
        };
        for entry in entries {
            let entry = entry?;
            let Some(about) = unless_gone(entry.metadata())? else {
                continue;
            };
            if about.is_dir() {
                dirs.push(entry.path());
            } else {
                found.count += 1;
                found.bytes += about.len();
            }
        }
    }
    Ok(found)
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_directories_count() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(
            files_below(&dir.path().join("none")).unwrap(),
            DiskUse::default()
        );
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/b"), [0; 3]).unwrap();
        std::fs::write(dir.path().join("c"), [0; 4]).unwrap();
        let expected = DiskUse { count: 2, bytes: 7 };
        assert_eq!(files_below(dir.path()).unwrap(), expected);
    }
}
