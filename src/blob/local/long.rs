//! The blobs that are files: all that are too long for the packs.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::super::BlobError;
use super::refusal::Refusal;
use super::shards::{shard_dir, shard_path};
use super::spool::{self, SpoolFile};
use super::stored::Shelf;
use crate::disk::{Disk, DiskDir, Durability};
use crate::hash::BlobHash;

/// The blobs that are files.
pub(super) struct LongBlobs {
    pub(super) blobs: PathBuf,
    /// Their directory, so that what is written can be synced also where no more files can
    /// be opened.
    opened: Box<dyn DiskDir>,
    /// Its device and inode, by which another one in its place is told from it.
    is: (u64, u64),
    /// How many shards were tried.
    tried: AtomicU8,
    spool: spool::Scratch,
    pub(super) refusal: Arc<Refusal>,
    pub(super) shelf: Arc<Shelf>,
}

impl LongBlobs {
    /// Opens those in the directory `blobs`, in which all shards are. Blocks.
    pub(super) fn open(
        blobs: PathBuf,
        spool: spool::Scratch,
        refusal: Arc<Refusal>,
        shelf: Arc<Shelf>,
    ) -> Result<Self, BlobError> {
        let failed = |e| BlobError::io("open", &blobs, e);
        let opened = spool.disk.open_dir(&blobs).map_err(failed)?;
        let look = std::fs::metadata(&blobs).map_err(failed)?;
        Ok(Self {
            opened,
            is: (look.dev(), look.ino()),
            tried: AtomicU8::default(),
            blobs,
            spool,
            refusal,
            shelf,
        })
    }

    /// Where the blob with this hash is, if it is.
    pub(super) fn path(&self, hash: &BlobHash) -> PathBuf {
        shard_path(&self.blobs, hash)
    }

    fn disk(&self) -> &dyn Disk {
        &*self.spool.disk
    }

    /// Keeps what was spooled. Whatever is there already is replaced: a file of the right length
    /// may still be what a power cut left of another one. Blocks.
    pub(super) fn commit(
        &self,
        hash: &BlobHash,
        blob: SpoolFile,
        outboard: SpoolFile,
    ) -> Result<(), BlobError> {
        if let Err(error) = self.refusal.check() {
            blob.discard();
            outboard.discard();
            return Err(error);
        }
        self.keep(hash, blob, outboard)
    }

    /// Moves a blob's spool files into place; it is whole on the disk before it has its
    /// name, and its outboard is there before it.
    fn keep(&self, hash: &BlobHash, blob: SpoolFile, outboard: SpoolFile) -> Result<(), BlobError> {
        let synced = self.sync(blob.path(), || blob.file().sync());
        let prepared = synced.and_then(|()| self.shelf.outboards.keep(hash, outboard));
        if let Err(error) = prepared {
            blob.discard();
            return Err(error);
        }
        let path = self.path(hash);
        let dir = path.parent().unwrap_or(&self.blobs);
        let aside = self.remake(dir).and_then(|()| {
            let aside = self.shelf.damage.set_aside(&path);
            aside.map_err(|e| BlobError::io("move away", &path, e))
        });
        if let Err(error) = aside {
            blob.discard();
            return Err(error);
        }
        // Opened before the rename: who cannot open it has changed nothing.
        let opened = self.disk().open_dir(dir);
        let opened = opened.map_err(|e| BlobError::io("open", dir, e));
        let named = opened.and_then(|opened| blob.rename(&path).map(|()| opened));
        match named {
            Ok(opened) => self.sync(dir, || opened.sync())?,
            Err(error) => {
                // What cannot be removed is swept.
                let _ = self.shelf.outboards.remove(hash);
                return Err(error);
            }
        }
        self.shelf.damage.forget(hash);
        Ok(())
    }

    /// Makes the directory of a shard again where somebody has removed it from the directory
    /// that was opened. In another one, content that is stored would be missed. Blocks.
    fn remake(&self, shard: &Path) -> Result<(), BlobError> {
        if shard.is_dir() {
            return Ok(());
        }
        let failed = |e| BlobError::io("make again", shard, e);
        let look = std::fs::metadata(&self.blobs).map_err(failed)?;
        if (look.dev(), look.ino()) != self.is {
            return Err(failed(rustix::io::Errno::STALE.into()));
        }
        let made = self.disk().create_dir(shard);
        made.map_err(|e| BlobError::io("create", shard, e))?;
        self.sync(&self.blobs, || self.opened.sync())?;
        tracing::warn!(path = %shard.display(), "a directory of blobs was gone, and is made again");
        Ok(())
    }

    /// Fails as keeping long content would fail now in one of the shards, each time another, or
    /// as it failed where a directory could not be made. Blocks.
    pub(super) fn try_to_write(&self, unmade: &[PathBuf]) -> Result<(), BlobError> {
        for dir in unmade {
            if dir.parent() == Some(&self.blobs) {
                self.remake(dir)?;
            }
        }
        let shard = self.tried.fetch_add(1, Ordering::Relaxed);
        let dir = shard_dir(&self.blobs, shard);
        self.remake(&dir)?;
        let outboards = self.shelf.outboards.needed(shard);
        self.shelf.outboards.try_to_make(unmade)?;
        spool::try_to_keep(&self.spool, &dir, &outboards)
    }

    /// Syncs `path` where the durability setting asks for it at each commit.
    fn sync(&self, path: &Path, sync: impl FnOnce() -> io::Result<()>) -> Result<(), BlobError> {
        match self.spool.durability {
            Durability::Always => self.refusal.synced(path, sync()),
            Durability::Relaxed => Ok(()),
        }
    }

    /// Makes all that was written durable. Blocks.
    pub(super) fn sync_all(&self) -> Result<(), BlobError> {
        self.refusal.check()?;
        let synced = self.opened.sync_file_system();
        self.refusal.synced(&self.blobs, synced)
    }

    /// Deletes a blob; one that is absent is fine. Blocks.
    pub(super) fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        self.refusal.check()?;
        // First, so that the blob is there to try again.
        self.shelf.outboards.remove(hash)?;
        let path = self.path(hash);
        let aside = self.shelf.damage.set_aside(&path);
        aside.map_err(|e| BlobError::io("move away", &path, e))?;
        // Not synced: a blob that a power cut brings back is collected at start.
        self.disk()
            .remove_file(&path)
            .map_err(|e| BlobError::io("remove", path, e))?;
        // Who derived one meanwhile may not have seen that the blob is gone. What cannot be
        // removed now is swept.
        let _ = self.shelf.outboards.remove(hash);
        Ok(())
    }
}
