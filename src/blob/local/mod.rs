//! Blobs on the local file system: small ones together in packs, each other one as a file.
//!
//! The file of a blob is `blobs/<first two hex digits>/<64 hex digits>` under the storage
//! directory. The 256 shard directories are made at start, so that a commit has one name
//! to make durable and no parents. The file has beside it its outboard. Nothing of a blob is
//! given out that was not proven against its hash, and damage that shows is remembered.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use super::spool::{self, Content, SpoolFile};
use super::{BlobBackend, BlobError, DamageCounts, OpenBlob, SpooledBlob};
use crate::blocking;
use crate::disk::{Disk, DiskDir, Durability, replace_file};
use crate::hash::BlobHash;

mod checker;
mod damage;
mod encoding;
mod identity;
mod listing;
mod outboards;
mod packs;
mod proven;
mod reader;
mod reading;
mod refusal;
mod shards;
mod stored;

use damage::Damage;
use listing::stored_size;
use outboards::Outboards;
pub use packs::Doubts;
use packs::{Copies, InPacks, Packs};
use proven::Proven;
use refusal::Refusal;
use shards::{shard_dir, shard_path};
use stored::Shelf;

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
    /// The length, in bytes, at which a pack of small blobs is finished; at most
    /// [`MAX_PACK_BYTES`].
    pub pack_bytes: u32,
    /// Whether long content is proven against its hash before it is given out. Its length is
    /// looked at, and short content proven, in any case.
    pub verify_reads: bool,
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
    /// Their directory, so that what is written can be synced also where no more files can
    /// be opened.
    opened: Box<dyn DiskDir>,
    /// Its device and inode, by which another one in its place is told from it.
    is: (u64, u64),
    /// How many shards were tried.
    tried: AtomicU8,
    spool: spool::Options,
    refusal: Arc<Refusal>,
    shelf: Arc<Shelf>,
}

/// Notes, durably, that format 1 has left small blobs in files of this storage directory:
/// only there does anybody look for them before a small blob is written. Blocks.
pub fn note_small_files(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    replace_file(disk, &dir.join(SMALL_FILES), b"")
}

/// Whether there is content in a storage directory, for who has to know that before anything is
/// built upon there being none. What cannot be looked at counts as some. Blocks.
pub fn holds_content(dir: &Path) -> bool {
    listing::has_any(&dir.join(DIR)) || packs::are_any(&dir.join(PACKS_DIR))
}

/// The damaged files about packs in a storage directory, each with what is wrong. They have to
/// be looked at before [`LocalBlobs::open`], which makes them anew. Blocks.
pub fn problems_of_packs(dir: &Path) -> Result<Vec<(PathBuf, String)>, BlobError> {
    packs::problems(&dir.join(PACKS_DIR))
}

impl LocalBlobs {
    /// Opens the blobs of a storage directory, making what directories are
    /// missing and clearing the spool. Blocks.
    pub fn open(options: Options) -> Result<Self, BlobError> {
        let Options {
            dir,
            spool,
            pack_bytes,
            verify_reads,
        } = options;
        let (blobs, packs) = (dir.join(DIR), dir.join(PACKS_DIR));
        let disk = &spool.disk;
        for made in [&blobs, &packs] {
            create_dir(&**disk, made)?;
        }
        for shard in 0..=u8::MAX {
            create_dir(&**disk, &shard_dir(&blobs, shard))?;
        }
        // Also names found there may be of a process killed before it synced them.
        for parent in [&blobs, &packs, &dir] {
            disk.sync_dir(parent)
                .map_err(|e| BlobError::io("sync", parent, e))?;
        }
        spool::clear(&spool)?;
        let outboards = Arc::new(Outboards::at(&dir, spool.clone())?);
        let refusal = Arc::new(Refusal::default());
        let damage = Damage::at(&dir, Arc::clone(disk), Arc::clone(&refusal))?;
        let damage = Arc::new(damage);
        let packs = Packs::open(packs::Options {
            dir: packs,
            small_files: dir.join(SMALL_FILES).exists().then(|| blobs.clone()),
            spool: spool.clone(),
            pack_bytes: pack_bytes.min(MAX_PACK_BYTES),
            refusal: Arc::clone(&refusal),
            damage: Arc::clone(&damage),
        })?;
        let opened = spool.disk.open_dir(&blobs);
        let opened = opened.map_err(|e| BlobError::io("open", &blobs, e))?;
        let look = std::fs::metadata(&blobs).map_err(|e| BlobError::io("open", &blobs, e))?;
        Ok(Self {
            shared: Arc::new(Shared {
                blobs,
                opened,
                is: (look.dev(), look.ino()),
                tried: AtomicU8::default(),
                spool,
                refusal,
                shelf: Arc::new(Shelf {
                    outboards,
                    damage,
                    proven: Proven::new(),
                    verify_reads,
                }),
            }),
            packs: Arc::new(packs),
        })
    }

    /// What was in doubt of the packs when they were opened; nothing the second time.
    pub fn take_doubts(&self) -> Doubts {
        self.packs.take_doubts()
    }

    /// Every path among the blobs and outboards that is none, such as a file somebody put
    /// there.
    pub fn strays(&self) -> BoxStream<'static, Result<PathBuf, BlobError>> {
        let among_blobs = listing::strays(self.shared.blobs.clone());
        let among_outboards = self.shared.shelf.outboards.strays();
        let among_packs = listing::strays_among_packs(Arc::clone(&self.packs));
        let damage = Arc::clone(&self.shared.shelf.damage);
        let among_damaged = listing::found_at_once(move || damage.strays());
        among_blobs
            .chain(among_outboards)
            .chain(among_packs)
            .chain(among_damaged)
            .boxed()
    }

    /// Whether all bytes of a blob have its hash, whatever is known of damage: that may have
    /// been mended, or the machine's fault rather than the disk's.
    pub async fn look_again(&self, hash: BlobHash) -> Result<bool, BlobError> {
        self.forget_damage(hash).await?;
        self.is_whole(&hash).await
    }

    async fn forget_damage(&self, hash: BlobHash) -> Result<(), BlobError> {
        self.blocking(move |shared| {
            shared.shelf.damage.forget(&hash);
            Ok(())
        })
        .await
    }

    /// Checks the outboard of a blob of `size` bytes and removes one that is damaged, to be
    /// derived when it is needed; tells whether none was.
    pub async fn check_outboard(&self, hash: BlobHash, size: u64) -> Result<bool, BlobError> {
        self.blocking(move |shared| {
            let is_sound = shared.shelf.outboards.is_sound(hash, size);
            if !is_sound {
                shared.shelf.outboards.remove(&hash)?;
            }
            Ok(is_sound)
        })
        .await
    }

    /// Opens a blob of which this is in the packs.
    async fn opened(
        &self,
        hash: BlobHash,
        in_packs: InPacks,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        if let InPacks::Whole(content) = in_packs {
            return Ok(Some(reading::small(hash, content)));
        }
        let path = self.shared.path(&hash);
        match reading::open(hash, path, &self.shared.shelf).await {
            Ok(None) if matches!(in_packs, InPacks::Damaged) => Err(BlobError::other_hash(hash)),
            opened => opened,
        }
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let shared = Arc::clone(&self.shared);
        blocking::run(move || work(&shared)).await
    }
}

#[async_trait]
impl BlobBackend for LocalBlobs {
    async fn commit(&self, blob: SpooledBlob) -> Result<(), BlobError> {
        let hash = blob.hash();
        match blob.into_content() {
            Content::Memory(bytes) => self.packs.put(hash, bytes).await,
            Content::File { blob, outboard } => {
                self.blocking(move |shared| shared.commit(&hash, blob, outboard))
                    .await
            }
        }
    }

    async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let in_packs = self.packs.content(*hash, Copies::All).await?;
        self.opened(*hash, in_packs).await
    }

    async fn size(&self, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
        let hash = *hash;
        if self.is_damaged(&hash) {
            return Ok(None);
        }
        if let Some(size) = self.packs.size(hash).await? {
            return Ok(Some(size));
        }
        self.blocking(move |shared| stored_size(&shared.path(&hash)))
            .await
    }

    async fn is_whole(&self, hash: &BlobHash) -> Result<bool, BlobError> {
        let in_packs = self.packs.content(*hash, Copies::Lasting).await?;
        let proven = match self.opened(*hash, in_packs).await {
            Ok(None) => return Ok(false),
            Ok(Some(blob)) => blob.prove().await,
            Err(error) => Err(error),
        };
        match proven {
            Ok(()) => Ok(true),
            Err(BlobError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn note_missing(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let hash = *hash;
        self.blocking(move |shared| {
            let damage = &shared.shelf.damage;
            damage.mark(hash, None, None, "it is not there, and files need it");
            Ok(())
        })
        .await
    }

    fn is_damaged(&self, hash: &BlobHash) -> bool {
        self.shared.shelf.damage.get(hash).is_some()
    }

    fn damage(&self) -> DamageCounts {
        let damage = &self.shared.shelf.damage;
        DamageCounts {
            known: damage.known(),
            found: damage.found(),
        }
    }

    async fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let hash = *hash;
        // Format 1 kept small blobs in files, too.
        self.blocking(move |shared| shared.delete(&hash)).await?;
        self.packs.delete(hash).await?;
        self.forget_damage(hash).await
    }

    fn list(&self) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
        listing::blobs(self.shared.blobs.clone(), Arc::clone(&self.packs))
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        let mut left = self.shared.shelf.outboards.without_blob(&self.shared.blobs);
        let mut swept = 0;
        while let Some(hash) = left.try_next().await? {
            self.blocking(move |shared| {
                shared.refusal.check()?;
                shared.shelf.outboards.remove(&hash)
            })
            .await?;
            swept += 1;
        }
        Ok(swept)
    }

    fn refusal(&self) -> Option<String> {
        self.shared.refusal.reason()
    }

    async fn try_to_write(&self) -> Result<(), BlobError> {
        self.blocking(Shared::try_to_write).await?;
        self.packs.try_to_write().await
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
    fn commit(
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
        create_dir(self.disk(), shard)?;
        self.sync(&self.blobs, || self.opened.sync())?;
        tracing::warn!(path = %shard.display(), "a directory of blobs was gone, and is made again");
        Ok(())
    }

    /// Fails as keeping long content would fail now in one of the shards, each time another.
    /// Blocks.
    fn try_to_write(&self) -> Result<(), BlobError> {
        let shard = self.tried.fetch_add(1, Ordering::Relaxed);
        let dir = shard_dir(&self.blobs, shard);
        self.remake(&dir)?;
        let packs = self.blobs.with_file_name(PACKS_DIR);
        let outboards = self.shelf.outboards.needed(shard);
        spool::try_to_write(&self.spool, &[dir, outboards, packs])
    }

    /// Syncs `path` where the durability setting asks for it at each commit.
    fn sync(&self, path: &Path, sync: impl FnOnce() -> io::Result<()>) -> Result<(), BlobError> {
        match self.spool.durability {
            Durability::Always => self.refusal.synced(path, sync()),
            Durability::Relaxed => Ok(()),
        }
    }

    fn sync_all(&self) -> Result<(), BlobError> {
        self.refusal.check()?;
        let synced = self.opened.sync_file_system();
        self.refusal.synced(&self.blobs, synced)
    }

    fn delete(&self, hash: &BlobHash) -> Result<(), BlobError> {
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

fn create_dir(disk: &dyn Disk, path: &Path) -> Result<(), BlobError> {
    disk.create_dir(path)
        .map_err(|e| BlobError::io("create", path, e))
}
