//! Blobs as files of the local file system.
//!
//! A blob is `blobs/<first two hex digits>/<64 hex digits>` under the storage
//! directory. The 256 shard directories are made at start, so that a commit has
//! one name to make durable and no parents.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::spool::{self, Content, SpoolFile};
use super::{BlobBackend, BlobError, OpenBlob, SpooledBlob, run_blocking};
use crate::disk::{Disk, Durability};
use crate::hash::BlobHash;

mod encoding;
mod listing;
mod outboards;
mod reading;

use listing::{create_shards, shard_path, stored_size};
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
        create_shards(&**disk, &blobs)?;
        let outboards = Arc::new(Outboards::at(&dir, spool.clone())?);
        // Also names found there may be of a process killed before it synced them.
        for parent in [&blobs, &dir] {
            disk.sync_dir(parent)
                .map_err(|e| BlobError::io("sync", parent, e))?;
        }
        spool::clear(&spool)?;
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

    /// Every path among the blobs that is none, such as a file somebody put there.
    pub fn strays(&self) -> BoxStream<'static, Result<PathBuf, BlobError>> {
        listing::strays(self.shared.blobs.clone())
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
        let path = self.path(&blob.hash());
        if let Err(error) = self.writable() {
            blob.discard();
            return Err(error);
        }
        self.keep(self.in_file(blob)?, &path)
    }

    fn in_file(&self, blob: SpooledBlob) -> Result<SpoolFile, BlobError> {
        match blob.into_content() {
            Content::Memory(bytes) => self.write_out(&bytes),
            Content::File(file) => Ok(file),
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

    /// Moves a spool file into place; it is whole on the disk before it has its name.
    fn keep(&self, file: SpoolFile, path: &Path) -> Result<(), BlobError> {
        if let Err(error) = self.sync(file.path(), || file.file().sync()) {
            file.discard();
            return Err(error);
        }
        file.rename(path)?;
        self.sync_name(path)
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
        let path = self.path(hash);
        // Not synced: a blob that a power cut brings back is collected at start.
        self.disk()
            .remove_file(&path)
            .map_err(|e| BlobError::io("remove", path, e))?;
        self.outboards.remove(hash)
    }
}
