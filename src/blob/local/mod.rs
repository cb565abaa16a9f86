//! Blobs as files of the local file system.
//!
//! A blob is `blobs/<first two hex digits>/<64 hex digits>` under the storage
//! directory. The 256 shard directories are made at start, so that a commit has
//! one name to make durable and no parents. Beside each longer one is its outboard.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use super::spool::{self, Content, SpoolFile};
use super::{BlobBackend, BlobError, OpenBlob, SpooledBlob, run_blocking};
use crate::disk::{Disk, Durability};
use crate::hash::BlobHash;

mod encoding;
mod listing;
mod outboards;
mod reading;

use listing::{shard_dir, shard_path, stored_size};
use outboards::Outboards;

/// The directory of the blobs, under the storage directory.
const DIR: &str = "blobs";

/// Where and how blobs are kept.
#[derive(Clone)]
pub struct Options {
    /// The storage directory, which must exist.
    pub dir: PathBuf,
    /// Where uploads are spooled: on the same file system, since a commit renames.
    pub spool: spool::Options,
    /// When a commit is durable.
    pub durability: Durability,
}

/// Blobs as files.
pub struct LocalBlobs {
    shared: Arc<Shared>,
}

/// What the blocking threads need.
struct Shared {
    blobs: PathBuf,
    spool: spool::Options,
    durability: Durability,
    /// Set by the first failed sync, for good.
    refusal: OnceLock<String>,
    outboards: Arc<Outboards>,
}

impl LocalBlobs {
    /// Opens the blobs of a storage directory, making what directories are
    /// missing and clearing the spool. Blocks.
    pub fn open(options: Options) -> Result<Self, BlobError> {
        let Options {
            dir,
            spool,
            durability,
        } = options;
        let blobs = dir.join(DIR);
        let disk = &spool.disk;
        create_dir(&**disk, &blobs)?;
        for shard in 0..=u8::MAX {
            create_dir(&**disk, &shard_dir(&blobs, shard))?;
        }
        // Also names found there may be of a process killed before it synced them.
        for parent in [&blobs, &dir] {
            disk.sync_dir(parent)
                .map_err(|e| BlobError::io("sync", parent, e))?;
        }
        spool::clear(&spool)?;
        let outboards = Arc::new(Outboards::at(&dir, spool.clone())?);
        Ok(Self {
            shared: Arc::new(Shared {
                blobs,
                spool,
                durability,
                refusal: OnceLock::new(),
                outboards,
            }),
        })
    }

    /// Every path among the blobs and outboards that is none, such as a file somebody put
    /// there.
    pub fn strays(&self) -> BoxStream<'static, Result<PathBuf, BlobError>> {
        let among_blobs = listing::strays(self.shared.blobs.clone());
        among_blobs.chain(self.shared.outboards.strays()).boxed()
    }

    /// Checks the outboard of a blob of `size` bytes and removes one that is damaged, to be
    /// derived when it is needed; tells whether none was.
    pub async fn check_outboard(&self, hash: BlobHash, size: u64) -> Result<bool, BlobError> {
        self.blocking(move |shared| {
            let is_sound = shared.outboards.is_sound(hash, size);
            if !is_sound {
                shared.outboards.remove(&hash)?;
            }
            Ok(is_sound)
        })
        .await
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let shared = Arc::clone(&self.shared);
        run_blocking(move || work(&shared)).await
    }
}

#[async_trait]
impl BlobBackend for LocalBlobs {
    async fn commit(&self, blob: SpooledBlob) -> Result<(), BlobError> {
        self.blocking(move |shared| shared.commit(blob)).await
    }

    async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let hash = *hash;
        self.blocking(move |shared| reading::open(hash, &shared.path(&hash), &shared.outboards))
            .await
    }

    async fn size(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        let hash = *hash;
        self.blocking(move |shared| stored_size(&shared.path(&hash)))
            .await
    }

    async fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let hash = *hash;
        self.blocking(move |shared| shared.delete(&hash)).await
    }

    fn list(&self) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
        listing::blobs(self.shared.blobs.clone())
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        let mut left = self.shared.outboards.without_blob(&self.shared.blobs);
        let mut swept = 0;
        while let Some(hash) = left.try_next().await? {
            self.blocking(move |shared| {
                shared.writable()?;
                shared.outboards.remove(&hash)
            })
            .await?;
            swept += 1;
        }
        Ok(swept)
    }

    fn refusal(&self) -> Option<String> {
        self.shared.refusal.get().cloned()
    }

    async fn sync(&self) -> Result<(), BlobError> {
        self.blocking(Shared::sync_all).await
    }
}

impl Shared {
    fn path(&self, hash: &BlobHash) -> PathBuf {
        shard_path(&self.blobs, hash)
    }

    fn disk(&self) -> &dyn Disk {
        &*self.spool.disk
    }

    /// Whatever is there already is replaced: a file of the right length may still be
    /// what a power cut left of another commit.
    fn commit(&self, blob: SpooledBlob) -> Result<(), BlobError> {
        if let Err(error) = self.writable() {
            blob.discard();
            return Err(error);
        }
        let hash = blob.hash();
        match blob.into_content() {
            Content::Memory(bytes) => self.keep(&hash, self.write_out(&bytes)?, None),
            Content::File { blob, outboard } => self.keep(&hash, blob, Some(outboard)),
        }
    }

    /// Brings content from memory to a spool file.
    fn write_out(&self, bytes: &[u8]) -> Result<SpoolFile, BlobError> {
        spool::check_space(&self.spool)?;
        let file = SpoolFile::create(&self.spool)?;
        match file.write_all_at(bytes, 0) {
            Ok(()) => Ok(file),
            Err(error) => {
                file.discard();
                Err(error)
            }
        }
    }

    /// Moves a blob's spool files into place; it is whole on the disk before it has its
    /// name, and its outboard is there before it.
    fn keep(
        &self,
        hash: &BlobHash,
        blob: SpoolFile,
        outboard: Option<SpoolFile>,
    ) -> Result<(), BlobError> {
        let synced = self.sync(blob.path(), || blob.file().sync());
        let prepared = synced.and_then(|()| match outboard {
            Some(outboard) => self.outboards.keep(hash, outboard),
            None => Ok(()),
        });
        if let Err(error) = prepared {
            blob.discard();
            return Err(error);
        }
        let path = self.path(hash);
        if let Err(error) = blob.rename(&path) {
            // What cannot be removed is swept.
            let _ = self.outboards.remove(hash);
            return Err(error);
        }
        self.sync_name(&path)
    }

    fn sync_name(&self, path: &Path) -> Result<(), BlobError> {
        let dir = path.parent().unwrap_or(&self.blobs);
        self.sync(dir, || self.disk().sync_dir(dir))
    }

    /// Syncs `path` where the durability setting asks for it at each commit.
    fn sync(&self, path: &Path, sync: impl FnOnce() -> io::Result<()>) -> Result<(), BlobError> {
        match self.durability {
            Durability::Always => self.synced(path, sync()),
            Durability::Relaxed => Ok(()),
        }
    }

    fn sync_all(&self) -> Result<(), BlobError> {
        self.writable()?;
        self.synced(&self.blobs, self.disk().sync_file_system(&self.blobs))
    }

    /// Passes on the result of a sync; a failed one ends all writing.
    fn synced(&self, path: &Path, result: io::Result<()>) -> Result<(), BlobError> {
        result.map_err(|e| {
            // Only the first reason is kept.
            let _ = self
                .refusal
                .set(format!("the sync of {} failed: {e}", path.display()));
            BlobError::io("sync", path, e)
        })
    }

    fn writable(&self) -> Result<(), BlobError> {
        match self.refusal.get() {
            Some(reason) => Err(BlobError::Refused(reason.clone())),
            None => Ok(()),
        }
    }

    fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        self.writable()?;
        // First, so that the blob is there to try again.
        self.outboards.remove(hash)?;
        let path = self.path(hash);
        // Not synced: a blob that a power cut brings back is collected at start.
        self.disk()
            .remove_file(&path)
            .map_err(|e| BlobError::io("remove", path, e))?;
        // Who derived one meanwhile may not have seen that the blob is gone. What cannot be
        // removed now is swept.
        let _ = self.outboards.remove(hash);
        Ok(())
    }
}

fn create_dir(disk: &dyn Disk, path: &Path) -> Result<(), BlobError> {
    disk.create_dir(path)
        .map_err(|e| BlobError::io("create", path, e))
}
