//! The directory of backups: one process at a time, and a version.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backups::Broken;
use super::moments::{Found, MOMENTS, MomentFiles};
use super::{BackupError, Backups};
use crate::blob::BlobBackend;
use crate::blob::local::{self, LocalBlobs};
use crate::disk::{Disk, DiskError, RealDisk, replace_file};
use crate::frozen_disk::FrozenDisk;
use crate::store::{BACKUPS, create_durably, has_backups, is_storage_directory, unwritable};
use crate::stored_file;

/// The version of all that is in it.
const VERSION: u32 = 1;
/// Where contents are.
pub(super) const CONTENTS: &str = "contents";
/// The longest file of a version that is read, in bytes.
const MAX_BYTES: u64 = 4096;

impl Backups {
    /// Opens a directory of backups, and makes one where nothing is. Blocks.
    pub fn open_or_make(dir: &Path) -> Result<Self, BackupError> {
        Self::open_or_make_on(dir, Arc::new(RealDisk))
    }

    /// The same on a disk that may fail. Blocks.
    pub fn open_or_make_on(dir: &Path, disk: Arc<dyn Disk>) -> Result<Self, BackupError> {
        check_elsewhere(dir)?;
        if dir.exists() && !dir.is_dir() {
            return Err(BackupError::NoDirectory(dir.to_owned()));
        }
        let failed = |action, e| DiskError::new(action, dir, e);
        create_durably(dir).map_err(|e| failed("create", e))?;
        let lock = lock(dir)?;
        if version(dir)?.is_none() && !has_moments(dir) {
            let mut names = std::fs::read_dir(dir).map_err(|e| failed("list", e))?;
            // What a crash has left of the making is no one's.
            let is_ours = |name: &Path| name.starts_with(format!("{BACKUPS}.unfinished"));
            let is_other = |it: io::Result<std::fs::DirEntry>| {
                it.is_ok_and(|it| !is_ours(Path::new(&it.file_name())))
            };
            if names.any(is_other) {
                return Err(BackupError::Foreign(dir.to_owned()));
            }
        }
        if version(dir)?.is_none() {
            let text = format!("larder-backups {VERSION}\n");
            let written = replace_file(&*disk, &dir.join(BACKUPS), text.as_bytes());
            written.map_err(|e| DiskError::new("write", dir.join(BACKUPS), e))?;
        }
        let [moments, contents] = [MOMENTS, CONTENTS].map(|it| dir.join(it));
        if contents.exists() && !moments.exists() {
            // What is in there is not to be given up by who knows nothing of it.
            return Err(BackupError::NoMoments(moments));
        }
        for made in [moments, contents] {
            let created = disk.create_dir(&made);
            created.map_err(|e| DiskError::new("create", made, e))?;
        }
        disk.sync_dir(dir).map_err(|e| failed("sync", e))?;
        Self::opened(dir, disk, lock)
    }

    /// Opens a directory of backups that is there; where nothing can be written in it, nothing is
    /// changed there. Blocks.
    pub fn open_existing(dir: &Path) -> Result<Self, BackupError> {
        check_there(dir)?;
        let lock = lock(dir)?;
        version(dir)?;
        let disk: Arc<dyn Disk> = match unwritable(dir) {
            None => Arc::new(RealDisk),
            Some(_) => Arc::new(FrozenDisk),
        };
        Self::opened(dir, disk, lock)
    }

    /// All backups in a directory, the oldest first, whoever has it open. Blocks.
    pub fn moments_in(dir: &Path) -> Result<Vec<Found>, BackupError> {
        check_there(dir)?;
        version(dir)?;
        moment_files(dir).all()
    }

    fn opened(dir: &Path, disk: Arc<dyn Disk>, lock: Option<File>) -> Result<Self, BackupError> {
        let contents = LocalBlobs::open(local::Options {
            disk: Arc::clone(&disk),
            ..local::Options::new(dir.join(CONTENTS))
        })?;
        let broken = Arc::<Broken>::default();
        contents.report_to(Arc::clone(&broken) as _);
        Ok(Self {
            files: MomentFiles {
                dir: dir.to_owned(),
                disk,
            },
            contents,
            broken,
            _lock: lock,
        })
    }
}

/// Fails where a directory of backups would be in a storage directory, or is one.
fn check_elsewhere(dir: &Path) -> Result<(), BackupError> {
    let there = dir.ancestors().find_map(|it| it.canonicalize().ok());
    let there = there.or_else(|| std::env::current_dir().ok());
    let there = there.unwrap_or_default();
    if there.ancestors().any(is_storage_directory) {
        return Err(BackupError::InStorage(dir.to_owned()));
    }
    Ok(())
}

/// Locks the directory itself; None where its file system knows no such lock.
fn lock(dir: &Path) -> Result<Option<File>, BackupError> {
    let itself = File::open(dir).map_err(|e| DiskError::new("open", dir, e))?;
    match itself.try_lock() {
        Ok(()) => Ok(Some(itself)),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(dir.to_owned())),
        Err(TryLockError::Error(error)) => {
            tracing::debug!(%error, "the file system locks no directories");
            Ok(None)
        }
    }
}

/// Fails where there is no directory of backups.
fn check_there(dir: &Path) -> Result<(), BackupError> {
    if has_backups(dir) || has_moments(dir) {
        return Ok(());
    }
    match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Err(DiskError::new("list", dir, e).into())
        }
        _ => Err(BackupError::Absent(dir.to_owned())),
    }
}

fn moment_files(dir: &Path) -> MomentFiles {
    MomentFiles {
        dir: dir.to_owned(),
        disk: Arc::new(RealDisk),
    }
}

/// Whether there are backups that can be read, so that it is known which version all is of.
fn has_moments(dir: &Path) -> bool {
    let found = moment_files(dir).all();
    found.is_ok_and(|it| it.iter().any(|it| it.moment.is_ok()))
}

/// What is wrong with the file that says the version. Blocks.
pub(super) fn problem(dir: &Path) -> Option<(PathBuf, &'static str)> {
    let is_told = matches!(version(dir), Ok(Some(_)) | Err(BackupError::Newer { .. }));
    let problem = "damaged or missing (the next backup makes it anew)";
    (!is_told && has_moments(dir)).then(|| (dir.join(BACKUPS), problem))
}

/// The version that a directory tells, which is known here; None where no file says one, or what it
/// says is none and backups can be read beside it.
fn version(dir: &Path) -> Result<Option<u32>, BackupError> {
    let path: PathBuf = dir.join(BACKUPS);
    let bytes = match stored_file::read(&path, MAX_BYTES) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(|e| DiskError::new("read", &path, e))?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let found = text.trim_end().strip_prefix("larder-backups ");
    match found.and_then(|it| it.parse().ok()) {
        Some(found @ 1..=VERSION) => Ok(Some(found)),
        Some(found @ 1..) => Err(BackupError::Newer {
            path,
            found,
            known: VERSION,
        }),
        _ if has_moments(dir) => Ok(None),
        _ => Err(BackupError::Unreadable(path)),
    }
}
