//! A disk that puts nothing into a directory over which something was mounted, and changes
//! nothing behind a link.
//!
//! What is written to a mount is durable, and gone as soon as that is unmounted again. Whoever has
//! a file open in such a directory can tell by the file; who makes one is told here. Behind a link
//! that has taken the place of a directory is what somebody keeps elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::disk::{Disk, DiskDir, DiskFile};

/// Another disk, which changes the directories that there were when this was made, and no others
/// in their place that are of another mount.
pub struct AnchoredDisk {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Where the root was, and each directory in it that there was.
    places: BTreeMap<PathBuf, Place>,
}

/// Which directory stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    inode: u64,
    /// The file system's device: its major and minor number.
    device: (u32, u32),
    /// The number of the mount; 0 where the kernel does not tell, and others may get it again.
    mount: u64,
}

impl Place {
    fn at(dir: &Path) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
        let look = statx(CWD, dir, AtFlags::empty(), wanted)?;
        Ok(Self {
            inode: look.stx_ino,
            device: (look.stx_dev_major, look.stx_dev_minor),
            mount: look.stx_mnt_id,
        })
    }

    /// Whether this is that directory, however it is mounted by now, or one that has come in its
    /// place where it was.
    fn is_like(self, that: Self) -> bool {
        let is_same = self.inode == that.inode || self.mount == that.mount;
        self.device == that.device && is_same
    }
}

impl AnchoredDisk {
    /// `disk`, where all below `root` stays on the mounts on which it is now. Blocks.
    pub fn new(disk: Arc<dyn Disk>, root: &Path) -> Self {
        let mut places = BTreeMap::new();
        let names = std::fs::read_dir(root).into_iter().flatten().flatten();
        let below = names.map(|name| name.path());
        for dir in below.chain([root.to_owned()]) {
            // What is no directory is nobody's place.
            if let Ok(place) = Place::at(&dir) {
                places.insert(dir, place);
            }
        }
        Self {
            disk,
            root: root.to_owned(),
            places,
        }
    }

    /// Fails where `path` is behind a link that stands in the place of a directory below the
    /// root.
    fn check_way(&self, path: &Path) -> io::Result<()> {
        let parent = path
            .parent()
            .and_then(|it| it.strip_prefix(&self.root).ok());
        let mut dir = self.root.clone();
        for name in parent.into_iter().flat_map(Path::components) {
            dir.push(name);
            if dir.is_symlink() {
                let told = format!("{} has become a link while the node ran", dir.display());
                return Err(io::Error::new(io::ErrorKind::CrossesDevices, told));
            }
        }
        Ok(())
    }

    /// Fails where what is put at `path` would be behind a link, or in something that was mounted
    /// since.
    fn check(&self, path: &Path) -> io::Result<()> {
        self.check_way(path)?;
        let (Some(parent), Some(root)) = (path.parent(), self.places.get(&self.root)) else {
            return Ok(());
        };
        let Ok(below) = parent.strip_prefix(&self.root) else {
            return Ok(());
        };
        let dir = match below.components().next() {
            Some(first) => self.root.join(first),
            None => self.root.clone(),
        };
        // Where there is none, whoever wants to put something there finds out.
        let Ok(now) = Place::at(&dir) else {
            return Ok(());
        };
        if now.is_like(*self.places.get(&dir).unwrap_or(root)) {
            return Ok(());
        }
        let told = format!(
            "something was mounted over {} while the node ran, or was unmounted",
            dir.display()
        );
        Err(io::Error::new(io::ErrorKind::CrossesDevices, told))
    }
}

impl Disk for AnchoredDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check(path)?;
        self.disk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check(path)?;
        self.disk.open(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_way(from)?;
        self.check(to)?;
        self.disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_way(from)?;
        self.check(to)?;
        self.disk.link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check_way(path)?;
        self.disk.remove_file(path)
    }

    fn check_place(&self, path: &Path) -> io::Result<()> {
        self.check(&path.join("any"))?;
        self.disk.check_place(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        self.disk.open_dir(path)
    }
}
