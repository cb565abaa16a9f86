//! Blobs: immutable bytes named by their hash.
//!
//! A backend receives content, which it hashes as it comes, keeps what was received whole as
//! a blob in the place that an index has given out for it, and hands its bytes out again.

use std::fmt::Display;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::disk::DiskError;
use crate::hash::BlobHash;
use crate::health::Findings;
use crate::place::Place;
use crate::unavailable::Unavailable;

mod batch;
mod encoded;
mod groups;
pub mod local;
pub mod memory;
mod open_bytes;
mod pack_format;
mod partials;
mod receiving;
mod rereading;
#[cfg(feature = "shared")]
pub mod s3;

pub use partials::{
    Filling, FoundPartial, InvalidPartialId, Partial, PartialId, Partials, Proven, Purpose,
};
pub use receiving::{Arrival, Limit, Received, Receiving};
pub use rereading::{InOrder, Medium, Next, Position, Rereading, Salvage};

/// The bytes of a blob, piece by piece. An error ends the stream.
pub type ByteStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// One place that keeps blobs.
#[async_trait]
pub trait BlobBackend: Send + Sync + 'static {
    /// Begins to receive content that is no longer than `limit` says.
    async fn receive(&self, limit: Limit) -> Result<Box<dyn Receiving>, BlobError>;

    /// How many bytes more can be kept now.
    async fn room(&self) -> u64;

    /// Fails where `bytes` more would leave less room than is to be left.
    async fn check_room(&self, bytes: u64) -> Result<(), BlobError>;

    /// The partial content of this purpose.
    fn partials(&self, purpose: Purpose) -> Arc<dyn Partials>;

    /// Opens the blob in a place for reading, of which the content has this hash; one that is known
    /// to be damaged gives an error, also where nothing is there, unless it proves to be whole
    /// after all. Where it is deleted meanwhile, whoever reads it comes to its end, or to an error.
    async fn open(
        &self,
        hash: &BlobHash,
        place: Place,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError>;

    /// The size of the blob in a place, in bytes; None also if it is known to be damaged.
    async fn size(&self, place: Place) -> Result<Option<u64>, BlobError>;

    /// Whether a blob is there and all its bytes have this hash. Takes as long as reading
    /// it, but for what was proven lately; damage that it meets is remembered, and what proves to
    /// be whole is known to be damaged no longer.
    async fn is_whole(&self, hash: &BlobHash, place: Place) -> Result<bool, BlobError>;

    /// Remembers that a blob which files need is not in its place, and reports it.
    async fn note_missing(&self, place: Place) -> Result<(), BlobError>;

    /// Reports from now on in what health blobs are found, whoever has asked for them, and that
    /// what was damaged is whole once it is written again, or gone; first of all which are known
    /// to be damaged.
    fn report_to(&self, findings: Arc<dyn Findings>);

    /// How often damage was found since the start.
    fn damage_found(&self) -> u64;

    /// How often a disk failed to give what is stored since the start.
    fn read_errors(&self) -> u64 {
        0
    }

    /// Deletes the blob in a place; that there is none is fine.
    async fn delete(&self, place: Place) -> Result<(), BlobError>;

    /// Every place with a blob, and its size, in no order that could be relied upon.
    fn list(&self) -> BoxStream<'static, Result<(Place, u64), BlobError>>;

    /// Removes what is left beside blobs that are gone, as a crash may leave it, and tells
    /// of how many blobs.
    async fn sweep(&self) -> Result<u64, BlobError>;

    /// Moves together what lives in objects that are mostly dead, which become garbage by that, and
    /// tells how many contents those were; some of it at a time.
    async fn compact(&self) -> Result<u64, BlobError> {
        Ok(0)
    }

    /// What keeps the blobs, where those are disks of this machine, on which what nobody reads may
    /// rot.
    fn medium(&self) -> Option<&dyn Medium> {
        None
    }

    /// Why the backend refuses to write, if it does (after a failed sync).
    fn refusal(&self) -> Option<String>;

    /// Fails as it would fail now to receive content and keep it, found out by writing something
    /// and removing it again.
    async fn try_to_write(&self) -> Result<(), BlobError> {
        Ok(())
    }

    /// Makes everything kept and every deletion so far durable, whatever the
    /// durability setting.
    async fn sync(&self) -> Result<(), BlobError>;
}

/// A blob open for reading.
#[async_trait]
pub trait OpenBlob: Send + Sync {
    /// The size, in bytes.
    fn size(&self) -> u64;

    /// The bytes of `range`, which must lie within the size, in pieces of at
    /// most 1 MiB. Everything is checked against the hash before it is given out, unless
    /// the backend is told to leave that; what does not belong to it, or is not there,
    /// gives an error, never a short stream.
    fn read(&self, range: Range<u64>) -> ByteStream;

    /// The answer to `range`, which may reach beyond the end, in pieces of at most 1 MiB: the
    /// bytes with what proves them, as in [`crate::outboard`], exactly [`Tree::encoded_len`]
    /// bytes.
    ///
    /// Everything is checked against the hash before it is given out; what does not belong
    /// to it gives an error, never a short stream.
    ///
    /// [`Tree::encoded_len`]: crate::outboard::Tree::encoded_len
    fn encoded(&self, range: Range<u64>) -> ByteStream;

    /// Whether it is at hand that the size is that of the content of this hash. Where not,
    /// [`OpenBlob::prove_size`] may take as long as reading all that is there.
    async fn is_size_proven(&self) -> Result<bool, BlobError> {
        self.prove_size().await.map(|()| true)
    }

    /// Checks that the size is that of the content of this hash, by its end: the size
    /// decides how the tree looks above that.
    async fn prove_size(&self) -> Result<(), BlobError>;

    /// That it is damaged, since the content has `size` bytes: that is remembered as far as it may
    /// be mended, and none of it is read.
    async fn refuse_size(&self, size: u64) -> BlobError;

    /// Reads all of it that was not proven lately, and checks it against the hash.
    async fn prove(&self) -> Result<(), BlobError>;

    /// Reads it from its medium, from this byte on or from before it; None where all of it was
    /// read, and proven, when it was opened.
    fn reread(&self, _from: u64) -> Option<Box<dyn Rereading>> {
        None
    }
}

/// What can go wrong with blobs.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlobError {
    /// The system refused an operation, or no room is left.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A server that it needs is out of reach for now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The stored bytes are not those that were kept.
    #[error("blob {hash} is damaged: {detail}")]
    Damaged {
        /// Which blob.
        hash: BlobHash,
        /// How it shows.
        detail: String,
    },
    /// An earlier sync failed; nothing more is written until a restart, since
    /// the kernel may have dropped the unwritten pages.
    #[error("writes are refused since {0}")]
    Refused(String),
    /// The content is longer than the limit, in bytes.
    #[error("the content is longer than {0} bytes")]
    TooLarge(u64),
    /// There is no room for the content among so many bytes of all that is kept.
    #[error("at most {quota} bytes of content are kept")]
    OverQuota {
        /// How many bytes all may have.
        quota: u64,
        /// How many of them are free; None where the content is longer than all may be.
        free: Option<u64>,
    },
    /// What the client has begun and not ended takes as much of that as one client may.
    #[error("unfinished uploads of one client take no more than a share of the quota")]
    OverShare,
}

impl BlobError {
    /// The error for a failed `action` on `path`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        DiskError::new(action, path, source).into()
    }

    /// Whether it is what is stored here that is not to be had: others may have the same content.
    pub fn may_be_elsewhere(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Disk(_))
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

    /// The error for a blob of `size` bytes that should reach to `end`.
    fn cut_short(hash: BlobHash, size: u64, end: u64) -> Self {
        let detail = format!("it ends at byte {size}, before byte {end}");
        Self::Damaged { hash, detail }
    }

    /// The error for a blob that is not there, though a file needs it.
    pub(crate) fn missing(hash: BlobHash) -> Self {
        Self::damaged(hash, &MISSING)
    }

    /// Whether it is damage of the kind that nothing is there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Damaged { detail, .. } if detail == MISSING)
    }

    /// The error for a blob that was found damaged before.
    fn known(hash: BlobHash) -> Self {
        Self::damaged(hash, &"it was found so before")
    }

    /// Whether it is the medium that does not give the bytes.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, Self::Disk(error) if error.source.raw_os_error() == Some(libc::EIO))
    }

    /// The error for a blob of which the bytes are not those of its hash.
    pub(crate) fn other_hash(hash: BlobHash) -> Self {
        Self::damaged(hash, &"its bytes have another hash")
    }

    /// The error for a blob of `found` bytes where its content has `size`.
    fn other_size(hash: BlobHash, found: u64, size: u64) -> Self {
        Self::damaged(hash, &other_size(found, size))
    }

    /// The error for content that is to be kept with others, of which the backend keeps each by
    /// itself.
    fn kept_alone(hash: BlobHash) -> Self {
        let alone = io::Error::other("it is kept by itself");
        Self::io("gather", hash.to_string(), alone)
    }

    /// The error for a blob that is not what was kept.
    fn damaged(hash: BlobHash, detail: &dyn Display) -> Self {
        let detail = detail.to_string();
        Self::Damaged { hash, detail }
    }
}

/// How it shows that nothing is there.
const MISSING: &str = "it is not there";

/// How it shows that a blob has `found` bytes where its content has `size`.
fn other_size(found: u64, size: u64) -> String {
    format!("it has {found} bytes, and its record says {size}")
}
