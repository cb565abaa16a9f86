//! The index: which file id means which hash, everything else known of a file, and which
//! contents files need.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;

use crate::disk::DiskError;
use crate::hash::BlobHash;
use crate::health::Health;
use crate::place::Place;
use crate::record::{FileId, FileRecord, NewFile};
use crate::unavailable::Unavailable;

mod asked;
mod codec;
mod guard;
mod health;
mod in_journal;
mod in_sled;
mod in_use;
mod intent;
mod journal;
pub mod local;
mod lookup;
pub mod memory;
mod page;
#[cfg(feature = "shared")]
pub mod postgres;
mod progress;
mod records;
mod secondary;
mod sled_files;
mod sums;

pub use guard::stuck;
pub use intent::{Content, Garbage, Given, Held, Hold, Intent, Put};
pub use journal::Damage;

/// How many files are read together where all are looked through.
const LOOKED_THROUGH: usize = 256;

/// What [`IndexBackend::earlier`] looks for.
#[derive(Debug, Clone, Copy)]
pub struct Alike<'a> {
    /// The name of the file.
    pub name: &'a str,
    /// The hash of its content.
    pub hash: BlobHash,
    /// Which file it stands before.
    pub than: FileId,
    /// How many files are known to have the content.
    pub known: u32,
}

/// What keeps file records, and so decides in which places contents are, which of those are needed
/// and which are garbage.
///
/// Whoever makes a file asks first ([`IndexBackend::intend`]), has the content written where that
/// says and then puts the file; whoever deletes content asks where ([`IndexBackend::garbage`]) and
/// tells which places are empty ([`IndexBackend::collected`]). In between the place is that one's:
/// so no content that somebody counts on is ever deleted, and what no file needs is told as garbage
/// in the end, unless the index is gone before; then [`IndexBackend::sift`] finds it.
#[async_trait]
pub trait IndexBackend: Send + Sync + 'static {
    /// Announces a file with this content, of `size` bytes, and tells where that is or is to be
    /// written: never where somebody collects what is there, for whom this waits where there is no
    /// other place.
    async fn intend(&self, hash: &BlobHash, size: u64) -> Result<Intent, IndexError>;

    /// The same for content of which the bytes are at `at` already, a place that the blobs' backend
    /// has made up and nobody else has: where it is not known to be anywhere, or is damaged there,
    /// that is the place of the intent. An index whose places are named for their contents is never
    /// asked, since no backend beside it makes places up.
    async fn intend_at(
        &self,
        hash: &BlobHash,
        size: u64,
        _at: Place,
    ) -> Result<Intent, IndexError> {
        self.intend(hash, size).await
    }

    /// The same for content that is kept together with others, where the blobs' backend puts those:
    /// unless it is there the intent has no place before it says [`Intent::gathered`].
    async fn intend_gathered(&self, hash: &BlobHash, size: u64) -> Result<Intent, IndexError> {
        self.intend(hash, size).await
    }

    /// Adds a file, for whose content `intent` was given and which is there by now, under a new
    /// id, greater than every id before. Ok means durable (within the backend's durability
    /// setting) and visible. Once begun it holds the content to its end, also where nobody waits
    /// for that. The content is in one place from then on, whoever else has brought it: any other
    /// becomes garbage.
    async fn put(&self, file: NewFile, intent: Intent) -> Result<Put, IndexError>;

    /// Adds files as they are in another index, with their ids and times, in the order of their
    /// ids, which are greater than every id before ([`IndexError::OutOfOrder`]). For the content
    /// of each an intent was given, and it is there by now. Ok means durable and visible; otherwise
    /// the first of them may be, and none without all before it.
    async fn restore(&self, files: Vec<(FileRecord, Intent)>) -> Result<(), IndexError>;

    /// Has a content that files need, and that was damaged, be where `intent` has had it written,
    /// and tells whether it is: elsewhere from now on. False also where the place is the same, so
    /// that writing it has mended it, and where it is whole or no file needs it.
    async fn mend(&self, _hash: &BlobHash, _intent: Intent) -> Result<bool, IndexError> {
        Ok(false)
    }

    /// Removes a file and returns what it was; None if there was none. Ok means durable.
    /// Content that no file needs any more becomes garbage.
    async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, IndexError>;

    /// The file with this id.
    async fn get(&self, id: FileId) -> Result<Option<FileRecord>, IndexError>;

    /// The newest file with exactly this name.
    async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, IndexError>;

    /// The newest file before `before` with exactly this name. Without another way all files before
    /// it are looked through.
    async fn named_before(
        &self,
        name: &str,
        before: FileId,
    ) -> Result<Option<FileRecord>, IndexError> {
        let mut before = before;
        loop {
            let page = self.page_back(Some(before), LOOKED_THROUGH).await?;
            let Some(last) = page.last() else {
                return Ok(None);
            };
            before = last.id;
            if let Some(found) = page.into_iter().find(|it| it.file.is_named(name)) {
                return Ok(Some(found));
            }
        }
    }

    /// Of each of these a file before `than` with exactly this name and content: the first of those
    /// that are among the first 64 of this name. Others may be missed, and none is looked for where
    /// no more than `known` files have the content.
    async fn earlier(&self, all: &[Alike<'_>]) -> Result<Vec<Option<FileId>>, IndexError>;

    /// At most `limit` files in the order of their ids, from the first after `after`: fewer, but
    /// one at least, where their texts are longer than [`crate::record::PAGE_BYTES`]; none only
    /// where there is none.
    async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError>;

    /// The same from the other end: at most `limit` files before `before`, the last first.
    async fn page_back(
        &self,
        before: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, IndexError>;

    /// What is known of a content; None where no file needs it.
    async fn locate(&self, hash: &BlobHash) -> Result<Option<Content>, IndexError>;

    /// The same, and nobody collects the content while that lives.
    async fn hold(&self, hash: &BlobHash) -> Result<Option<Held>, IndexError>;

    /// Claims at most `limit` places that no file needs and nobody intends to make one of, for
    /// whoever asks to delete what is there. None at all are an end: the rest, if any, is told to
    /// others, or when those are through who hold it.
    async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError>;

    /// Nothing is left in these places.
    async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError>;

    /// Looks through places where something is stored: those become garbage that no file needs, and
    /// of which nobody has told that, as after a crash.
    async fn sift(&self, stored: &[Place]) -> Result<(), IndexError>;

    /// Remembers in what health the content in a place was found, and returns which it is where
    /// that is news: it was damaged before and is not any more, or the other way round. On what is
    /// damaged nobody counts: whoever intends a file of it is to write it, and putting the file
    /// makes it whole again. Whoever finds it does not wait: an index that others keep remembers it
    /// here and tells them by and by.
    fn health(&self, place: Place, found: Health) -> Option<BlobHash>;

    /// How much the index holds, as it was last seen, without counting it anew.
    fn totals(&self) -> Totals;

    /// A mark behind the newest change, for [`IndexBackend::sync`].
    async fn mark(&self) -> Result<u64, IndexError>;

    /// With relaxed durability: makes every change before `mark` durable. The
    /// blobs of those changes must be durable by then.
    async fn sync(&self, mark: u64) -> Result<(), IndexError>;

    /// Why the backend refuses to write, if it does (after a failed sync).
    fn refusal(&self) -> Option<String>;

    /// Fails as a change would fail now, found out by writing something and removing it again.
    async fn try_to_write(&self) -> Result<(), IndexError> {
        Ok(())
    }

    /// Tells from now on what others change in an index that they share.
    fn tell_to(&self, _elsewhere: Arc<dyn Elsewhere>) {}

    /// Has what others have changed until now count in [`IndexBackend::totals`], and told; where
    /// that cannot be seen within a second, what was seen last counts on.
    async fn catch_up(&self) {}

    /// Whether a content of this length may be kept or be on its way; of an index that other
    /// processes change, too.
    async fn may_have_length(&self, _bytes: u64) -> Result<bool, IndexError> {
        Ok(true)
    }

    /// What has changed since a [`IndexBackend::mark`] up to one moment, by others as well, and
    /// which files are behind `last`. None where nobody knows that any more, or whoever listens
    /// hears of all changes, since no other process makes any.
    async fn changed_since(
        &self,
        _mark: u64,
        _last: Option<FileId>,
    ) -> Result<Option<ChangedFiles>, IndexError> {
        Ok(None)
    }

    /// Whether all that others have changed until a second ago was told.
    fn is_current(&self) -> bool {
        true
    }

    /// Gives back room that it does not need, unless something has changed since it was asked the
    /// last time: to be asked now and then.
    async fn tidy(&self) -> Result<(), IndexError> {
        Ok(())
    }

    /// What is wrong with its own files, such as show while it is used; what can be made anew is.
    /// None of an index that has none on a disk of this machine.
    async fn problems(&self) -> Result<Vec<(PathBuf, String)>, IndexError> {
        Ok(Vec::new())
    }

    /// Finishes what is under way, makes it durable and closes; every later call fails.
    async fn close(&self) -> Result<(), IndexError>;
}

/// What has changed up to a moment.
#[derive(Debug)]
pub struct ChangedFiles {
    /// The files that are there then, behind one that was named, in order.
    pub added: Vec<FileRecord>,
    /// Those that were removed.
    pub removed: Vec<FileId>,
    /// Whether these are all files behind that one.
    pub is_all: bool,
}

/// Hears what others change in an index that several nodes share: on any thread, and without
/// keeping it. Own changes may be among them.
pub trait Elsewhere: Send + Sync + 'static {
    /// A file was removed.
    fn removed(&self, id: FileId);

    /// Nobody knows which files were removed since the last time.
    fn missed(&self);

    /// Something has changed.
    fn changed(&self);
}

/// Counts over all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// The sum of the files' sizes, in bytes.
    pub bytes: u64,
    /// Different contents.
    pub blobs: u64,
    /// The sum of the different contents' sizes, in bytes.
    pub blob_bytes: u64,
    /// Contents that are known to be damaged.
    pub damaged: u64,
    /// Contents that the disk failed to give when they were read last.
    pub unreadable: u64,
}

/// What can go wrong with the index.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// The system refused an operation, or no room is left.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A server that it needs is out of reach for now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The journal holds bytes that cannot be read as it wrote them.
    #[error("the journal is damaged: {} at byte {offset}: {detail}", path.display())]
    Damaged {
        /// Which segment.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// How it shows.
        detail: String,
    },
    /// The server refused it, or has answered what nobody understands.
    #[error("the database failed: {0}")]
    Server(String),
    /// The server knows no such database or user, or not the password, or speaks no TLS.
    #[error("the server of the database refuses what is asked of it: {0}")]
    NoDatabase(String),
    /// The content that a file was to be made of was collected meanwhile, since whoever brought it
    /// was silent for longer than its lease.
    #[error("the content is not there any more")]
    Lost,
    /// Files are to be added whose ids are not greater than all that were given out: somebody else
    /// has added some meanwhile.
    #[error("files were added by somebody else meanwhile")]
    OutOfOrder,
    /// Another node has taken the turn at what the file was to end, or has ended it.
    #[error("another request has taken this upload over")]
    TakenOver,
    /// The content would be more than all nodes may keep that share the index.
    #[error("the quota of {quota} bytes has no room for it")]
    OverQuota {
        /// How many bytes they may keep.
        quota: u64,
        /// How many of them are free; none where the content is longer than all of it.
        free: Option<u64>,
    },
    /// The lookup database failed; the journal is not touched by that.
    #[error("the lookup database failed: {0}")]
    Lookup(String),
    /// The clock says a time with which the lookup database cannot be opened.
    #[error("the clock of this machine is set to a time before 1970; set it and start again")]
    Clock,
    /// An earlier sync failed; nothing more is written until a restart.
    #[error("writes are refused since {0}")]
    Refused(String),
    /// Name, type and description are longer together than a record can be.
    #[error("name, type and description are too long together")]
    TooLong,
    /// The index is closed.
    #[error("the index is closed")]
    Closed,
}

impl IndexError {
    /// The error for a failed `action` on `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        DiskError::new(action, path, source).into()
    }

    /// Whether no room was left on the disk.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk(error) if error.is_full())
    }

    /// Whether only something was missing that may be there later: room, open files, memory, a
    /// server that is out of reach.
    pub fn is_shortage(&self) -> bool {
        match self {
            Self::Disk(error) => error.is_shortage(),
            Self::Unavailable(_) => true,
            _ => false,
        }
    }
}
