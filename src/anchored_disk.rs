//! A disk that changes what is in the directories that it has open, whatever comes in their place.
//!
//! Somebody may move a directory away while a node runs, exchange it for a copy, mount something
//! over it or put a link there, also for a moment only. What is put by its path then would be gone
//! as soon as all is as before. So nothing is put by its path: the storage directory and those in
//! it are held open, and everything below is done by way of them. Before that it is looked whether
//! they still stand where they stood, since nobody would find what is put into one that was moved.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, linkat, mkdirat, openat, renameat, statx,
    unlinkat,
};
use rustix::io::Errno;

use crate::disk::{DIR_MODE, Directory, Disk, DiskDir, DiskFile, FILE_MODE, is_shortage};
use crate::stored_file::{self, UNWAITING};

/// The machine's own file system below one directory, of which it holds open that directory and
/// those in it that were used.
pub struct AnchoredDisk {
    root: PathBuf,
    /// The directories that are known, each by its path below the root.
    anchors: Mutex<BTreeMap<PathBuf, Anchor>>,
    is_lasting: fn(&Path) -> bool,
}

/// A directory that is known.
struct Anchor {
    place: Place,
    /// What holds it open, if it was used.
    handle: Option<Arc<OwnedFd>>,
    /// Why nothing below it is done, where that is so.
    refused: Option<&'static str>,
}

impl Anchor {
    fn at(place: Place, handle: Option<Arc<OwnedFd>>) -> Self {
        Self {
            place,
            handle,
            refused: None,
        }
    }
}

/// A name in an open directory.
struct At {
    dir: Arc<OwnedFd>,
    name: PathBuf,
}

/// Which directory stands at a path.
#[derive(Debug, Clone, Copy)]
struct Place {
    inode: u64,
    /// The file system's device: its major and minor number.
    device: (u32, u32),
    /// The number of the mount; 0 where the kernel does not tell, and others may get it again.
    mount: u64,
    kind: FileType,
}

impl Place {
    fn at(dir: impl AsFd, name: &Path, flags: AtFlags) -> io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::TYPE | StatxFlags::MNT_ID;
        let look = statx(dir, name, flags, wanted)?;
        Ok(Self {
            inode: look.stx_ino,
            device: (look.stx_dev_major, look.stx_dev_minor),
            mount: look.stx_mnt_id,
            kind: FileType::from_raw_mode(look.stx_mode.into()),
        })
    }

    fn of(handle: &OwnedFd) -> io::Result<Self> {
        Self::at(handle, Path::new(""), AtFlags::EMPTY_PATH)
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
    /// The file system below `root`, where all stays on the mounts on which it is now, and all in
    /// the root and in the directories that `is_lasting` tells, by their paths below it, in those
    /// that there are, however like them another one is that takes the place. Blocks.
    pub fn new(root: &Path, is_lasting: fn(&Path) -> bool) -> io::Result<Self> {
        let handle = open_dir_at(CWD, root)?;
        let mut anchors = BTreeMap::new();
        for name in std::fs::read_dir(root).into_iter().flatten().flatten() {
            let below = PathBuf::from(name.file_name());
            let place = Place::at(&handle, &below, AtFlags::SYMLINK_NOFOLLOW);
            // What is no directory is nobody's place.
            if let Ok(place) = place
                && place.kind.is_dir()
            {
                anchors.insert(below, Anchor::at(place, None));
            }
        }
        let anchor = Anchor::at(Place::of(&handle)?, Some(Arc::new(handle)));
        anchors.insert(PathBuf::new(), anchor);
        Ok(Self {
            root: root.to_owned(),
            anchors: Mutex::new(anchors),
            is_lasting,
        })
    }

    /// Has nothing done any more below a directory in the root, which is not the one that it seems
    /// to be: `why` is told behind its path.
    pub fn refuse(&self, path: &Path, why: &'static str) {
        if let Ok(below) = self.below(path)
            && let Some(anchor) = self.anchors.lock().get_mut(below)
        {
            anchor.refused = Some(why);
        }
    }

    fn is_lasting(&self, below: &Path) -> bool {
        below == Path::new("") || (self.is_lasting)(below)
    }

    /// The directory at this path below the root, open; fails where something else stands there.
    fn dir(&self, below: &Path) -> io::Result<Arc<OwnedFd>> {
        let now = Place::at(CWD, &self.root, AtFlags::empty());
        let now = now.map_err(|error| self.or_moved(Path::new(""), error))?;
        let root = self.known(Path::new(""), now)?;
        let mut dir = root.ok_or_else(|| self.replaced(Path::new("")))?;
        let mut so_far = PathBuf::new();
        for name in below {
            so_far.push(name);
            dir = self.step(&dir, Path::new(name), &so_far)?;
        }
        Ok(dir)
    }

    /// The directory called `name` in one that is open.
    fn step(&self, dir: &OwnedFd, name: &Path, below: &Path) -> io::Result<Arc<OwnedFd>> {
        let now = Place::at(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let now = now.map_err(|error| self.or_moved(below, error))?;
        if now.kind.is_symlink() {
            return Err(self.refused(below, "has become a link while the node ran"));
        }
        if let Some(handle) = self.known(below, now)? {
            return Ok(handle);
        }
        let handle = open_dir_at(dir, name)?;
        if !Place::of(&handle)?.is_same(now) {
            return Err(self.replaced(below));
        }
        self.anchor(below, now, Arc::new(handle))
    }

    /// What holds a directory open that is there now; None where that is still to be done. Fails
    /// where this one has no business there.
    fn known(&self, below: &Path, now: Place) -> io::Result<Option<Arc<OwnedFd>>> {
        let anchors = self.anchors.lock();
        let above = below.parent().and_then(|above| anchors.get(above));
        match anchors.get(below) {
            Some(Anchor {
                refused: Some(why), ..
            }) => Err(self.refused(below, why)),
            Some(known) if now.is_same(known.place) => Ok(known.handle.clone()),
            Some(known) if self.is_lasting(below) || !now.is_like(known.place) => {
                Err(self.replaced(below))
            }
            // It has come since.
            None if above.is_some_and(|above| !now.is_like(above.place)) => {
                Err(self.replaced(below))
            }
            _ => Ok(None),
        }
    }

    /// Remembers which directory is there, and holds it open if it is one of the few in the root.
    fn anchor(&self, below: &Path, place: Place, handle: Arc<OwnedFd>) -> io::Result<Arc<OwnedFd>> {
        let is_in_root = is_in_root(below);
        if !is_in_root && !self.is_lasting(below) {
            return Ok(handle);
        }
        let mut anchors = self.anchors.lock();
        let known = anchors.get(below).filter(|_| self.is_lasting(below));
        if known.is_some_and(|known| !place.is_same(known.place)) {
            return Err(self.replaced(below));
        }
        let kept = is_in_root.then(|| Arc::clone(&handle));
        anchors.insert(below.to_owned(), Anchor::at(place, kept));
        Ok(handle)
    }

    /// A path below the root as a name in an open directory; fails where something else has come in
    /// the place of that.
    fn at(&self, path: &Path) -> io::Result<At> {
        let below = self.below(path)?;
        let (Some(dir), Some(name)) = (below.parent(), below.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let of_shard = |error: io::Error| {
            // What lies in it can be changed without a file more: it was looked at.
            let above = dir.parent().filter(|_| is_shortage(&error));
            let above = above.ok_or(error)?;
            let name = below.strip_prefix(above).unwrap_or(below).to_owned();
            let dir = self.dir(above)?;
            Ok(At { dir, name })
        };
        match self.dir(dir) {
            Err(error) => of_shard(error),
            Ok(dir) => Ok(At {
                dir,
                name: name.into(),
            }),
        }
    }

    fn below<'a>(&self, path: &'a Path) -> io::Result<&'a Path> {
        let below = path.strip_prefix(&self.root);
        below.map_err(|_| Errno::INVAL.into())
    }

    /// The same error, or that a directory was moved away in which something lasts.
    fn or_moved(&self, below: &Path, error: io::Error) -> io::Error {
        let is_moved = error.kind() == io::ErrorKind::NotFound
            && self.is_lasting(below)
            && (below == Path::new("") || is_in_root(below))
            && self.anchors.lock().contains_key(below);
        if is_moved {
            return self.refused(below, "was moved away or removed while the node ran");
        }
        error
    }

    fn replaced(&self, below: &Path) -> io::Error {
        let why = "is no longer what it was: something else has come in its place while the node \
                   ran, or was mounted over it or unmounted";
        self.refused(below, why)
    }

    fn refused(&self, below: &Path, why: &str) -> io::Error {
        let told = format!("{} {why}", self.root.join(below).display());
        io::Error::new(io::ErrorKind::CrossesDevices, told)
    }
}

impl Disk for AnchoredDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let At { dir, name } = self.at(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(dir, name, flags, Mode::from_raw_mode(FILE_MODE))?;
        Ok(Box::new(File::from(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.opened(path, OFlags::WRONLY | UNWAITING);
        Ok(Box::new(stored_file::checked(opened)?))
    }

    fn open_to_read(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        self.opened(path, OFlags::RDONLY | flags)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let below = self.below(path)?;
        let At { dir, name } = self.at(path)?;
        match self.step(&dir, &name, below) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) if is_taken(&dir, &name) => return Err(Errno::EXIST.into()),
            found => return found.map(drop),
        }
        match mkdirat(&dir, &name, Mode::from_raw_mode(DIR_MODE)) {
            Err(Errno::EXIST) => {}
            made => {
                made?;
                self.anchors.lock().remove(below);
            }
        }
        self.step(&dir, &name, below).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        Ok(renameat(from.dir, from.name, to.dir, to.name)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        let flags = AtFlags::empty();
        Ok(linkat(from.dir, from.name, to.dir, to.name, flags)?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let At { dir, name } = match self.at(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            at => at?,
        };
        match unlinkat(dir, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            removed => Ok(removed?),
        }
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        let dir = self.to_read(path)?;
        Ok(Box::new(Directory(File::from(dir))))
    }

    fn check_place(&self, path: &Path) -> io::Result<()> {
        self.open_dir(path).map(drop)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(self.to_read(path)?)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }
}

impl AnchoredDisk {
    /// A directory, open to be read.
    fn to_read(&self, path: &Path) -> io::Result<OwnedFd> {
        let dir = self.dir(self.below(path)?)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(dir, OsStr::new("."), flags, Mode::empty())?)
    }

    fn opened(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let At { dir, name } = self.at(path)?;
        let file = openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())?;
        Ok(File::from(file))
    }
}

/// Opens a directory to do something in it.
fn open_dir_at(dir: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::empty())?)
}

/// Whether something else than a directory has this name.
fn is_taken(dir: &OwnedFd, name: &Path) -> bool {
    let place = Place::at(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    place.is_ok_and(|it| !it.kind.is_dir())
}

fn is_in_root(below: &Path) -> bool {
    below.components().count() == 1
}
