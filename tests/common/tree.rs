//! Directories in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What is below a directory, by path from there: directories before what is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree(pub(crate) BTreeMap<PathBuf, Entry>);

/// A file's bytes; a directory has none.
pub(crate) type Entry = Option<Vec<u8>>;

impl Tree {
    /// Reads what is below a directory, which may change meanwhile.
    pub(crate) fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.read_dir(root, Path::new(""));
        tree
    }

    fn read_dir(&mut self, root: &Path, dir: &Path) {
        let names = match std::fs::read_dir(root.join(dir)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            names => names.unwrap(),
        };
        for entry in names {
            let entry = entry.unwrap();
            let path = dir.join(entry.file_name());
            if entry.path().is_dir() {
                self.0.insert(path.clone(), None);
                self.read_dir(root, &path);
                continue;
            }
            match std::fs::read(entry.path()) {
                Ok(bytes) => drop(self.0.insert(path, Some(bytes))),
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::NotFound),
            }
        }
    }

    /// Builds it in an empty directory.
    pub(crate) fn write(&self, root: &Path) {
        for (path, bytes) in &self.0 {
            let path = root.join(path);
            match bytes {
                None => std::fs::create_dir(path).unwrap(),
                Some(bytes) => std::fs::write(path, bytes).unwrap(),
            }
        }
    }
}
