//! Spool files: each has a random name and lives until it is renamed or dropped.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::scratch::Scratch;
use crate::blob::BlobError;
use crate::blocking;
use crate::disk::{
    self, Disk, DiskFile, is_shared, lacks_links, open_own, open_stored, remove_leftover,
};
use crate::stored_file;

/// How much is written to find out whether it can be, in bytes.
const TRIAL: usize = 4096;
/// What is written so is called, outside of the spool.
const TRIAL_NAME: &str = ".trial";
/// How much of a file is copied at once, in bytes.
const COPY_BYTES: usize = 1 << 20;

/// A spool file; removed on drop unless it was renamed away, or is to be resumed.
pub(crate) struct SpoolFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    kept: bool,
}

impl SpoolFile {
    /// An empty file in the spool directory. Blocks.
    pub(crate) fn create(scratch: &Scratch) -> Result<Self, BlobError> {
        let path = scratch.dir.join(Uuid::new_v4().to_string());
        let file = scratch
            .disk
            .create(&path)
            .map_err(|e| BlobError::io("create", &path, e))?;
        Ok(Self {
            disk: Arc::clone(&scratch.disk),
            path,
            file,
            kept: false,
        })
    }

    /// The file at `path`, which outlives this value; empty if it was not there. Blocks.
    pub(crate) fn resume(scratch: &Scratch, path: PathBuf) -> Result<Self, BlobError> {
        let disk = Arc::clone(&scratch.disk);
        let file = match open_own(&*disk, &path) {
            // Whatever stands there instead of a file, such as a link to none, holds nothing.
            Err(e) if stored_file::is_no_file(&e) => {
                clear_away(&*disk, &path).and_then(|()| disk.create(&path))
            }
            opened => opened,
        };
        let file = file.map_err(|e| BlobError::io("open", &path, e))?;
        Ok(Self {
            disk,
            path,
            file,
            kept: true,
        })
    }

    /// Writes all of `bytes` at `offset`, in bytes from the file's start. Blocks.
    pub(crate) fn write_all_at(&self, bytes: &[u8], offset: u64) -> Result<(), BlobError> {
        self.file
            .write_all_at(bytes, offset)
            .map_err(|e| BlobError::io("write", &self.path, e))
    }

    /// Fails where the file is no longer what its path leads to, or has got another name: what is
    /// at the path is then somebody else's, and not what was written. Blocks.
    pub(crate) fn check_own(&self, len: u64) -> Result<(), BlobError> {
        let checked = if is_shared(&self.path) {
            Err(rustix::io::Errno::STALE.into())
        } else {
            self.file.check_at(&self.path, len)
        };
        checked.map_err(|e| BlobError::io("go on with", &self.path, e))
    }

    /// The open file.
    pub(crate) fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file to `to`, from where its drop no longer removes it; where
    /// that fails it is dropped. Blocks.
    pub(crate) fn rename(mut self, to: &Path) -> Result<(), BlobError> {
        if let Err(e) = self.disk.rename(&self.path, to) {
            self.discard();
            return Err(BlobError::io("rename to", to, e));
        }
        self.kept = true;
        Ok(())
    }

    /// A second name of this file of `len` bytes, in the spool directory; a copy where the file
    /// system has no second names. Fails as [`SpoolFile::check_own`] does. Blocks.
    pub(crate) fn link(&self, scratch: &Scratch, len: u64) -> Result<Self, BlobError> {
        self.check_own(len)?;
        let path = scratch.dir.join(Uuid::new_v4().to_string());
        let file = match self.disk.link(&self.path, &path) {
            Err(e) if lacks_links(&e) => return self.copy(scratch, len),
            linked => linked.and_then(|()| self.disk.open(&path)),
        };
        let file = file.map_err(|e| BlobError::io("link to", &path, e))?;
        let link = Self {
            disk: Arc::clone(&self.disk),
            path,
            file,
            kept: false,
        };
        // What was there at the moment of the link may have been another file.
        let own = self.file.check_at(&link.path, len);
        own.map_err(|e| BlobError::io("link to", &link.path, e))?;
        Ok(link)
    }

    /// A file of the same first `len` bytes in the spool directory. Blocks.
    fn copy(&self, scratch: &Scratch, len: u64) -> Result<Self, BlobError> {
        let failed = |e| BlobError::io("read", &self.path, e);
        let from = open_stored(&*self.disk, &self.path).map_err(failed)?;
        let copy = Self::create(scratch)?;
        let mut offset = 0;
        while offset < len {
            let most = usize::try_from(len - offset).unwrap_or(COPY_BYTES);
            let most = most.min(COPY_BYTES);
            let piece = stored_file::read_at(&from, offset, most).map_err(failed)?;
            if piece.is_empty() {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            check_space(scratch)?;
            copy.write_all_at(&piece, offset)?;
            offset += piece.len() as u64;
        }
        Ok(copy)
    }

    /// A file as long as a trial needs. Blocks.
    fn of_trial(scratch: &Scratch) -> Result<Self, BlobError> {
        let file = Self::create(scratch)?;
        file.write_all_at(&[0; TRIAL], 0)?;
        Ok(file)
    }

    /// Removes the file now, as a drop does a little later. Blocks.
    pub(crate) fn discard(mut self) {
        if !self.kept {
            self.kept = true;
            remove(&*self.disk, &self.path);
        }
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (disk, path) = (Arc::clone(&self.disk), std::mem::take(&mut self.path));
        let remove = move || remove(&*disk, &path);
        // Unlinking gigabytes takes long; keep it off the async threads.
        blocking::detach(remove);
    }
}

/// Removes whatever is at `path`, but a directory, which may hold what somebody needs: that gets
/// another name beside it. Blocks.
pub(crate) fn clear_away(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if !path.symlink_metadata().is_ok_and(|it| it.is_dir()) {
        return disk.remove_file(path);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    tracing::error!(path = %path.display(), "a directory in the place of a file is moved aside");
    disk.rename(path, Path::new(&aside))
}

fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a spool file could not be removed");
    }
}

/// Makes the spool directory if it is missing and removes what interrupted uploads left in it, and
/// nothing else: it may be a link to where somebody keeps other things. Nobody may be spooling
/// there. Blocks.
pub(crate) fn clear(scratch: &Scratch) -> Result<(), BlobError> {
    let Scratch { dir, disk, .. } = scratch;
    if disk.is_frozen() {
        return Ok(());
    }
    disk.create_dir(dir)
        .map_err(|e| BlobError::io("create", dir, e))?;
    let entries = std::fs::read_dir(dir).map_err(|e| BlobError::io("list", dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| BlobError::io("list", dir, e))?.path();
        if is_spooled(&path) {
            let removed = remove_leftover(&**disk, &path);
            removed.map_err(|e| BlobError::io("remove", path, e))?;
        }
    }
    Ok(())
}

/// Whether a file is called as those in the spool are.
pub(crate) fn is_spooled(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| Uuid::try_parse(name).is_ok_and(|id| id.to_string() == name))
}

/// Fails when less than the reserve is free. Blocks.
pub(crate) fn check_space(scratch: &Scratch) -> Result<(), BlobError> {
    check_room(scratch, 0)
}

/// How many bytes are free beyond the reserve; none where that cannot be told. Blocks.
pub(crate) fn free_room(scratch: &Scratch) -> u64 {
    let space = rustix::fs::statvfs(&scratch.dir);
    let free = space.map_or(0, |it| it.f_bavail.saturating_mul(it.f_frsize));
    free.saturating_sub(scratch.reserve)
}

/// Fails when less than the reserve would be free after `bytes` more. Blocks.
pub(crate) fn check_room(scratch: &Scratch, bytes: u64) -> Result<(), BlobError> {
    Ok(disk::check_room(&scratch.dir, bytes, scratch.reserve)?)
}

/// Writes a file in the spool and syncs it, moves it to each of the directories `places` in
/// turn, and removes it. Blocks.
pub(crate) fn try_to_write(scratch: &Scratch, places: &[PathBuf]) -> Result<(), BlobError> {
    let Scratch { dir, disk, .. } = scratch;
    let mut path = dir.join(Uuid::new_v4().to_string());
    let mut tried = write_trial(scratch, &path);
    for place in places {
        if tried.is_err() {
            break;
        }
        let moved = place.join(TRIAL_NAME);
        tried = disk
            .rename(&path, &moved)
            .map_err(|e| BlobError::io("write to", place, e));
        if tried.is_ok() {
            path = moved;
        }
    }
    let removed = disk.remove_file(&path);
    tried.and(removed.map_err(|e| BlobError::io("remove", path, e)))
}

/// Writes something in a directory to which nothing is moved from the spool, since it is on another
/// file system, and removes it again. Blocks.
pub(crate) fn try_to_write_in(scratch: &Scratch, place: &Path) -> Result<(), BlobError> {
    let path = place.join(TRIAL_NAME);
    let tried = write_trial(scratch, &path);
    let removed = scratch.disk.remove_file(&path);
    tried.and(removed.map_err(|e| BlobError::io("remove", path, e)))
}

fn write_trial(Scratch { disk, .. }: &Scratch, path: &Path) -> Result<(), BlobError> {
    let written = disk.create(path).and_then(|file| {
        file.write_all_at(&[0; TRIAL], 0)?;
        file.sync()
    });
    let dir = path.parent().unwrap_or(path);
    written.map_err(|e| BlobError::io("write to", dir, e))
}

/// Does what an upload of long content that came in parts does, in its order and with as many
/// files at once, all that is removed again: beside content and outboard there is what is said of
/// the upload, twice while that is replaced. Blocks.
pub(crate) fn try_to_keep(scratch: &Scratch, to: &Path, outboards: &Path) -> Result<(), BlobError> {
    let disk = &scratch.disk;
    let content = SpoolFile::of_trial(scratch)?;
    let outboard = SpoolFile::of_trial(scratch)?;
    let said = [SpoolFile::create(scratch)?, SpoolFile::create(scratch)?];
    let copy = content.link(scratch, TRIAL as u64)?;
    let synced = copy.file().sync();
    synced.map_err(|e| BlobError::io("sync", copy.path(), e))?;
    let opened = disk.open_dir(to);
    opened.map_err(|e| BlobError::io("open", to, e))?;
    let ends = [outboards, to].map(|dir| dir.join(TRIAL_NAME));
    let [outboard_at, copy_at] = &ends;
    let kept = outboard.rename(outboard_at);
    let kept = kept.and_then(|()| copy.rename(copy_at));
    for end in &ends {
        let removed = disk.remove_file(end);
        removed.map_err(|e| BlobError::io("remove", end, e))?;
    }
    // Whoever hears how it went finds nothing of it.
    said.into_iter().for_each(SpoolFile::discard);
    content.discard();
    kept
}
