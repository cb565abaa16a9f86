//! The store: blobs and index kept consistent. The only code that changes both.
//!
//! Invariants: a file record's blob exists; a blob that no record needs is collected.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::try_join_all;
use tokio::sync::{Mutex, RwLock, watch};

use crate::blob::{BlobBackend, BlobError, Medium, Partials, Purpose};
use crate::care_rows::CareRows;
use crate::disk::Durability;
use crate::hash::BlobHash;
use crate::index::{Alike, IndexBackend, Totals};
use crate::keep_rows::KeepRows;
#[cfg(feature = "node")]
use crate::peer_rows::PeerRows;
use crate::record::{FileId, FileRecord, Order};
use crate::revision::Revision;
use crate::upload_rows::Ledger;
use crate::watched_disk::Writes;

mod arriving;
mod ballast;
mod bare;
#[cfg(feature = "shared")]
mod belonging;
mod beside;
mod changing;
mod collect;
mod directory;
mod disk_use;
mod doubts;
mod elsewhere;
mod error;
mod expected;
mod feed;
#[cfg(feature = "node")]
mod holding;
mod hot;
mod ingest;
mod known_lengths;
mod layout;
mod lending;
pub mod local;
mod mending;
#[cfg(feature = "node")]
mod moment;
mod moving;
mod opening;
mod owners;
mod plenty;
#[cfg(feature = "shared")]
mod probe;
mod quota;
mod ready;
mod reports;
#[cfg(feature = "node")]
mod restoring;
mod scrub;
mod servers_note;
#[cfg(feature = "shared")]
pub mod shared;
#[cfg(feature = "shared")]
mod shared_error;
#[cfg(feature = "shared")]
mod shared_medium;
mod storage;
mod strays;
#[cfg(feature = "shared")]
mod sweep;
mod together;
mod trash;
mod trial;
mod unwritable;
pub mod upgrade;
mod upkeep;
mod verify;
#[cfg(feature = "shared")]
mod verify_shared;
mod version;
mod walk;
mod workshop;
mod writing;

pub use ballast::Loan;
#[cfg(feature = "node")]
pub(crate) use directory::create_durably;
pub use directory::{DirectoryError, is_storage_directory};
pub use disk_use::DiskUse;
pub use error::StoreError;
pub use feed::{Change, Changes, News};
pub use hot::{HotReads, Prepared, ReadyContent, ReadyFile};
pub use ingest::About;
pub use layout::COPIES_DIR;
#[cfg(feature = "node")]
pub(crate) use layout::{BACKUPS, has_backups};
pub use mending::FilesOf;
#[cfg(feature = "node")]
pub use moment::{Moment, Told};
pub use moving::{MOVING_IN, Moved, Moving, MovingError};
pub use quota::TakenRoom;
pub use reports::DamageCounts;
#[cfg(feature = "node")]
pub use restoring::Restored;
pub use scrub::{Scrubbing, Stage, Step, Unsound};
pub use storage::Storage;
pub use trash::{TrashTotals, Trashed};
pub use unwritable::{Unwritable, unwritable};
#[cfg(feature = "node")]
pub(crate) use verify::check_contents;
pub use verify::{Finding, Others, Weight, verify};
#[cfg(feature = "shared")]
pub use verify_shared::Shared;

use ballast::Ballast;
use elsewhere::Hearers;
use feed::Feed;
#[cfg(feature = "node")]
use holding::Holding;
use hot::HotFiles;
use known_lengths::KnownLengths;
#[cfg(feature = "shared")]
use probe::Probe;
use quota::Quota;
use reports::Reports;
use trash::Trash;
use writing::Writing;

/// Blobs and index together. Cheap to clone; clones are the same store.
#[derive(Clone)]
pub struct Store {
    blobs: Arc<dyn BlobBackend>,
    index: Arc<dyn IndexBackend>,
    hot: Arc<HotFiles>,
    /// Whether blobs that no record needs may be there: a crash left them, or one
    /// could not be deleted.
    uncollected: Arc<AtomicBool>,
    /// Whether the last change has left garbage that could not be deleted.
    collecting_fails: Arc<AtomicBool>,
    /// Whether those stay until the next start, since the index was damaged: a record may be
    /// missing that needs them.
    orphans_stay: bool,
    /// Directories of contents that were empty at the start and should not have been.
    bare_dirs: Arc<Vec<String>>,
    /// How many changes the index has lost, until whoever runs the node settles that.
    lost_changes: u64,
    /// Whether the store is closed. Each change reads it to its end, so that closing
    /// waits for those that run.
    closed: Arc<RwLock<bool>>,
    /// Told once it is about to close: what takes long ends then.
    closing: Arc<watch::Sender<bool>>,
    /// The longest content that is taken, in bytes.
    longest: Option<u64>,
    quota: Option<Arc<Quota>>,
    lengths: Arc<KnownLengths>,
    /// Held by whoever looks for the length of content in the records.
    sizing: Arc<Mutex<()>>,
    feed: Arc<Feed>,
    /// Files that were removed and are there still; None where none can be.
    trash: Option<Arc<Trash>>,
    /// What is held for whoever reads a moment.
    #[cfg(feature = "node")]
    holding: Arc<Holding>,
    writing: Arc<Writing>,
    /// None where nothing is kept on a disk.
    ballast: Option<Arc<Ballast>>,
    storage: Arc<Storage>,
    /// When an acknowledged change is durable.
    durability: Durability,
    /// Whether the index was damaged when it was opened.
    was_damaged: bool,
    /// Whether other nodes have the same one.
    is_shared: bool,
    /// Whether the servers that keep it take changes; none where there are none.
    #[cfg(feature = "shared")]
    probe: Option<Arc<Probe>>,
    /// How many may read at once.
    most_readers: Option<usize>,
    /// The uploads in parts that other nodes have, too.
    ledger: Option<Arc<Ledger>>,
    /// The copies that other nodes are to have, too.
    keeps: Option<Arc<dyn KeepRows>>,
    /// What keeps the contents, where the blobs' backend alone does not know which files need.
    medium: Option<Arc<dyn Medium>>,
    /// What only one of the nodes does at a time that have the same one; None where it is alone.
    care: Option<Arc<dyn CareRows>>,
    /// The peers that other nodes know, too.
    #[cfg(feature = "node")]
    peers: Option<Arc<dyn PeerRows>>,
}

impl Store {
    /// A store over two backends.
    pub fn new(blobs: Arc<dyn BlobBackend>, index: Arc<dyn IndexBackend>) -> Self {
        let (feed, hot) = (Arc::new(Feed::new()), Arc::new(HotFiles::new()));
        index.tell_to(Arc::new(Hearers {
            hot: Arc::downgrade(&hot),
            feed: Arc::downgrade(&feed),
        }));
        blobs.report_to(Arc::new(Reports {
            index: Arc::downgrade(&index),
            feed: Arc::downgrade(&feed),
        }));
        Self {
            blobs,
            index,
            hot,
            uncollected: Arc::default(),
            collecting_fails: Arc::default(),
            orphans_stay: false,
            bare_dirs: Arc::default(),
            lost_changes: 0,
            closed: Arc::default(),
            closing: Arc::default(),
            longest: None,
            quota: None,
            lengths: Arc::new(KnownLengths::new()),
            sizing: Arc::default(),
            feed,
            trash: None,
            #[cfg(feature = "node")]
            holding: Arc::default(),
            writing: Arc::default(),
            ballast: None,
            storage: Arc::default(),
            durability: Durability::Always,
            was_damaged: false,
            is_shared: false,
            #[cfg(feature = "shared")]
            probe: None,
            most_readers: None,
            ledger: None,
            keeps: None,
            medium: None,
            care: None,
            #[cfg(feature = "node")]
            peers: None,
        }
    }

    /// The same store, whose disk notes in `writes` how it goes.
    #[must_use]
    pub fn watched(mut self, writes: Arc<Writes>) -> Self {
        self.writing = Arc::new(Writing::of(writes));
        self
    }

    /// The same store, taking no content longer than so many bytes.
    #[must_use]
    pub fn with_longest(mut self, bytes: u64) -> Self {
        self.longest = Some(bytes);
        self
    }

    /// The same store, keeping no more than so many bytes of content. Content that is there
    /// already takes nothing.
    #[must_use]
    pub fn with_quota(mut self, bytes: u64) -> Self {
        self.quota = Some(Quota::of(bytes, Arc::clone(&self.index)));
        self
    }

    /// How many contents may be given out at once, each of which takes memory of its own until it
    /// is read; None where that takes none worth a bound.
    pub fn most_readers(&self) -> Option<usize> {
        self.most_readers
    }

    /// The content of this purpose that has come in part.
    pub fn partials(&self, purpose: Purpose) -> Arc<dyn Partials> {
        self.blobs.partials(purpose)
    }

    /// The file with this id.
    pub async fn get(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        if self.is_trashed(id) {
            return Ok(None);
        }
        Ok(self.index.get(id).await?)
    }

    /// The newest file with exactly this name.
    pub async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, StoreError> {
        self.newest_shown(name).await
    }

    /// Of each of these a file with exactly this name and content, found among the first 64 of the
    /// name.
    pub async fn earlier(&self, all: &[Alike<'_>]) -> Result<Vec<Option<FileId>>, StoreError> {
        self.earlier_shown(all).await
    }

    /// At most `limit` files in the order of their ids, from the first after `after`: fewer, but
    /// one at least, where their texts are longer than [`crate::record::PAGE_BYTES`].
    pub async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, StoreError> {
        self.page_shown(after, limit, Order::OldestFirst).await
    }

    /// The same from the other end: at most `limit` files before `before`, the newest first.
    pub async fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, StoreError> {
        self.page_shown(before, limit, Order::NewestFirst).await
    }

    /// Whether a file has content with this hash, and it is to be had as far as is known.
    pub async fn holds(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        let content = self.locate_shown(hash).await?;
        Ok(content.is_some_and(|it| it.is_usable()))
    }

    /// Whether a file has content with this hash.
    async fn is_needed(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        Ok(self.index.locate(hash).await?.is_some())
    }

    /// Whether a file has content with this hash, and all of it is there and whole. Takes as
    /// long as reading it.
    pub async fn holds_whole(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        match self.locate_shown(hash).await? {
            Some(it) if it.is_usable() => Ok(self.blobs.is_whole(hash, it.place).await?),
            _ => Ok(false),
        }
    }

    /// Removes those of `files` whose blobs are not whole, as a power cut under
    /// relaxed durability may leave the newest ones.
    async fn settle(&self, files: Vec<FileRecord>) -> Result<(), StoreError> {
        let mut broken = Vec::new();
        for record in files {
            // A file that was removed again is not lost, though its blob is gone.
            let (there, hash) = (self.index.get(record.id).await?, &record.file.hash);
            if there.is_some()
                && let Some(content) = self.index.locate(hash).await?
                && self.is_broken(hash, content.place).await?
            {
                broken.push(record);
            }
        }
        for FileRecord { id, file, .. } in &broken {
            tracing::error!(%id, name = file.name, hash = %file.hash,
                "a file of the last moments before the crash is lost (relaxed durability)");
        }
        // Together, so that they go in one write.
        let removals = broken
            .into_iter()
            .map(|record| self.remove_for_good(record.id));
        try_join_all(removals).await.map(drop)
    }

    /// With relaxed durability: makes durable what was acknowledged before the call.
    pub async fn sync(&self) -> Result<(), StoreError> {
        // The mark comes first: a record below it has its blob written by now.
        let mark = self.index.mark().await?;
        self.blobs.sync().await?;
        if let Some(trash) = &self.trash {
            trash.sync().await?;
        }
        Ok(self.index.sync(mark).await?)
    }

    /// Tells a change of files, which was written whole, to whoever listens. Before all others the
    /// files in memory hear it, since no answer to a removal may come before them.
    fn tell(&self, change: Change) {
        self.writing.writes.succeed();
        if let Change::Removed(record) = &change {
            self.hot.forget(record.id);
        }
        self.feed.tell(change);
    }

    /// Tells of every change from now on; whoever listens first also hears of those since the
    /// store was opened.
    pub fn listen(&self) -> Changes {
        self.feed.listen()
    }

    /// That something has changed, for who looks what it was by himself.
    pub fn revision(&self) -> &Revision {
        &self.feed.told
    }

    /// Sees what other nodes have changed that share the index; whoever tells of how much there is
    /// has said so of what any of them has acknowledged.
    pub async fn catch_up(&self) {
        self.index.catch_up().await;
    }

    /// How much the store holds: files that are not in the trash, and the contents of all.
    pub fn totals(&self) -> Totals {
        let (totals, trash) = (self.index.totals(), self.trash_totals());
        Totals {
            files: totals.files.saturating_sub(trash.files),
            bytes: totals.bytes.saturating_sub(trash.bytes),
            ..totals
        }
    }

    /// How much of what it holds is known to be damaged or cannot be read, and how often that was
    /// found.
    pub fn damage(&self) -> DamageCounts {
        let totals = self.totals();
        DamageCounts {
            known: totals.damaged,
            found: self.blobs.damage_found(),
            unreadable: totals.unreadable,
            read_errors: self.blobs.read_errors(),
        }
    }

    /// How many changes of files are lost for good, so that content that no file needs is kept
    /// until that is settled (`larder rebuild-index --forget-loss`); 0 where none is.
    pub fn lost_changes(&self) -> u64 {
        self.lost_changes
    }

    /// Whether what is stored of a content that files need is known to be damaged.
    pub async fn is_damaged(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        // Mostly there is none at all, and nobody has to be asked for each of many.
        if self.totals().damaged == 0 {
            return Ok(false);
        }
        let content = self.index.locate(hash).await?;
        Ok(content.is_some_and(|it| it.is_damaged))
    }

    /// How often files were read from memory.
    pub fn hot_reads(&self) -> &HotReads {
        self.hot.reads()
    }

    /// Why the store refuses to write, if it does.
    pub fn refusal(&self) -> Option<String> {
        let of_trash = || self.trash.as_ref().and_then(|it| it.refusal());
        self.blobs
            .refusal()
            .or_else(|| self.index.refusal())
            .or_else(of_trash)
    }

    fn writable(&self) -> Result<(), StoreError> {
        match self.refusal() {
            Some(reason) => Err(BlobError::Refused(reason).into()),
            None => Ok(()),
        }
    }

    /// Finishes what is under way, makes everything durable and closes. After an
    /// error the next start finds the directory as after a crash.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.closing.send_replace(true);
        *self.closed.write().await = true;
        let loan = self.lend_if_short().await;
        let closed = self.close_all().await;
        self.take_back(loan).await;
        closed
    }

    async fn close_all(&self) -> Result<(), StoreError> {
        self.note_trash_clock().await;
        self.sync().await?;
        let may_be_more = self.uncollected.load(Ordering::Relaxed) && !self.orphans_stay;
        // What others share they collect, and it is written down what that is.
        let may_be_more = may_be_more && !self.is_shared;
        let collected = if may_be_more {
            self.collect_all().await
        } else {
            self.try_collect().await
        };
        let collected = match collected {
            // Whoever shares what is out of reach collects it.
            Err(error) if error.unavailable().is_some() => 0,
            Ok(collected) => collected,
            Err(error) => {
                // Not closed, so that the next start looks for it, as after a crash.
                tracing::warn!(%error, "content that no file needs is left for the next start");
                return Ok(());
            }
        };
        if collected > 0 {
            // Nobody looks for it after a clean stop, so the deletions must last, too.
            self.sync().await?;
        }
        Ok(self.index.close().await?)
    }
}
