//! The file-system operations whose order decides what a crash leaves behind.
//!
//! Blob backend and journal change files through [`Disk`] alone, so that a test
//! can record every operation, drop what was not synced, or make the Nth fail.
//! Reading has no such order and uses `std::fs` directly.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// When an acknowledged change is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Before it is acknowledged: it survives `kill -9` and a power cut.
    #[default]
    Always,
    /// Soon after: it survives `kill -9`; a power cut may take the last moments.
    Relaxed,
}

/// Changes to files and directories. All calls block.
pub trait Disk: Send + Sync + 'static {
    /// Creates a file that must not exist yet, for writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a directory; one that exists already is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a file within the storage directory, replacing what `to` names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name within the storage directory, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is absent is fine.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes everything written so far to the file system that holds `path` durable.
    fn sync_file_system(&self, path: &Path) -> io::Result<()>;
}

/// A file open for writing. All calls block.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`, in bytes from the file's start.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file's bytes and length durable (not its name).
    fn sync(&self) -> io::Result<()>;
    /// Has the disk begin to write these bytes of the file, so that a later sync has less to
    /// wait for. It promises nothing, and what goes wrong is for that sync to tell.
    fn begin_sync(&self, bytes: Range<u64>);
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(
            OpenOptions::new().write(true).create_new(true).open(path)?,
        ))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            result => result,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(path)?)?)
    }
}

impl DiskFile for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        File::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    #[expect(unsafe_code, reason = "no crate that we use wraps this call")]
    fn begin_sync(&self, bytes: Range<u64>) {
        let from = libc::off64_t::try_from(bytes.start).unwrap_or(libc::off64_t::MAX);
        let length = libc::off64_t::try_from(bytes.end - bytes.start).unwrap_or(0);
        // SAFETY: The descriptor is open as long as `self` is, and no memory is shared.
        unsafe {
            libc::sync_file_range(self.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE)
        };
    }
}

/// Replaces the file at `path` by one of these bytes, durably: a crash leaves the old one
/// or the new one, and perhaps `<path>.unfinished`. Blocks.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = Path::new(&unfinished);
    disk.remove_file(unfinished)?;
    let file = disk.create(unfinished)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    disk.rename(unfinished, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Whether `error` says that no room is left: a full disk, a quota, a file-size limit.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
