//! The file of a blob, open for reading: looked at before anything of it is believed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::{Errno, pread};

use super::super::BlobError;
use super::damage::{Damage, Found};
use super::identity::Identity;
use super::outboards::Outboards;
use super::proven::Proven;
use crate::blocking::Wanted;
use crate::disk::{Disk, RealDisk};
use crate::hash::BlobHash;
use crate::stored_file::read_cached;

/// What all who read blobs share.
pub(super) struct Shelf {
    pub(super) outboards: Arc<Outboards>,
    pub(super) damage: Arc<Damage>,
    pub(super) proven: Proven,
    /// The directory of the blobs, and the disk it is on.
    pub(super) blobs: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    /// Whether long content is checked when it is read to be sent.
    pub(super) verify_reads: bool,
}

/// What is done about bytes of a file that are not in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// They are read from the disk, which blocks.
    Await,
    /// They are an error at once: the kind is `WouldBlock`.
    Refuse,
}

/// Fails where a directory is not to be seen now: that nothing is found there says nothing then.
/// Blocks.
pub(super) fn check_place(disk: &dyn Disk, dir: &Path) -> Result<(), BlobError> {
    let there = disk.check_place(dir);
    there.map_err(|e| BlobError::io("find", dir, e))
}

/// The open file of a blob.
pub(super) struct Stored {
    pub(super) hash: BlobHash,
    /// The length when it was opened, in bytes.
    pub(super) size: u64,
    pub(super) file: Arc<File>,
    path: PathBuf,
    pub(super) shelf: Arc<Shelf>,
}

impl Stored {
    /// Opens the file of a blob; None if nothing is there. Whatever else is there than a file
    /// is damage, and nothing waits for it. Blocks.
    pub(super) fn open(
        hash: BlobHash,
        path: PathBuf,
        shelf: &Arc<Shelf>,
    ) -> Result<Option<Self>, BlobError> {
        // Never through a link, and never waiting for whoever writes to a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = match RealDisk.open_to_read(&path, flags) {
            // Another directory may have been in the place of its own for a moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => shelf.disk.open_to_read(&path, flags),
            opened => opened,
        };
        let looked = opened.and_then(|file| Ok((file.metadata()?, file)));
        let (look, file) = match looked {
            Ok(looked) => looked,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // It may be where the directory is now.
                check_place(&*shelf.disk, &shelf.blobs)?;
                return Ok(None);
            }
            Err(e) => return Err(unopened(hash, &path, shelf, e)),
        };
        if !look.is_file() {
            return Err(no_file(hash, &path, shelf));
        }
        Ok(Some(Self {
            hash,
            size: look.len(),
            file: Arc::new(file),
            path,
            shelf: Arc::clone(shelf),
        }))
    }

    /// The file as it is now. Blocks.
    pub(super) fn identity(&self) -> Result<Identity, BlobError> {
        let identity = Identity::of(&self.file);
        identity.map_err(|e| BlobError::io("look at", &self.path, e))
    }

    /// Fails once nobody waits for what is read of it.
    pub(super) fn check(&self, wanted: &Wanted) -> Result<(), BlobError> {
        let checked = wanted.check();
        checked.map_err(|e| BlobError::io("read", &self.path, e))
    }

    /// Fills `buffer` up to `wanted` bytes with those from `offset` on; that the file ends
    /// before, or cannot be read there, is damage.
    pub(super) fn read(
        &self,
        buffer: &mut Vec<u8>,
        wanted: usize,
        offset: u64,
        absent: Absent,
    ) -> Result<(), BlobError> {
        buffer.clear();
        if absent == Absent::Refuse {
            buffer.resize(wanted, 0);
            let read = read_cached(&self.file, buffer, offset);
            return read.map_err(|e| BlobError::io("read", &self.path, e));
        }
        let mut failed_before = false;
        // Not zeroed before it is read into.
        buffer.reserve_exact(wanted);
        while buffer.len() < wanted {
            let at = offset + buffer.len() as u64;
            match pread(&self.file, spare_capacity(buffer), at) {
                Ok(0) => return Err(self.ends_at(at)),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::IO) if !failed_before => failed_before = true,
                Err(e) => return Err(self.unreadable(e.into())),
            }
        }
        buffer.truncate(wanted);
        Ok(())
    }

    /// The error for bytes that the system does not give. Nobody knows what they are: the next
    /// reader tries again. Where the medium is at fault, it is remembered, so that the content is
    /// not claimed to be held, and written anew once it comes again.
    pub(super) fn unreadable(&self, error: io::Error) -> BlobError {
        let error = BlobError::io("read", &self.path, error);
        if error.is_unreadable() {
            self.shelf.damage.note_unreadable(&self.hash, &error);
        }
        error
    }

    /// The error for a file that has become shorter. Blocks.
    pub(super) fn ends_at(&self, at: u64) -> BlobError {
        let detail = format!("it ends at byte {at}, before byte {}", self.size);
        self.damaged(&detail)
    }

    /// The error for bytes that turned out not to be those of the blob, which is remembered.
    /// Blocks.
    pub(super) fn damaged(&self, detail: &str) -> BlobError {
        let found = Identity::of(&self.file).ok();
        let (hash, path) = (self.hash, Some(&*self.path));
        self.shelf.damage.mark(hash, path, found, detail);
        BlobError::damaged(hash, &detail)
    }

    /// What is known of damage of this content, if that is of this very file.
    pub(super) fn known(&self) -> Result<Option<Found>, BlobError> {
        let known = self.shelf.damage.get(&self.hash);
        if known.is_some() && known.flatten() == Some(self.identity()?) {
            return Err(BlobError::known(self.hash));
        }
        Ok(known)
    }
}

fn unopened(hash: BlobHash, path: &Path, shelf: &Shelf, error: io::Error) -> BlobError {
    if let Some(libc::ELOOP | libc::ENXIO) = error.raw_os_error() {
        return no_file(hash, path, shelf);
    }
    let is_its_own =
        error.kind() == io::ErrorKind::PermissionDenied && fs::symlink_metadata(path).is_ok();
    let error = BlobError::io("open", path, error);
    // Where not even its directory can be looked at that says nothing of this one.
    if is_its_own || error.is_unreadable() {
        shelf.damage.note_unreadable(&hash, &error);
    }
    error
}

fn no_file(hash: BlobHash, path: &Path, shelf: &Shelf) -> BlobError {
    let detail = "something else than a file is in its place";
    let found = Identity::at(path).ok();
    shelf.damage.mark(hash, Some(path), found, detail);
    BlobError::damaged(hash, &detail)
}
