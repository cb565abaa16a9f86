//! An outboard on its way to its file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::file::SpoolFile;
use super::scratch::Scratch;
use crate::blob::BlobError;
use crate::blocking::Wanted;
use crate::hash::BlobHash;
use crate::outboard::TreeHasher;

/// How much of an outboard is gathered before it is written, in bytes: that of 16 MiB.
const WRITE_BYTES: usize = 64 * 1024;
/// How much of a file is read at once, in bytes.
const READ_BYTES: usize = 512 * 1024;

/// Hashes a blob as it comes and writes its outboard to a spool file.
pub(crate) struct OutboardWriter {
    hasher: TreeHasher,
    file: SpoolFile,
    written: u64,
    /// What follows what is written.
    pending: Vec<u8>,
}

impl OutboardWriter {
    /// The writer for a blob of which nothing has come yet. Blocks.
    pub(crate) fn create(scratch: &Scratch) -> Result<Self, BlobError> {
        Ok(Self {
            hasher: TreeHasher::new(),
            file: SpoolFile::create(scratch)?,
            written: 0,
            pending: Vec::new(),
        })
    }

    /// Takes the next piece of the blob. Blocks.
    pub(crate) fn update(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.hasher.update(piece, &mut self.pending);
        if self.pending.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Takes these bytes of a file, or those up to its end where that comes before, behind those
    /// that came already, and tells where that is; `name` is what errors call it. Blocks, as long
    /// as that is wanted.
    pub(crate) fn update_from(
        &mut self,
        file: &File,
        name: &Path,
        bytes: Range<u64>,
        wanted: &Wanted,
    ) -> Result<u64, BlobError> {
        let (mut piece, mut offset) = (vec![0; READ_BYTES], bytes.start);
        while offset < bytes.end {
            let is_wanted = wanted.check();
            is_wanted.map_err(|e| BlobError::io("read", name, e))?;
            let left = usize::try_from(bytes.end - offset).unwrap_or(READ_BYTES);
            let room = piece.get_mut(..left.min(READ_BYTES)).unwrap_or_default();
            match file.read_at(room, offset) {
                Ok(0) => break,
                Ok(read) => {
                    self.update(piece.get(..read).unwrap_or_default())?;
                    offset += read as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(BlobError::io("read", name, e)),
            }
        }
        Ok(offset)
    }

    /// The hash of what has come so far, as if that were all.
    pub(crate) fn hash_so_far(&self) -> BlobHash {
        self.hasher.hash_so_far()
    }

    /// The blob is complete: its hash and the file of its outboard, written but not
    /// synced. Blocks.
    pub(crate) fn finish(mut self) -> Result<(BlobHash, SpoolFile), BlobError> {
        let hasher = std::mem::take(&mut self.hasher);
        let hash = hasher.finish(&mut self.pending);
        match self.write() {
            Ok(()) => Ok((hash, self.file)),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    /// Removes the file now; a drop does so a little later. Blocks.
    pub(crate) fn discard(self) {
        self.file.discard();
    }

    fn write(&mut self) -> Result<(), BlobError> {
        self.file.write_all_at(&self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
