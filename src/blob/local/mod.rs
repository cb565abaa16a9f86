//! Blobs on the local file system: small ones together in packs, each other one as a file.
//!
//! The file of a blob is `blobs/<first two hex digits>/<64 hex digits>` under the storage
//! directory. The 256 shard directories are made at start, so that a commit has one name
//! to make durable and no parents. The file has beside it its outboard. Nothing of a blob is
//! given out that was not proven against its hash, and damage that shows is remembered. So a place
//! is named for its content here ([`Place::of`]).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};

use super::{
    BlobBackend, BlobError, Limit, Medium, OpenBlob, Partials, Purpose, Receiving, other_size,
};
use crate::blocking;
use crate::disk::{Disk, Durability, RealDisk, replace_file};
use crate::hash::BlobHash;
use crate::health::Findings;
use crate::place::Place;
use crate::watched_disk::Writes;

mod checker;
mod content_dirs;
mod damage;
mod encoding;
mod filling;
mod identity;
mod listing;
mod long;
mod medium;
mod outboards;
mod packs;
mod partials;
#[cfg(feature = "node")]
mod presence;
mod proven;
mod reader;
mod reading;
mod receiving;
mod refusal;
mod rereading;
mod salvage;
mod shards;
mod spool;
mod stored;

pub use content_dirs::{ContentDir, bare_dirs, content_dirs};
use damage::Damage;
pub(crate) use listing::OF_FILE_SYSTEM;
use listing::stored_size;
use long::LongBlobs;
use outboards::Outboards;
use packs::{Copies, InPacks, OpenPacks, Packs};
pub use packs::{Doubts, MAX_PACK_BYTES, is_pack, usually_open};
use partials::LocalPartials;
pub use partials::PartialFiles;
use proven::Proven;
use receiving::{Incoming, Keeping};
use refusal::Refusal;
use shards::shard_dir;
use spool::Spool;
use stored::{Shelf, Stored, check_place};

/// The directory of the blobs, under the storage directory.
const DIR: &str = "blobs";
/// Where this is, under the storage directory, format 1 has left small blobs in files.
const SMALL_FILES: &str = "small-files";
/// The files that it has in the storage directory itself.
pub(crate) const FILES: [&str; 2] = [SMALL_FILES, packs::NOTE];
/// The directory of the packs, under the storage directory.
const PACKS_DIR: &str = "packs";
/// The directory of the spool, under the storage directory.
const SPOOL_DIR: &str = "spool";

/// Where and how blobs are kept.
#[derive(Clone)]
pub struct Options {
    /// The storage directory, which must exist.
    pub dir: PathBuf,
    /// How files are changed.
    pub disk: Arc<dyn Disk>,
    /// What the disk notes of how writing to it goes, if it does.
    pub writes: Arc<Writes>,
    /// When a blob that is kept is durable.
    pub durability: Durability,
    /// The free space, in bytes, below which nothing more is taken: the journal
    /// and the index need room to go on.
    pub reserve: u64,
    /// The length, in bytes, at which a pack of small blobs is finished; at most
    /// [`MAX_PACK_BYTES`].
    pub pack_bytes: u32,
    /// How many packs stay open; others are opened each time that they are read.
    pub open_packs: usize,
    /// Whether long content is proven against its hash before it is given out. Its length is
    /// looked at, and short content proven, in any case.
    pub verify_reads: bool,
}

/// The length, in bytes, at which packs are usually finished.
pub const PACK_BYTES: u32 = 64 << 20;
/// The longest content that is kept in packs, in bytes.
pub const LONGEST_IN_PACKS: u64 = spool::MEMORY_LIMIT;

/// Blobs on the local file system.
pub struct LocalBlobs {
    long: Arc<LongBlobs>,
    packs: Arc<Packs>,
    spool: spool::Scratch,
    writes: Arc<Writes>,
}

impl Options {
    /// The usual settings for a storage directory on the machine's own disk.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk: Arc::new(RealDisk),
            writes: Arc::default(),
            durability: Durability::Always,
            reserve: 16 << 20,
            pack_bytes: PACK_BYTES,
            open_packs: packs::usually_open(),
            verify_reads: true,
        }
    }
}

/// Notes, durably, that format 1 has left small blobs in files of this storage directory:
/// only there does anybody look for them before a small blob is written. Blocks.
pub fn note_small_files(dir: &Path, disk: &dyn Disk) -> io::Result<()> {
    replace_file(disk, &dir.join(SMALL_FILES), b"")
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
            disk,
            writes,
            durability,
            reserve,
            pack_bytes,
            open_packs,
            verify_reads,
        } = options;
        let (blobs, packs) = (dir.join(DIR), dir.join(PACKS_DIR));
        let spool = spool::Scratch {
            dir: dir.join(SPOOL_DIR),
            disk: Arc::clone(&disk),
            reserve,
            durability,
        };
        writes.add_place_of_uploads(spool.dir.clone());
        for made in [&blobs, &packs] {
            create_dir(&*disk, made)?;
        }
        for shard in 0..=u8::MAX {
            create_dir(&*disk, &shard_dir(&blobs, shard))?;
        }
        // Also names found there may be of a process killed before it synced them.
        for parent in [&blobs, &packs, &dir] {
            disk.sync_dir(parent)
                .map_err(|e| BlobError::io("sync", parent, e))?;
        }
        spool::clear(&spool)?;
        let outboards = Arc::new(Outboards::at(&dir, spool.clone())?);
        let refusal = Arc::new(Refusal::default());
        let damage = Damage::at(&dir, Arc::clone(&disk), Arc::clone(&refusal))?;
        let damage = Arc::new(damage);
        let packs = Packs::open(packs::Options {
            dir: packs,
            small_files: dir.join(SMALL_FILES).exists().then(|| blobs.clone()),
            spool: spool.clone(),
            pack_bytes: pack_bytes.min(MAX_PACK_BYTES),
            open: OpenPacks::at_most(open_packs),
            refusal: Arc::clone(&refusal),
            damage: Arc::clone(&damage),
        })?;
        let shelf = Shelf {
            outboards,
            damage,
            proven: Proven::new(),
            blobs: blobs.clone(),
            disk,
            verify_reads,
        };
        let long = LongBlobs::open(blobs, spool.clone(), refusal, Arc::new(shelf))?;
        Ok(Self {
            long: Arc::new(long),
            packs: Arc::new(packs),
            spool,
            writes,
        })
    }

    /// What was in doubt of the packs when they were opened; nothing the second time.
    pub fn take_doubts(&self) -> Doubts {
        self.packs.take_doubts()
    }

    /// Every blob with its size, in the order of the hashes.
    pub fn in_order(&self) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
        listing::blobs(self.long.blobs.clone(), Arc::clone(&self.packs))
    }

    /// Every path among the blobs and outboards, and in the spool, that is none of theirs, such as
    /// a file somebody put there.
    pub fn strays(&self) -> BoxStream<'static, Result<PathBuf, BlobError>> {
        let among_blobs = listing::strays(self.long.blobs.clone());
        let beside = listing::strays_beside_shards(self.long.blobs.clone());
        let in_spool =
            listing::strays_but(self.spool.dir.clone(), |path, _| spool::is_spooled(path));
        let among_outboards = self.long.shelf.outboards.strays();
        let among_packs = listing::strays_among_packs(Arc::clone(&self.packs));
        let damage = Arc::clone(&self.long.shelf.damage);
        let among_damaged = listing::found_at_once(move || damage.strays());
        among_blobs
            .chain(beside)
            .chain(in_spool)
            .chain(among_outboards)
            .chain(among_packs)
            .chain(among_damaged)
            .boxed()
    }

    /// Whether all bytes of a blob have its hash, whatever is known of damage: that may have
    /// been mended, or the machine's fault rather than the disk's.
    pub async fn look_again(&self, hash: BlobHash) -> Result<bool, BlobError> {
        self.forget_damage(hash).await?;
        self.is_whole(&hash, Place::of(&hash)).await
    }

    /// Whether what is stored of a content is longer than its `size` in bytes. That is damage,
    /// which is remembered, and nothing of it is read.
    pub async fn is_longer(&self, hash: BlobHash, size: u64) -> Result<bool, BlobError> {
        // What is in the packs is of no other length.
        if self.packs.size(hash).await?.is_some() {
            return Ok(false);
        }
        self.blocking(move |long| {
            let Some(stored) = Stored::open(hash, long.path(&hash), &long.shelf)? else {
                return Ok(false);
            };
            let is_longer = stored.size > size;
            if is_longer {
                drop(stored.damaged(&other_size(stored.size, size)));
            }
            Ok(is_longer)
        })
        .await
    }

    async fn forget_damage(&self, hash: BlobHash) -> Result<(), BlobError> {
        self.blocking(move |long| {
            long.shelf.damage.forget(&hash);
            Ok(())
        })
        .await
    }

    /// Checks the outboard of a blob of `size` bytes and removes one that is damaged, to be
    /// derived when it is needed; tells whether none was.
    pub async fn check_outboard(&self, hash: BlobHash, size: u64) -> Result<bool, BlobError> {
        self.blocking(move |long| {
            let is_sound = long.shelf.outboards.is_sound(hash, size);
            if !is_sound {
                long.shelf.outboards.remove(&hash)?;
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
        let unusable = match in_packs {
            InPacks::Whole(content) => return Ok(Some(reading::small(hash, content))),
            InPacks::Absent => None,
            InPacks::Damaged => Some(BlobError::other_hash(hash)),
            InPacks::Unreadable(error) => Some(error),
        };
        let path = self.long.path(&hash);
        // What is known of it is that of the packs where no file is there.
        let in_file = reading::open(hash, path, &self.long.shelf).await;
        match (in_file, unusable) {
            (Ok(Some(blob)), _) => Ok(Some(blob)),
            (Ok(None), None) => {
                let (disk, packs) = (Arc::clone(&self.spool.disk), self.packs.dir.clone());
                // It may be where the packs are now.
                blocking::run(move || check_place(&*disk, &packs)).await?;
                Ok(None)
            }
            (Ok(None) | Err(BlobError::Damaged { .. }), Some(unusable)) => Err(unusable),
            (opened, _) => opened,
        }
    }

    /// What keeps content that comes.
    fn keeping(&self) -> Keeping {
        Keeping {
            long: Arc::clone(&self.long),
            packs: Arc::clone(&self.packs),
        }
    }

    /// Runs `work` where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LongBlobs) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let long = Arc::clone(&self.long);
        blocking::run(move || work(&long)).await
    }
}

#[async_trait]
impl BlobBackend for LocalBlobs {
    async fn receive(&self, limit: Limit) -> Result<Box<dyn Receiving>, BlobError> {
        let spool = Spool::new(self.spool.clone(), limit);
        Ok(Box::new(Incoming::new(spool, self.keeping())))
    }

    async fn room(&self) -> u64 {
        let spool = self.spool.clone();
        blocking::run(move || spool::free_room(&spool)).await
    }

    async fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        let spool = self.spool.clone();
        blocking::run(move || spool::check_room(&spool, bytes)).await
    }

    fn partials(&self, purpose: Purpose) -> Arc<dyn Partials> {
        let (spool, writes) = (self.spool.clone(), Arc::clone(&self.writes));
        Arc::new(LocalPartials::new(purpose, spool, writes, self.keeping()))
    }

    async fn open(
        &self,
        hash: &BlobHash,
        _: Place,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let in_packs = self.packs.content(*hash, Copies::All).await?;
        self.opened(*hash, in_packs).await
    }

    async fn size(&self, place: Place) -> Result<Option<u64>, BlobError> {
        let hash = place.content();
        if self.long.shelf.damage.is_unusable(&hash) {
            return Ok(None);
        }
        if let Some(size) = self.packs.size(hash).await? {
            return Ok(Some(size));
        }
        self.blocking(move |long| stored_size(&long.path(&hash)))
            .await
    }

    async fn is_whole(&self, hash: &BlobHash, _: Place) -> Result<bool, BlobError> {
        let in_packs = self.packs.content(*hash, Copies::Lasting).await?;
        let proven = match self.opened(*hash, in_packs).await {
            Ok(None) => return Ok(false),
            Ok(Some(blob)) => blob.prove().await,
            Err(error) => Err(error),
        };
        match proven {
            Ok(()) => {
                self.long.shelf.damage.note_whole(hash);
                Ok(true)
            }
            Err(BlobError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn note_missing(&self, place: Place) -> Result<(), BlobError> {
        let hash = place.content();
        self.blocking(move |long| {
            let damage = &long.shelf.damage;
            damage.mark(hash, None, None, "it is not there, and files need it");
            Ok(())
        })
        .await
    }

    fn report_to(&self, findings: Arc<dyn Findings>) {
        self.long.shelf.damage.report_to(findings);
    }

    fn damage_found(&self) -> u64 {
        self.long.shelf.damage.found()
    }

    fn read_errors(&self) -> u64 {
        self.long.shelf.damage.read_errors()
    }

    async fn delete(&self, place: Place) -> Result<(), BlobError> {
        let hash = place.content();
        // Format 1 kept small blobs in files, too.
        self.blocking(move |long| long.delete(&hash)).await?;
        self.packs.delete(hash).await?;
        self.forget_damage(hash).await
    }

    fn list(&self) -> BoxStream<'static, Result<(Place, u64), BlobError>> {
        let blobs = self.in_order();
        blobs
            .map_ok(|(hash, size)| (Place::of(&hash), size))
            .boxed()
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        let mut left = self.long.shelf.outboards.without_blob(&self.long.blobs);
        let mut swept = 0;
        while let Some(hash) = left.try_next().await? {
            self.blocking(move |long| {
                long.refusal.check()?;
                long.shelf.outboards.remove(&hash)
            })
            .await?;
            swept += 1;
        }
        Ok(swept)
    }

    fn medium(&self) -> Option<&dyn Medium> {
        Some(self)
    }

    fn refusal(&self) -> Option<String> {
        self.long.refusal.reason()
    }

    async fn try_to_write(&self) -> Result<(), BlobError> {
        let (spool, writes) = (self.spool.clone(), Arc::clone(&self.writes));
        blocking::run(move || try_to_spool(&spool, &writes)).await?;
        let unmade = self.writes.unmade();
        self.blocking(move |long| long.try_to_write(&unmade))
            .await?;
        self.packs.try_to_write().await
    }

    async fn sync(&self) -> Result<(), BlobError> {
        self.blocking(LongBlobs::sync_all).await
    }
}

/// Writes what is received would be written as, where it would and wherever something failed.
/// Blocks.
fn try_to_spool(spool: &spool::Scratch, writes: &Writes) -> Result<(), BlobError> {
    let storage = spool.dir.parent().unwrap_or(&spool.dir);
    // A directory that is made again when it is needed may be gone; those that must be
    // there are tried in any case.
    let there = |it: PathBuf| it.ancestors().find(|it| it.is_dir()).map(PathBuf::from);
    let failed = writes.failed_places().into_iter().filter_map(there);
    let failed = failed.filter(|it| it.starts_with(storage));
    let device = |path: &Path| std::fs::metadata(path).ok().map(|it| it.dev());
    let own = device(&spool.dir);
    let (failed, elsewhere): (Vec<_>, Vec<_>) = failed.partition(|it| device(it) == own);
    for place in elsewhere {
        spool::try_to_write_in(spool, &place)?;
    }
    let needed = writes.places_of_uploads().into_iter();
    let places = needed.chain([storage.join(PACKS_DIR)]).chain(failed);
    spool::try_to_write(spool, &places.collect::<Vec<_>>())
}

fn create_dir(disk: &dyn Disk, path: &Path) -> Result<(), BlobError> {
    disk.create_dir(path)
        .map_err(|e| BlobError::io("create", path, e))
}
