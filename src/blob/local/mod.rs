//! Blobs on the local file system: small ones together in packs, each other one as a file.
//!
//! The file of a blob is `blobs/<first two hex digits>/<64 hex digits>` under the storage
//! directory. The 256 shard directories are made at start, so that a commit has one name
//! to make durable and no parents.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use super::spool::{self, Content, SpoolFile};
use super::{BlobBackend, BlobError, OpenBlob, SpooledBlob, run_blocking};
use crate::disk::{Disk, Durability, replace_file};
use crate::hash::BlobHash;

mod encoding;
mod listing;
mod outboards;
mod packs;
mod reading;
mod refusal;
mod shards;

use listing::stored_size;
use outboards::Outboards;
use packs::Packs;
use refusal::Refusal;
use shards::{create_shards, shard_path};

/// The directory of the blobs, under the storage directory.
const DIR: &str = "blobs";
/// Where this is, under the storage directory, format 1 has left small blobs in files.
const SMALL_FILES: &str = "small-files";
/// The directory of the packs, under the storage directory.
const PACKS_DIR: &str = "packs";

/// Where and how blobs are kept.
#[derive(Clone)]
pub struct Options {
    /// The storage directory, which must exist.
    pub dir: PathBuf,
    /// Where uploads are spooled: on the same file system, since a commit renames.
    pub spool: spool::Options,
    /// When a commit is durable.
    pub durability: Durability,
    /// The length, in bytes, at which a pack of small blobs is finished; at most
    /// [`MAX_PACK_BYTES`].
    pub pack_bytes: u32,
}

/// The longest that packs may be finished at, in bytes.
pub const MAX_PACK_BYTES: u32 = 1 << 30;
/// The length, in bytes, at which packs are usually finished.
pub const PACK_BYTES: u32 = 64 << 20;

/// Blobs on the local file system.
pub struct LocalBlobs {
    shared: Arc<Shared>,
    packs: Arc<Packs>,
}

/// What the blocking threads need.
struct Shared {
    blobs: PathBuf,
    spool: spool::Options,
    durability: Durability,
    refusal: Arc<Refusal>,
    outboards: Arc<Outboards>,
}

/// Notes, durably, that format 1 has left small blobs in files of this storage directory:
/// only there does anybody look for them before a small blob is written. Blocks.
pub fn note_small_files(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    replace_file(disk, &dir.join(SMALL_FILES), b"")
}

impl LocalBlobs {
    /// Opens the blobs of a storage directory, making what directories are
    /// missing and clearing the spool. Blocks.
    pub fn open(options: Options) -> Result<Self, BlobError> {
        let Options {
            dir,
            spool,
            durability,
            pack_bytes,
        } = options;
        let (blobs, packs) = (dir.join(DIR), dir.join(PACKS_DIR));
        let disk = &spool.disk;
        create_shards(&**disk, &blobs)?;
        let created = disk.create_dir(&packs);
        created.map_err(|e| BlobError::io("create", &packs, e))?;
        let outboards = Arc::new(Outboards::at(&dir, spool.clone())?);
        // Also names found there may be of a process killed before it synced them.
        for parent in [&blobs, &packs, &dir] {
            disk.sync_dir(parent)
                .map_err(|e| BlobError::io("sync", parent, e))?;
        }
        spool::clear(&spool)?;
        let refusal = Arc::new(Refusal::default());
        let packs = Packs::open(packs::Options {
            dir: packs,
            small_files: dir.join(SMALL_FILES).exists().then(|| blobs.clone()),
            spool: spool.clone(),
            durability,
            pack_bytes: pack_bytes.min(MAX_PACK_BYTES),
            refusal: Arc::clone(&refusal),
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                blobs,
                spool,
                durability,
                refusal,
                outboards,
            }),
            packs: Arc::new(packs),
        })
    }

    /// Every path among the blobs that is none, such as a file somebody put there.
    pub fn strays(&self) -> BoxStream<'static, Result<PathBuf, BlobError>> {
        listing::strays(self.shared.blobs.clone(), Arc::clone(&self.packs))
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
        let hash = blob.hash();
        match blob.into_content() {
            Content::Memory(bytes) => self.packs.put(hash, bytes).await,
            Content::File(file) => {
                self.blocking(move |shared| shared.commit(&hash, file))
                    .await
            }
        }
    }

    async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let hash = *hash;
        if let Some(content) = self.packs.content(hash).await? {
            return Ok(Some(reading::small(hash, content)));
        }
        self.blocking(move |shared| reading::open(hash, &shared.path(&hash), &shared.outboards))
            .await
    }

    async fn size(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        let hash = *hash;
        if let Some(size) = self.packs.size(hash).await? {
            return Ok(Some(size));
        }
        self.blocking(move |shared| stored_size(&shared.path(&hash)))
            .await
    }

    async fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let hash = *hash;
        self.packs.delete(hash).await?;
        // Format 1 kept small blobs in files, too.
        self.blocking(move |shared| shared.delete(&hash)).await
    }

    fn list(&self) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
        listing::blobs(self.shared.blobs.clone(), Arc::clone(&self.packs))
    }

    fn refusal(&self) -> Option<String> {
        self.shared.refusal.reason()
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
    fn commit(&self, hash: &BlobHash, file: SpoolFile) -> Result<(), BlobError> {
        if let Err(error) = self.refusal.check() {
            file.discard();
            return Err(error);
        }
        self.keep(file, &self.path(hash))
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
            Durability::Always => self.refusal.synced(path, sync()),
            Durability::Relaxed => Ok(()),
        }
    }

    fn sync_all(&self) -> Result<(), BlobError> {
        self.refusal.check()?;
        let synced = self.disk().sync_file_system(&self.blobs);
        self.refusal.synced(&self.blobs, synced)
    }

    fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        self.refusal.check()?;
        let path = self.path(hash);
        // Not synced: a blob that a power cut brings back is collected at start.
        self.disk()
            .remove_file(&path)
            .map_err(|e| BlobError::io("remove", path, e))?;
        self.outboards.remove(hash)
    }
}
