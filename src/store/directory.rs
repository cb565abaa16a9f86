//! The storage directory: one process at a time, and a version.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::layout::{FORMAT, VERSION, WITH_TRASH, remedy};
use super::owners::{other_owner, warn_of_others};
use super::version::{VersionError, version, write_version};
use super::{layout, servers_note};
use crate::disk::{DIR_MODE, Disk, DiskError, FILE_MODE, is_shared};
use crate::owner::Owner;
use crate::stored_file;

pub(super) const LOCK: &str = "larder.lock";
/// The longest of both that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// A storage directory that this process alone has open, as long as a clone of this lives.
#[derive(Clone)]
pub(super) struct Directory {
    /// Unlocked by the system when it closes them, however the process ends.
    _locks: Arc<Locks>,
}

/// What is locked of a storage directory.
struct Locks {
    /// The directory itself, which nobody can remove and make anew under the same files, as they
    /// can a file in it. None where the file system locks no directories (NFS).
    _directory: Option<File>,
    /// The lock file, the only thing that an older larder looks at. None where there is none and
    /// nothing is written.
    _file: Option<File>,
}

/// Why a storage directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it open.
    #[error("{} is in use by another larder{}", path.display(), holder(*.pid))]
    Locked {
        /// The storage directory.
        path: PathBuf,
        /// The process id of the other, if it could be read.
        pid: Option<u32>,
    },
    /// No larder has ever used it.
    #[error("{}", absent(path))]
    Absent {
        /// The path given.
        path: PathBuf,
    },
    /// Root would leave files in it that its owner can neither read nor replace.
    #[error(
        "{} belongs to {owner}, whose node could not use what root leaves there: run this as \
         that user, such as by `sudo -u {} larder …`",
        path.display(),
        owner.for_sudo()
    )]
    NotOwned {
        /// The storage directory.
        path: PathBuf,
        /// Whose it is.
        owner: Owner,
    },
    /// A link stands in the place of a directory in it.
    #[error(
        "{} is a link, and larder follows none there, since it removes and renames files of its \
         own by their names: put the directory itself there, or mount it there, and start again \
         (the storage directory as a whole may be a link) [linked_directory]",
        path.display()
    )]
    Linked {
        /// The link.
        path: PathBuf,
    },
    /// A node uses it that keeps its files elsewhere.
    #[error(
        "{} is the directory of a node that keeps its files in {bucket}: start it with --index and \
         --blobs as the others, or name another --storage; without {} an ordinary node begins \
         there, with no file [files_elsewhere]",
        note.parent().unwrap_or(note).display(),
        note.display()
    )]
    HasServers {
        /// The file that says so.
        note: PathBuf,
        /// The URL of the bucket.
        bucket: String,
    },
    /// It has backups.
    #[error(
        "{} is a directory of backups: `larder restore {} --storage DIR` makes a storage directory \
         of one [directory_of_backups]",
        .0.display(),
        .0.display()
    )]
    HasBackups(PathBuf),
    /// A newer larder wrote it.
    #[error(
        "{} was written by a newer larder (format {found}; this one knows up to {WITH_TRASH}). Where \
         none ever ran, {} is damaged: {}",
        path.display(),
        path.join(FORMAT).display(),
        remedy(path)
    )]
    Newer {
        /// The storage directory.
        path: PathBuf,
        /// The version that was found.
        found: u32,
    },
    /// It tells a version that is none.
    #[error(
        "{} is damaged, it does not say `larder <version>`: {}",
        path.display(),
        remedy(path.parent().unwrap_or(path))
    )]
    Unreadable {
        /// The file that should say it.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl From<VersionError> for DirectoryError {
    fn from(error: VersionError) -> Self {
        match error {
            VersionError::Unreadable(path) => Self::Unreadable { path },
            VersionError::Disk(error) => Self::Disk(error),
        }
    }
}

/// Why what is named is no storage directory.
fn absent(path: &Path) -> String {
    let told = path.display();
    if path.is_dir() {
        return format!("{told} is no storage directory of larder");
    }
    let what = if path.symlink_metadata().is_ok() {
        "is no directory"
    } else {
        "does not exist"
    };
    format!("{told} {what}; --storage names the directory in which a node keeps its files")
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl Directory {
    /// Opens the storage directory of a node that keeps its files there, creating it where there is
    /// none, and locks it until the value is dropped. Blocks.
    pub(super) fn open(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, DirectoryError> {
        check_keeps_files(path)?;
        Self::open_any(path, disk)
    }

    /// The same, wherever the node keeps its files. Blocks.
    pub(super) fn open_any(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, DirectoryError> {
        check_no_backups(path)?;
        create_durably(path).map_err(|e| DiskError::new("create", path, e))?;
        check_links(path)?;
        warn_of_others(path);
        if let Some(owner) = other_owner(path) {
            tracing::warn!(path = %path.display(), %owner,
                "the storage directory is another user's, and root runs this: what it writes there \
                 only root can use");
        }
        let locks = lock(path)?;
        check_version(path, &**disk)?;
        Ok(Self {
            _locks: Arc::new(locks),
        })
    }

    /// Like [`Directory::open`], but never creates one, and leaves no files of root's in that of
    /// another user.
    pub(super) fn open_existing(path: &Path, disk: &Arc<dyn Disk>) -> Result<Self, DirectoryError> {
        check_no_backups(path)?;
        check_there(path)?;
        if let Some(owner) = other_owner(path) {
            return Err(DirectoryError::NotOwned {
                path: path.to_owned(),
                owner,
            });
        }
        Self::open(path, disk)
    }

    /// Like [`Directory::open_existing`], and writes nothing there, for who only looks. It keeps
    /// others out as far as the file system lets a file be locked that is not written to. Blocks.
    pub(super) fn open_frozen(path: &Path) -> Result<Self, DirectoryError> {
        check_no_backups(path)?;
        check_there(path)?;
        check_keeps_files(path)?;
        check_links(path)?;
        let locks = lock_frozen(path)?;
        check_known(path)?;
        Ok(Self {
            _locks: Arc::new(locks),
        })
    }

    /// Fails where no storage directory is at `path` that this larder knows. Takes no lock, and
    /// writes nothing. Blocks.
    pub(super) fn look(path: &Path) -> Result<(), DirectoryError> {
        check_no_backups(path)?;
        check_there(path)?;
        check_keeps_files(path)?;
        check_links(path)?;
        check_known(path)
    }

    /// Whether this process can write nothing into the storage directory at `path`: its file system
    /// is read-only, or its rights say so. Blocks.
    pub(super) fn is_frozen(path: &Path) -> bool {
        use rustix::io::Errno;
        let written = rustix::fs::access(path, rustix::fs::Access::WRITE_OK);
        matches!(written, Err(Errno::ROFS | Errno::ACCESS | Errno::PERM))
    }
}

/// Whether a storage directory is at `path`, of whatever version: also one of which the version is
/// damaged, or not written yet. Blocks.
pub fn is_storage_directory(path: &Path) -> bool {
    let is_there = |name: &&str| {
        path.join(name)
            .symlink_metadata()
            .is_ok_and(|it| !it.is_dir())
    };
    [FORMAT, LOCK].iter().any(is_there)
}

/// Fails where backups are in the directory, and no node has ever used it.
fn check_no_backups(path: &Path) -> Result<(), DirectoryError> {
    if layout::has_backups(path) && !is_storage_directory(path) {
        return Err(DirectoryError::HasBackups(path.to_owned()));
    }
    Ok(())
}

/// Fails where a node uses the directory that keeps its files elsewhere.
fn check_keeps_files(path: &Path) -> Result<(), DirectoryError> {
    match servers_note::read(path)? {
        None => Ok(()),
        Some(bucket) => Err(DirectoryError::HasServers {
            note: path.join(servers_note::NAME),
            bucket,
        }),
    }
}

/// Fails where no larder has ever used the directory.
fn check_there(path: &Path) -> Result<(), DirectoryError> {
    let format = path.join(FORMAT);
    match std::fs::metadata(&format) {
        Ok(_) => Ok(()),
        Err(e) if is_absent(&e) => Err(DirectoryError::Absent {
            path: path.to_owned(),
        }),
        Err(e) => Err(DiskError::new("look at", format, e).into()),
    }
}

/// Fails where a link stands in the place of a directory in it.
fn check_links(path: &Path) -> Result<(), DirectoryError> {
    let linked = layout::linked(path);
    match linked.map_err(|e| DiskError::new("look through", path, e))? {
        Some(path) => Err(DirectoryError::Linked { path }),
        None => Ok(()),
    }
}

/// Whether an error of looking at a file says that there is none.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Creates a directory and its parents, and makes their names durable. Blocks.
pub(crate) fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        result => result?,
    }
    File::open(parent)?.sync_all()
}

fn lock(dir: &Path) -> Result<Locks, DirectoryError> {
    // Before the file, so that none is made in the directory of another.
    let directory = lock_itself(dir)?;
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).mode(FILE_MODE);
    let open = match stored_file::open_with(&path, options) {
        // Not where a link to nowhere leads.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            stored_file::open_with(&path, options.create_new(true))
        }
        open => open,
    };
    let mut file = open.map_err(|e| DiskError::new("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked(dir)),
        Err(TryLockError::Error(e)) => return Err(DiskError::new("lock", &path, e).into()),
    }
    // Who it is helps the operator; the lock holds without it.
    let told = if is_shared(&path) {
        Err(io::Error::other("it has other names, or is a link"))
    } else {
        let cut = file.set_len(0);
        cut.and_then(|()| writeln!(file, "{}", std::process::id()))
    };
    if let Err(error) = told {
        tracing::debug!(%error, "the process id was not written into the lock file");
    }
    Ok(Locks {
        _directory: directory,
        _file: Some(file),
    })
}

/// Locks what can be locked without writing. Where nothing can be, as on some read-only file
/// systems, nobody changes anything there either.
fn lock_frozen(dir: &Path) -> Result<Locks, DirectoryError> {
    let directory = lock_itself(dir)?;
    let file = stored_file::open(&dir.join(LOCK)).ok();
    let is_taken = file
        .as_ref()
        .is_some_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    if is_taken {
        return Err(locked(dir));
    }
    Ok(Locks {
        _directory: directory,
        _file: file,
    })
}

/// Locks the directory itself. None where its file system knows no such lock.
fn lock_itself(dir: &Path) -> Result<Option<File>, DirectoryError> {
    let itself = File::open(dir).map_err(|e| DiskError::new("open", dir, e))?;
    match itself.try_lock() {
        Ok(()) => Ok(Some(itself)),
        Err(TryLockError::WouldBlock) => Err(locked(dir)),
        Err(TryLockError::Error(error)) => {
            tracing::debug!(%error, "the file system locks no directories, only the lock file");
            Ok(None)
        }
    }
}

/// Another process has the directory open; who, the lock file tells where it is still there.
fn locked(dir: &Path) -> DirectoryError {
    let told = stored_file::read(&dir.join(LOCK), MAX_BYTES).ok();
    let told = told.and_then(|it| String::from_utf8(it).ok());
    DirectoryError::Locked {
        path: dir.to_owned(),
        pid: told.and_then(|it| it.trim().parse().ok()),
    }
}

/// Fails where a newer larder has written the directory. Blocks.
fn check_known(path: &Path) -> Result<(), DirectoryError> {
    match version(path)?.filter(|version| *version > WITH_TRASH) {
        None => Ok(()),
        Some(found) => Err(DirectoryError::Newer {
            path: path.to_owned(),
            found,
        }),
    }
}

fn check_version(dir: &Path, disk: &dyn Disk) -> Result<(), DirectoryError> {
    let path = dir.join(FORMAT);
    match version(dir)? {
        None => write_version(dir, VERSION, disk),
        // Older ones are brought up before anything else in them is opened.
        Some(1..=WITH_TRASH) => Ok(()),
        Some(0) => Err(DirectoryError::Unreadable { path }),
        Some(found) => Err(DirectoryError::Newer {
            path: dir.to_owned(),
            found,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    fn open(dir: &Path) -> Result<Directory, DirectoryError> {
        Directory::open(dir, &(Arc::new(RealDisk) as Arc<dyn Disk>))
    }

    #[test]
    fn a_new_directory_opens_once_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        let first = open(&dir).unwrap();
        let pid = std::process::id();
        let second = open(&dir);
        assert!(matches!(second, Err(DirectoryError::Locked { pid: Some(p), .. }) if p == pid));
        drop(first);
        open(&dir).unwrap();
    }

    #[test]
    fn whatever_becomes_of_its_lock_file_a_directory_opens_once_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path()).unwrap();
        let lock = dir.path().join(LOCK);
        let refused = |what| {
            let second = open(dir.path());
            assert!(
                matches!(second, Err(DirectoryError::Locked { .. })),
                "{what}"
            );
        };
        std::fs::remove_file(&lock).unwrap();
        refused("removed");
        assert!(!lock.exists(), "a node that does not start leaves nothing");
        std::fs::write(&lock, "1\n").unwrap();
        refused("replaced");
        std::fs::rename(&lock, dir.path().join("moved")).unwrap();
        refused("moved");
        drop(first);
        open(dir.path()).unwrap();
    }

    #[test]
    fn what_an_older_larder_has_open_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        // It locks nothing but the file.
        let lock = File::create(dir.path().join(LOCK)).unwrap();
        lock.try_lock().unwrap();
        let second = open(dir.path());
        assert!(matches!(second, Err(DirectoryError::Locked { .. })));
        drop(lock);
        open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_or_unreadable_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FORMAT), "larder 4\n").unwrap();
        assert!(matches!(
            open(dir.path()),
            Err(DirectoryError::Newer { found: 4, .. })
        ));
        for text in ["", "larder", "larder 0\n", "larder x\n", "2\n"] {
            std::fs::write(dir.path().join(FORMAT), text).unwrap();
            let opened = open(dir.path());
            assert!(
                matches!(opened, Err(DirectoryError::Unreadable { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_directory_of_format_1_stays_one_as_long_as_nobody_brings_it_up() {
        let dir = tempfile::tempdir().unwrap();
        let format = dir.path().join(FORMAT);
        std::fs::write(&format, "larder 1\n").unwrap();
        open(dir.path()).unwrap();
        assert_eq!(std::fs::read_to_string(&format).unwrap(), "larder 1\n");
    }
}
