//! A disk that puts nothing into a directory over which something was mounted or that has taken the
//! place of one with contents, and changes nothing behind a link.
//!
//! What is written to a mount is durable, and gone as soon as that is unmounted again. Whoever has
//! a file open in such a directory can tell by the file; who makes one is told here. Behind a link
//! that has taken the place of a directory is what somebody keeps elsewhere.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use crate::disk::{Disk, DiskDir, DiskFile};

/// Another disk, which changes the directories that there were when this was made, and no others
/// in their place that are of another mount.
pub struct AnchoredDisk {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Where the root was, each directory in it that there was, and each lasting one that came
    /// later.
    places: Mutex<BTreeMap<PathBuf, Place>>,
    /// The names of the directories in it in whose place no other may come.
    lasting: &'static [&'static str],
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

    /// Whether this is that directory, however it is mounted by now.
    fn is_same(self, that: Self) -> bool {
        self.device == that.device && self.inode == that.inode
    }

    /// The same, or one that has come in its place where it was.
    fn is_like(self, that: Self) -> bool {
        self.is_same(that) || (self.device == that.device && self.mount == that.mount)
    }
}

impl AnchoredDisk {
    /// `disk`, where all below `root` stays on the mounts on which it is now, and all in the root
    /// and in the directories called as the `lasting` ones in those that there are, however like
    /// them another one is that takes the place. Blocks.
    pub fn new(disk: Arc<dyn Disk>, root: &Path, lasting: &'static [&'static str]) -> Self {
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
            places: Mutex::new(places),
            lasting,
        }
    }

    /// Whether this directory, which is there now, is the one that it was.
    fn is_as_before(&self, dir: &Path, now: Place) -> bool {
        let name = dir.strip_prefix(&self.root).unwrap_or(dir);
        let is_lasting = dir == self.root || self.lasting.iter().any(|it| name == Path::new(it));
        let mut places = self.places.lock();
        match (places.get(dir), places.get(&self.root)) {
            (Some(before), _) if is_lasting => now.is_same(*before),
            (Some(before), _) => now.is_like(*before),
            // It has come since.
            (None, Some(root)) => {
                let is_like = now.is_like(*root);
                if is_like && is_lasting {
                    places.insert(dir.to_owned(), now);
                }
                is_like
            }
            (None, None) => true,
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
        let below = path
            .parent()
            .and_then(|it| it.strip_prefix(&self.root).ok());
        let Some(below) = below else {
            return Ok(());
        };
        let first = below.components().next().map(|first| self.root.join(first));
        for dir in [Some(self.root.clone()), first].into_iter().flatten() {
            // Where there is none, whoever wants to put something there finds out.
            if let Ok(now) = Place::at(&dir)
                && !self.is_as_before(&dir, now)
            {
                let told = format!(
                    "something else has come in the place of {} while the node ran, or was mounted \
                     over it or unmounted",
                    dir.display()
                );
                return Err(io::Error::new(io::ErrorKind::CrossesDevices, told));
            }
        }
        Ok(())
    }

    /// Does what puts something at `path`. Looks before, so that nothing comes where it does not
    /// belong, and after it, as the place may have become another in between.
    fn put<T>(&self, path: &Path, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.check(path)?;
        let done = work()?;
        self.check(path)?;
        Ok(done)
    }
}

impl Disk for AnchoredDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.put(path, || self.disk.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check(path)?;
        self.disk.open(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.put(path, || self.disk.create_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_way(from)?;
        self.put(to, || self.disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_way(from)?;
        self.put(to, || self.disk.link(from, to))
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
