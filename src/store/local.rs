//! A store over one storage directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Store;
use super::ballast::{self, Ballast, Loan};
use super::directory::{Directory, DirectoryError};
use super::error::StoreError;
use super::layout;
use super::storage::Storage;
use super::trash::Trash;
use super::upgrade::{Told, Upgrade, UpgradeError, Upgrading};
use super::version::note_trash;
use crate::anchored_disk::AnchoredDisk;
use crate::blob::local::{Doubts, LocalBlobs, bare_dirs, content_dirs};
use crate::blob::{self, BlobError};
use crate::blocking;
use crate::disk::{Disk, DiskError, Durability, RealDisk, is_file_size_limit};
use crate::index::local::{ContentDir, LocalIndex};
use crate::index::{self, IndexError};
use crate::record::FileRecord;
use crate::small_state::local::LocalState;
use crate::timed_disk::{Syncs, TimedDisk};
use crate::watched_disk::{WatchedDisk, Writes};

/// Where and how a local store is kept.
#[derive(Clone)]
pub struct Options {
    /// The storage directory.
    pub dir: PathBuf,
    /// How files are changed.
    pub disk: Arc<dyn Disk>,
    /// When an acknowledged change is durable.
    pub durability: Durability,
    /// The longest content taken, in bytes.
    pub max_upload: Option<u64>,
    /// The free space, in bytes, below which no upload is taken.
    pub reserve: u64,
    /// The most bytes of content kept.
    pub quota: Option<u64>,
    /// Whether long content is proven against its hash before it is given out.
    pub verify_reads: bool,
    /// How long what is removed can be brought back; None where it is gone at once.
    pub trash: Option<Duration>,
    /// Hears how far the upgrade of a directory of an older larder is.
    pub upgrade_told: Option<Told>,
}

impl Options {
    /// The usual settings for a storage directory on the machine's own disk.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            disk: Arc::new(RealDisk),
            durability: Durability::Always,
            max_upload: None,
            reserve: 16 << 20,
            quota: None,
            verify_reads: true,
            trash: None,
            upgrade_told: None,
        }
    }

    /// How blobs are kept.
    pub fn blobs(&self) -> blob::local::Options {
        blob::local::Options {
            disk: Arc::clone(&self.disk),
            durability: self.durability,
            reserve: self.reserve,
            verify_reads: self.verify_reads,
            ..blob::local::Options::new(&self.dir)
        }
    }

    /// How the index is kept.
    pub fn index(&self) -> index::local::Options {
        let (dir, disk) = (self.dir.clone(), Arc::clone(&self.disk));
        let contents = content_dirs(&dir).map(|it| ContentDir {
            dir: it.dir,
            note: it.note,
            sizes: it.sizes,
            holds_any: it.holds_any,
        });
        index::local::Options {
            contents: contents.into(),
            ..index::local::Options::new(dir, disk, self.durability)
        }
    }
}

impl Options {
    /// What brings the directory up before anything else of it is opened.
    fn upgrading(&self) -> Upgrading {
        Upgrading {
            dir: self.dir.clone(),
            disk: Arc::clone(&self.disk),
            index: self.index(),
            told: self.upgrade_told.clone(),
        }
    }

    fn not_upgraded(&self, error: UpgradeError) -> OpenError {
        match error {
            UpgradeError::Directory(error) => error.into(),
            UpgradeError::Index(error) => error.into(),
            UpgradeError::NoRoom(upgrade) => OpenError::NoRoomToUpgrade {
                dir: self.dir.clone(),
                upgrade,
            },
        }
    }
}

/// Why a local store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The blobs cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The index cannot be used.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What a crash left could not be put in order.
    #[error("after a crash: {0}")]
    Recovery(StoreError),
    /// The disk is full, so that not even what is stored can be opened.
    #[error(
        "the disk of {} is full, and a start needs some room there ({} MiB are enough as a rule): \
         make room and start again",
        dir.display(),
        ballast::BYTES >> 20
    )]
    NoRoom {
        /// The storage directory.
        dir: PathBuf,
        /// What there was no room for.
        source: Box<OpenError>,
    },
    /// No more files can be made there, so that not even what is stored can be opened.
    #[error(
        "the file system of {} has no inode left, and a start needs to make a few files there: \
         remove files and start again",
        dir.display()
    )]
    NoFiles {
        /// The storage directory.
        dir: PathBuf,
        /// What could not be made.
        source: Box<OpenError>,
    },
    /// Nothing can be written there, so that no node can start.
    #[error(
        "the file system of {} is read-only, and a node has to write there: mount it for writing \
         and start again (`larder verify` checks it as it is) [read_only_file_system]",
        dir.display()
    )]
    ReadOnly {
        /// The storage directory.
        dir: PathBuf,
        /// What could not be written.
        source: Box<OpenError>,
    },
    /// There is no room for what an older directory needs to be used.
    #[error(
        "{} was written by an older larder, and there is no room to bring it up ({upgrade}): make \
         room and start again; nothing was changed, and the older larder can use it as before \
         [no_room_to_upgrade]",
        dir.display()
    )]
    NoRoomToUpgrade {
        /// The storage directory.
        dir: PathBuf,
        /// What was to be done.
        upgrade: Upgrade,
    },
    /// The check of everything stored was cut off.
    #[error("the check could not go on: {0}")]
    Verification(StoreError),
}

impl OpenError {
    /// What the system did not do with a file, where it is that.
    pub fn of_disk(&self) -> Option<&DiskError> {
        match self {
            Self::Directory(DirectoryError::Disk(error))
            | Self::Blobs(BlobError::Disk(error))
            | Self::Index(IndexError::Disk(error)) => Some(error),
            _ => None,
        }
    }

    /// The same, or that the file system of the storage directory is read-only, where that is why.
    fn or_read_only(self, dir: &Path) -> Self {
        let of_disk = self.of_disk();
        if of_disk.is_none_or(|it| it.source.kind() != io::ErrorKind::ReadOnlyFilesystem) {
            return self;
        }
        let (dir, source) = (dir.to_owned(), Box::new(self));
        Self::ReadOnly { dir, source }
    }

    /// What the system said, where it had no room.
    fn want_of_room(&self) -> Option<&io::Error> {
        let error = self.of_disk().filter(|it| it.is_full())?;
        // No room helps against that.
        (!is_file_size_limit(&error.source)).then_some(&error.source)
    }

    /// Whether a quota was used up, which need not show before.
    fn is_quota(&self) -> bool {
        let source = self.want_of_room();
        source.is_some_and(|it| it.kind() == io::ErrorKind::QuotaExceeded)
    }
}

/// A store over a storage directory that this process alone has open.
pub struct LocalStore {
    /// The store.
    pub store: Store,
    /// The small state beside it.
    pub state: Arc<LocalState>,
    /// Whether blobs that no record needs may have been left by a crash, and may be deleted: not
    /// where the index was damaged, since a record may be missing that needs them.
    pub crashed: bool,
    /// Whether the index was damaged, so that what was removed may be listed again.
    pub damaged: bool,
    _directory: Directory,
}

impl LocalStore {
    /// Opens a storage directory, creating it where there is none, and puts in
    /// order what a crash left there; collecting blobs that no record needs is left
    /// to [`Store::collect_all`] when [`LocalStore::crashed`].
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        let opening = blocking::run(move || Self::open_unsettled(&options));
        let (mut opened, unsettled, loan) = opening.await?;
        let settled = opened.settle(unsettled).await;
        opened.store.take_back(loan).await;
        settled.map_err(OpenError::Recovery)?;
        opened.store.grow_ballast().await;
        Ok(opened)
    }

    /// Puts in order what a crash or damage may have taken, unless contents are elsewhere.
    async fn settle(&mut self, unsettled: Unsettled) -> Result<(), StoreError> {
        let Unsettled {
            files,
            doubts,
            bare,
            anchored,
        } = unsettled;
        self.store.settle_trash().await?;
        if let Some(anchored) = anchored {
            self.store.leave_bare(bare, &anchored).await?;
        }
        if !self.store.bare_dirs().is_empty() {
            self.crashed = false;
            self.store.uncollected.store(false, Ordering::Relaxed);
            return Ok(());
        }
        self.store.settle(files).await?;
        self.store.settle_doubts(doubts).await
    }

    /// Opens a storage directory, on a full disk in the room of its ballast.
    fn open_unsettled(options: &Options) -> Result<(Self, Unsettled, Option<Loan>), OpenError> {
        let full = |error: OpenError| {
            if error.want_of_room().is_none() {
                return error.or_read_only(&options.dir);
            }
            let (dir, source) = (options.dir.clone(), Box::new(error));
            // What fails in the making may have taken and given back the last one.
            if ballast::free_files(&dir) <= 1 {
                return OpenError::NoFiles { dir, source };
            }
            OpenError::NoRoom { dir, source }
        };
        let directory = Directory::open(&options.dir, &options.disk);
        let directory = directory.map_err(|error| full(error.into()))?;
        let upgraded = options.upgrading().run();
        upgraded.map_err(|error| full(options.not_upgraded(error)))?;
        let ballast = Ballast::of(&options.dir);
        let mut loan = ballast.lend_if_short();
        let opened = match Self::open_in(options, directory.clone(), &ballast) {
            Err(error) if error.is_quota() && loan.is_none() => {
                let (lent, has_made_room) = ballast.lend();
                loan = Some(lent);
                if has_made_room {
                    Self::open_in(options, directory, &ballast)
                } else {
                    Err(error)
                }
            }
            opened => opened,
        };
        let (opened, unsettled) = opened.map_err(full)?;
        Ok((opened, unsettled, loan))
    }

    fn open_in(
        options: &Options,
        directory: Directory,
        ballast: &Arc<Ballast>,
    ) -> Result<(Self, Unsettled), OpenError> {
        let (writes, syncs) = (Arc::<Writes>::default(), Arc::<Syncs>::default());
        let anchored = anchored(options)?;
        let below = anchored.clone().map(|it| it as Arc<dyn Disk>);
        let below = below.unwrap_or_else(|| Arc::clone(&options.disk));
        let disk = TimedDisk::new(below, Arc::clone(&syncs));
        let disk = WatchedDisk::new(Arc::new(disk), Arc::clone(&writes));
        let options = &Options {
            disk: Arc::new(disk),
            ..options.clone()
        };
        let bare = bare_dirs(&options.dir);
        let blobs = LocalBlobs::open(blob::local::Options {
            writes: Arc::clone(&writes),
            ..options.blobs()
        })?;
        let opened = LocalIndex::open(&index::local::Options {
            room: ballast::BESIDE_DATABASE,
            ..options.index()
        })?;
        let doubts = blobs.take_doubts();
        let store = Store::new(Arc::new(blobs), Arc::new(opened.index)).watched(writes);
        let mut store = limited(store, options);
        let orphans_stay = opened.damaged || opened.lost.is_some();
        let crashed = (!opened.clean || doubts.has_risen) && !orphans_stay;
        store.uncollected.store(crashed, Ordering::Relaxed);
        store.orphans_stay = orphans_stay;
        store.lost_changes = opened.lost.unwrap_or(0);
        store.trash = Some(Arc::new(trash(options)?));
        store.ballast = Some(Arc::clone(ballast));
        store.durability = options.durability;
        store.was_damaged = opened.damaged;
        store.storage = Arc::new(storage(options, syncs));
        let opened_store = Self {
            store,
            state: Arc::new(state(options, anchored.clone())),
            crashed,
            damaged: opened.damaged,
            _directory: directory,
        };
        let unsettled = Unsettled {
            files: opened.unsettled,
            doubts,
            bare,
            anchored,
        };
        Ok((opened_store, unsettled))
    }
}

fn storage(options: &Options, syncs: Arc<Syncs>) -> Storage {
    Storage {
        dir: Some(options.dir.clone()),
        verifies_reads: options.verify_reads,
        syncs,
        ..Storage::default()
    }
}

fn state(options: &Options, anchored: Option<Arc<AnchoredDisk>>) -> LocalState {
    let state = LocalState::new(&options.dir, Arc::clone(&options.disk));
    match anchored {
        Some(disk) => state.saving_by(disk),
        None => state,
    }
}

/// The trash of a storage directory. Blocks.
fn trash(options: &Options) -> Result<Trash, OpenError> {
    let (dir, disk) = (options.dir.clone(), Arc::clone(&options.disk));
    let announce = move || note_trash(&dir, &*disk);
    let disk = Arc::clone(&options.disk);
    let trash = Trash::open(
        &options.dir,
        disk,
        options.durability,
        options.trash,
        announce,
    );
    Ok(trash.map_err(IndexError::from)?)
}

/// The store with the limits that are set.
pub(super) fn limited(mut store: Store, options: &Options) -> Store {
    if let Some(bytes) = options.max_upload {
        store = store.with_longest(bytes);
    }
    if let Some(bytes) = options.quota {
        store = store.with_quota(bytes);
    }
    store
}

/// What a start still has to look at.
struct Unsettled {
    /// The files of the last moments, which a crash may have taken.
    files: Vec<FileRecord>,
    /// The contents that a crash or damage may have taken.
    doubts: Doubts,
    /// The directories of contents in which nothing was.
    bare: Vec<blob::local::ContentDir>,
    anchored: Option<Arc<AnchoredDisk>>,
}

/// A disk that puts nothing into what has come in the place of a directory of the storage; None
/// where whoever opens it has a disk of their own.
fn anchored(options: &Options) -> Result<Option<Arc<AnchoredDisk>>, OpenError> {
    if !options.disk.is_plain() {
        return Ok(None);
    }
    let anchored = AnchoredDisk::new(&options.dir, layout::is_lasting);
    let anchored = anchored.map_err(|e| DiskError::new("open", &options.dir, e));
    Ok(Some(Arc::new(anchored.map_err(DirectoryError::Disk)?)))
}

/// What this larder would do to the storage directory before it uses it; None where that is
/// nothing. Nothing is changed, and it may be in use. That there is no room for it is an error.
/// Blocks as long as reading the journal does.
pub fn look_at_upgrade(options: &Options) -> Result<Option<Upgrade>, OpenError> {
    Directory::look(&options.dir)?;
    let found = options.upgrading().find();
    let found = found.map_err(|error| options.not_upgraded(error))?;
    match found.filter(|it| !it.has_room()) {
        Some(upgrade) => Err(options.not_upgraded(UpgradeError::NoRoom(upgrade))),
        None => Ok(found),
    }
}

/// Brings a storage directory that no node uses up, if anything is to be done there, and tells
/// what. Blocks for long.
pub fn upgrade(options: &Options) -> Result<Option<Upgrade>, OpenError> {
    let work = || -> Result<_, OpenError> {
        let directory = Directory::open_existing(&options.dir, &options.disk)?;
        let upgraded = options.upgrading().run();
        let upgraded = upgraded.map_err(|error| options.not_upgraded(error))?;
        drop(directory);
        Ok(upgraded)
    };
    work().map_err(|error| error.or_read_only(&options.dir))
}

/// Makes the lookup database of a storage directory that no node uses anew from
/// the journal; see [`index::local::rebuild`]. Where `forget_loss`, and nothing more is lost by
/// it, the next start deletes content that no file needs. Blocks for long.
pub fn rebuild_index(
    options: &Options,
    skip_damage: bool,
    forget_loss: bool,
) -> Result<index::local::Rebuilt, OpenError> {
    let work = || -> Result<_, OpenError> {
        let directory = Directory::open_existing(&options.dir, &options.disk)?;
        let rebuilt = index::local::rebuild(&options.index(), skip_damage)?;
        Ok((directory, rebuilt))
    };
    let (_directory, rebuilt) = work().map_err(|error| error.or_read_only(&options.dir))?;
    if forget_loss && rebuilt.lost.is_none() {
        index::local::forget_loss(&options.index())?;
    }
    Ok(rebuilt)
}
