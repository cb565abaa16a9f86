//! The file-system operations whose order decides what a crash leaves behind.
//!
//! Blob backend and journal change files through [`Disk`] alone, so that a test
//! can record every operation, drop what was not synced, or make the Nth fail.
//! Reading has no such order; what is stored is opened by `stored_file`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::stored_file;

/// What the system did not do with a file or directory.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} {}", self.attempt(), path.display())]
pub struct DiskError {
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// What the system said; shared, since one failure ends the work of many.
    pub source: Arc<io::Error>,
}

/// What was tried where a file was to be made durable.
pub(crate) const SYNC: &str = "sync";

/// The rights of files that are made: their owner's alone, whatever the umask, since they
/// tell what users gave to a node that may ask everybody else for a token.
pub const FILE_MODE: u32 = 0o600;
/// The rights of directories that are made.
pub const DIR_MODE: u32 = 0o700;

/// How much of a file is copied at once, in bytes.
const COPIED_AT_ONCE: usize = 1 << 20;

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
    /// Opens an existing file for writing; what is no file is an error of the kind `InvalidData`.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens whatever is at `path` for reading, with these flags besides.
    fn open_to_read(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let options = options.read(true);
        options.custom_flags(flags.bits().cast_signed()).open(path)
    }
    /// Creates a directory; one that exists already is fine, but no link to one.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames a file within the storage directory, replacing what `to` names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name within the storage directory, which must not exist yet.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is absent is fine.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Opens a directory. Who opens it before the change that is to be made durable can tell
    /// a sync that failed from one that was not even tried for want of open files.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.open_dir(path)?.sync()
    }
    /// Makes everything written so far to the file system of a directory durable.
    fn sync_file_system(&self, path: &Path) -> io::Result<()> {
        self.open_dir(path)?.sync_file_system()
    }
    /// Fails where the directory at `path` is not to be seen now: it was moved, or something else
    /// stands in its place. Nothing can be concluded then from what is not found in it.
    fn check_place(&self, path: &Path) -> io::Result<()> {
        std::fs::read_dir(path).map(drop)
    }
    /// The names of all that is in a directory; fails where [`Disk::check_place`] would.
    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let entries = std::fs::read_dir(path)?;
        entries.map(|entry| Ok(entry?.file_name())).collect()
    }
    /// Whether every change is taken and none is made, so that nothing can be read that was
    /// written.
    fn is_frozen(&self) -> bool {
        false
    }
    /// Whether it does what the system does and nothing else, so that another one can do the same
    /// by other means.
    fn is_plain(&self) -> bool {
        false
    }
}

/// An open directory. All calls block.
pub trait DiskDir: Send + Sync {
    /// Makes the names in it durable.
    fn sync(&self) -> io::Result<()>;
    /// Makes everything written so far to its file system durable.
    fn sync_file_system(&self) -> io::Result<()>;
}

/// A file open for writing. All calls block.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`, in bytes from the file's start.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes the file's bytes and length durable (not its name).
    fn sync(&self) -> io::Result<()>;
    /// Fails where the file at `path` is no longer this one: it was removed, replaced or moved,
    /// or another file system stands in its place, or it is shorter than `len` bytes. What is
    /// written then is lost.
    fn check_at(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Has the disk begin to write these bytes of the file, so that a later sync has less to
    /// wait for. It promises nothing, and what goes wrong is for that sync to tell.
    fn begin_sync(&self, bytes: Range<u64>);
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(FILE_MODE);
        Ok(Box::new(options.open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        Ok(Box::new(stored_file::open_with(path, options.write(true))?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(DIR_MODE).create(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && is_dir_itself(path) => Ok(()),
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

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        Ok(Box::new(Directory(File::open(path)?)))
    }

    fn is_plain(&self) -> bool {
        true
    }
}

/// Whether a directory is at `path`, and no link to one.
fn is_dir_itself(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|look| look.is_dir())
}

/// A directory of the machine's own file system.
pub(crate) struct Directory(pub(crate) File);

impl DiskDir for Directory {
    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn sync_file_system(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
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

    fn check_at(&self, path: &Path, len: u64) -> io::Result<()> {
        let (own, there) = (self.metadata()?, std::fs::metadata(path)?);
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            return Err(rustix::io::Errno::STALE.into());
        }
        if own.len() < len {
            let told = "somebody has cut it while the node ran";
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        Ok(())
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

/// Opens a regular file for reading, by the disk that it is on; fails as [`stored_file::open`]
/// does. Blocks no longer than the disk does.
pub fn open_stored(disk: &dyn Disk, path: &Path) -> io::Result<File> {
    stored_file::checked(disk.open_to_read(path, stored_file::UNWAITING))
}

/// Opens an existing file for writing in place. One that is not its path's alone, since it has
/// another name or is reached by a link, gives way to a copy: a tool that has found two files alike
/// may have made one of both, and what is written to one of them would destroy the other. Blocks as
/// long as copying it takes.
pub fn open_own(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    if !is_shared(path) {
        return disk.open(path);
    }
    tracing::warn!(path = %path.display(),
        "the file has other names, or is a link; a copy takes its place before it is written to");
    let from = open_stored(disk, path)?;
    put_in_place(disk, path, |copy| {
        let mut offset = 0;
        // What takes no room takes none in the copy.
        while let Some(data) = stored_file::next_data(&from, offset)? {
            let bytes = stored_file::read_at(&from, data, COPIED_AT_ONCE)?;
            if bytes.is_empty() {
                break;
            }
            copy.write_all_at(&bytes, data)?;
            offset = data + bytes.len() as u64;
        }
        copy.set_len(from.metadata()?.len())
    })
}

/// Puts a file that `write` fills in the place of whatever is at `path`, durably. A crash leaves
/// the old one or the new one, and perhaps `<path>.unfinished`; a failure leaves the old one, and
/// nothing of the new one that could be removed. Blocks.
fn put_in_place(
    disk: &dyn Disk,
    path: &Path,
    write: impl FnOnce(&dyn DiskFile) -> io::Result<()>,
) -> io::Result<Box<dyn DiskFile>> {
    let unfinished = free_place(disk, &unfinished(path))?;
    let made = disk.create(&unfinished).and_then(|file| {
        write(&*file)?;
        file.sync()?;
        disk.rename(&unfinished, path)?;
        Ok(file)
    });
    let file = made.inspect_err(|_| {
        // What failed is told; what is left here, too, takes room on a full disk.
        let _ = disk.remove_file(&unfinished);
    })?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    Ok(file)
}

/// Whether a file has other names than `path`, or is reached by a link. Blocks.
pub fn is_shared(path: &Path) -> bool {
    let look = std::fs::symlink_metadata(path);
    look.is_ok_and(|it| it.is_symlink() || (it.is_file() && it.nlink() > 1))
}

/// Under which name what is to be at `path` is made.
fn unfinished(path: &Path) -> PathBuf {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    unfinished.into()
}

/// Where a file can be made that is to be at `place`, from which what a crash has left is removed.
/// A directory there is somebody else's: it stays, and the file is made beside it. Blocks.
pub fn free_place(disk: &dyn Disk, place: &Path) -> io::Result<PathBuf> {
    let removed = disk.remove_file(place);
    if removed.is_ok() || !place.is_dir() {
        return removed.map(|()| place.to_owned());
    }
    tracing::warn!(path = %place.display(),
        "something else than a file is in a file's place, and stays there");
    let mut beside = place.as_os_str().to_owned();
    beside.push(format!(".{}", uuid::Uuid::new_v4()));
    Ok(beside.into())
}

/// Removes what a crash may have left at `path`, but not a directory, which is somebody else's.
/// Blocks.
pub fn remove_leftover(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(_) if path.is_dir() => {
            tracing::warn!(path = %path.display(), "a directory does not belong there; left alone");
            Ok(())
        }
        removed => removed,
    }
}

/// Replaces the file at `path` by one of these bytes, durably: a crash leaves the old one
/// or the new one, and perhaps `<path>.unfinished`. Blocks.
pub fn replace_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    put_in_place(disk, path, |file| file.write_all_at(bytes, 0)).map(drop)
}

/// Whether `error` says that no room is left: a full disk, a quota, a file-size limit.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// That less is free of a disk than shall stay so.
#[derive(Debug, thiserror::Error)]
#[error("{free} bytes are free beside {reserve} that stay so")]
pub struct NoRoom {
    /// How many bytes more may be written.
    pub free: u64,
    /// How many others stay free.
    pub reserve: u64,
}

impl NoRoom {
    /// What `error` says of it, if it is one of these.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

/// Fails where less than `reserve` bytes would be free for the files of a directory after `bytes`
/// more. Blocks.
pub fn check_room(dir: &Path, bytes: u64, reserve: u64) -> Result<(), DiskError> {
    let space = rustix::fs::statvfs(dir);
    let space = space.map_err(|e| DiskError::new("look at the free space of", dir, e.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < reserve.saturating_add(bytes) {
        let free = free.saturating_sub(reserve);
        let full = NoRoom { free, reserve };
        return Err(DiskError::new("write", dir, full.into()));
    }
    Ok(())
}

impl From<NoRoom> for io::Error {
    fn from(room: NoRoom) -> Self {
        Self::new(io::ErrorKind::StorageFull, room)
    }
}

/// Whether `error` says that no file may be so long: a limit of the process (`ulimit -f`), or the
/// longest that the file system has.
pub fn is_file_size_limit(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

/// Whether `error` says that the system is short of something that others give back: open
/// files, memory or threads. Nothing was tried, and nothing is broken.
pub fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let short = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EAGAIN,
    ];
    code.is_some_and(|code| short.contains(&code)) || error.kind() == io::ErrorKind::OutOfMemory
}

/// Whether `error` says of a second name for a file that this file system has no such (FAT, some
/// shares), or none for this file.
pub fn lacks_links(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let lacks = [libc::EPERM, libc::EOPNOTSUPP, libc::ENOSYS, libc::EMLINK];
    code.is_some_and(|code| lacks.contains(&code))
}

impl DiskError {
    /// The error for a failed `action`, a verb, on `path`.
    pub fn new(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self {
            action,
            path: path.into(),
            source: Arc::new(source),
        }
    }

    /// Whether no room is left, as [`is_full`] tells it.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }

    /// Whether the system was only short of something that may be there later: room, open
    /// files, memory.
    pub fn is_shortage(&self) -> bool {
        self.is_full() || is_shortage(&self.source)
    }

    fn attempt(&self) -> Cow<'static, str> {
        if is_file_size_limit(&self.source) {
            "a limit of the lengths of files is reached by".into()
        } else if self.is_full() {
            "no room is left for".into()
        } else {
            format!("cannot {}", self.action).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart_from_whatever_else_fails() {
        let error = |code| DiskError::new("cut", "journal/1", io::Error::from_raw_os_error(code));
        for code in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG] {
            let full = error(code);
            assert!(full.is_full() && full.is_shortage(), "{full:?}");
            let told = match code {
                libc::EFBIG => "a limit of the lengths of files is reached by journal/1",
                _ => "no room is left for journal/1",
            };
            assert_eq!(full.to_string(), told);
        }
        let short = error(libc::EMFILE);
        assert!(!short.is_full() && short.is_shortage());
        let broken = error(libc::EIO);
        assert!(!broken.is_full() && !broken.is_shortage());
        assert_eq!(broken.to_string(), "cannot cut journal/1");
    }
}
