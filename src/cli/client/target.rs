//! Where files are written: each to a path of its own, below the folder that was named.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::local_name::numbered;

/// Where a file goes: the folder that whoever asked has named, and the path below it, which comes
/// of the file's name.
#[derive(Debug, Clone)]
pub(super) struct Target {
    base: PathBuf,
    below: PathBuf,
    /// Whether the base is made where it is missing.
    is_made: bool,
}

/// The paths of one command, each with what goes there.
#[derive(Default)]
pub(super) struct Targets {
    taken: HashMap<PathBuf, String>,
    /// How many names were made of one.
    numbers: HashMap<PathBuf, usize>,
}

impl Target {
    pub(super) fn new(base: PathBuf, below: PathBuf) -> Self {
        Self {
            base,
            below,
            is_made: true,
        }
    }

    /// In a folder that has to be there: whoever names a file may have mistyped where.
    pub(super) fn in_folder(base: PathBuf, name: PathBuf) -> Self {
        Self {
            is_made: false,
            ..Self::new(base, name)
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.base.join(&self.below)
    }

    /// Makes the folders that are missing. A link among those below the named one is refused:
    /// whoever has put it there would choose where files are written. Blocks.
    pub(super) fn make_folders(&self) -> Result<(), Failure> {
        let mut folder = self.base.clone();
        if !folder.as_os_str().is_empty() {
            if !self.is_made && !folder.exists() {
                return Err(Failure::MissingFolder(folder));
            }
            made(&folder, fs::create_dir_all(&folder))?;
        }
        for part in self.below.parent().into_iter().flatten() {
            folder.push(part);
            if is_link(&folder) {
                return Err(Failure::LinkToFolder(folder));
            }
            match fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
                result => made(&folder, result)?,
            }
            if is_link(&folder) {
                return Err(Failure::LinkToFolder(folder));
            }
        }
        Ok(())
    }
}

impl Targets {
    /// The path for `content`, with a number where another goes by the same; None where this very
    /// content goes there already.
    pub(super) fn take(&mut self, target: &Target, content: &str) -> Option<Target> {
        let first = target.path();
        if self.taken.get(&first).is_some_and(|it| it == content) {
            return None;
        }
        let number = self.numbers.entry(first).or_default();
        loop {
            let target = Target {
                below: numbered(target.below.clone(), *number),
                ..target.clone()
            };
            *number += 1;
            let path = target.path();
            match self.taken.get(&path) {
                Some(there) if there == content => return None,
                Some(_) => {}
                None => {
                    self.taken.insert(path, content.to_owned());
                    return Some(target);
                }
            }
        }
    }
}

/// Whether a path means what takes bytes and keeps none, so that nothing is replaced: a device, or
/// a pipe that this process was given. A pipe in a folder may be anybody's, and is no file.
pub(super) fn is_stream(path: &Path) -> bool {
    let is_given = path.starts_with("/dev") || path.starts_with("/proc/self/fd");
    let is_device = |it: Metadata| it.file_type().is_char_device();
    let is_pipe = |it: Metadata| it.file_type().is_fifo();
    path.symlink_metadata().is_ok_and(is_device)
        || is_given && (path.metadata().is_ok_and(is_pipe) || path.metadata().is_ok_and(is_device))
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|it| it.is_symlink())
}

fn made(folder: &Path, result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::NoFolder(folder.to_owned()))
        }
        result => Failure::of_file(folder, result),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_content_of_the_same_path_gets_a_number() {
        let mut targets = Targets::default();
        let mut take = |path: &str, content| {
            let target = targets.take(&Target::new("o".into(), path.into()), content);
            target.map(|it| it.path().to_str().unwrap().to_owned())
        };
        assert_eq!(take("a", "one").as_deref(), Some("o/a"));
        assert_eq!(take("b", "two").as_deref(), Some("o/b"));
        assert_eq!(take("a", "one"), None);
        assert_eq!(take("a.1", "three").as_deref(), Some("o/a.1"));
        assert_eq!(take("a", "two").as_deref(), Some("o/a.2"));
        assert_eq!(take("a", "four").as_deref(), Some("o/a.3"));
    }
}
