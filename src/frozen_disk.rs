//! A disk that takes every change and makes none.
//!
//! Opening what is stored puts in order what a crash has left. Whoever only looks, at a backup or
//! a snapshot that is mounted read-only, opens it with this, so that nothing there is touched;
//! what is put in order is so in memory alone.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::disk::{Disk, DiskDir, DiskFile};
use crate::stored_file;

/// A disk that takes every change and makes none. What is to be opened has to be there.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrozenDisk;

/// A file or directory of which no change is made.
struct Frozen(Option<File>);

impl Disk for FrozenDisk {
    fn create(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Frozen(None)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Frozen(Some(stored_file::open(path)?))))
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open_dir(&self, _: &Path) -> io::Result<Box<dyn DiskDir>> {
        Ok(Box::new(Frozen(None)))
    }

    fn is_frozen(&self) -> bool {
        true
    }
}

impl DiskDir for Frozen {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_file_system(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Frozen {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn check_at(&self, path: &Path, len: u64) -> io::Result<()> {
        self.0
            .as_ref()
            .map_or(Ok(()), |file| DiskFile::check_at(file, path, len))
    }

    fn begin_sync(&self, _: Range<u64>) {}
}
