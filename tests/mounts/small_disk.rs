//! A disk that is small enough to be filled: a tmpfs that is mounted, which takes root.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::mounted::Mounted;

/// How long the disk is, in bytes.
pub(crate) const DISK: u64 = 48 << 20;

/// A small disk on which a node keeps its files; unmounted on drop.
pub(crate) struct SmallDisk {
    /// Before the directory, as it goes before it.
    _mounted: Mounted,
    pub(crate) dir: TempDir,
}

impl SmallDisk {
    pub(crate) fn mount() -> Self {
        Self::mount_with(&format!("size={DISK}"))
    }

    /// One with other options, such as `size=1M,nr_inodes=100`.
    pub(crate) fn mount_with(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            _mounted: Mounted::tmpfs(options, &storage(&dir)),
            dir,
        }
    }

    /// Leaves a page less than `bytes` free, until the returned file is removed.
    pub(crate) fn fill_to(&self, bytes: u64) -> PathBuf {
        let path = storage(&self.dir).join("filler");
        let taken = free(&storage(&self.dir)) - bytes + 4096;
        std::fs::write(&path, vec![0; usize::try_from(taken).unwrap()]).unwrap();
        path
    }

    /// Takes all the room that is left, until the returned file is removed.
    pub(crate) fn fill(&self) -> PathBuf {
        self.fill_by("filler")
    }

    /// The same by a file of another name.
    pub(crate) fn fill_by(&self, name: &str) -> PathBuf {
        let path = storage(&self.dir).join(name);
        let filled = std::fs::write(&path, vec![0; usize::try_from(DISK + 1).unwrap()]);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        path
    }
}

/// The storage directory, which is the root of the disk.
pub(crate) fn storage(dir: &TempDir) -> PathBuf {
    dir.path().join("peer_storage")
}

/// How much room others than root can take there, in bytes.
pub(crate) fn free(path: &Path) -> u64 {
    let space = rustix::fs::statvfs(path).unwrap();
    space.f_bavail * space.f_frsize
}
