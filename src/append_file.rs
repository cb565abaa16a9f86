//! A file that is written at its end alone, and is cut back to it where a write fails.

use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use crate::disk::{DiskError, DiskFile};

/// How much is written to find out whether it can be, in bytes.
const TRIAL: usize = 4096;

/// A file open for appending. All calls block.
pub struct AppendFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    end: u64,
    /// Whether something half-written may lie behind the end.
    torn: bool,
}

impl AppendFile {
    /// A file that ends at `end`, in bytes.
    pub fn new(path: PathBuf, file: Box<dyn DiskFile>, end: u64) -> Self {
        Self {
            path,
            file,
            end,
            torn: false,
        }
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it ends, in bytes: what [`AppendFile::take`] took counts.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether the process may let it grow by so many bytes: a limit of the sizes of files
    /// (`ulimit -f`) is reached where not, and what comes belongs into another file.
    pub fn may_grow_by(&self, bytes: u64) -> bool {
        let limit = getrlimit(Resource::Fsize).current;
        // With room for a trial behind it, which tells whether the next bytes can be written.
        let grown = self.end.saturating_add(bytes).saturating_add(TRIAL as u64);
        limit.is_none_or(|limit| grown <= limit)
    }

    /// Fails where nothing can be appended: the file is no longer at its place, somebody
    /// has cut it, or what a failed write has left cannot be cut off yet.
    pub fn prepare(&mut self) -> Result<(), DiskError> {
        let there = self.file.check_at(&self.path, self.end);
        there.map_err(|e| self.failed("append to", e))?;
        if self.torn {
            let cut = self.file.set_len(self.end);
            cut.map_err(|e| self.failed("cut", e))?;
            self.torn = false;
        }
        Ok(())
    }

    /// Writes behind the end. After an error the file is as if nothing was tried.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.prepare()?;
        self.file.write_all_at(bytes, self.end).map_err(|error| {
            self.torn = self.file.set_len(self.end).is_err();
            self.failed("write", error)
        })
    }

    /// Takes so many bytes that were written for the file's.
    pub fn take(&mut self, bytes: u64) {
        self.end += bytes;
    }

    /// Fails as a write would fail now: writes something behind the end, as a crash may leave it
    /// there, and cuts it off.
    pub fn try_to_write(&mut self) -> Result<(), DiskError> {
        self.prepare()?;
        let written = self.file.write_all_at(&[0; TRIAL], self.end);
        let cut = self.file.set_len(self.end);
        self.torn = cut.is_err();
        written.and(cut).map_err(|e| self.failed("write", e))
    }

    /// Makes all that was written durable.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn failed(&self, action: &'static str, error: io::Error) -> DiskError {
        DiskError::new(action, &self.path, error)
    }
}
