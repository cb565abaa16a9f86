//! The store: blobs and index kept consistent. The only code that changes both.
//!
//! Invariants: a file record's blob exists; a blob that no record needs is collected.

use std::sync::Arc;

use crate::blob::spool::Options as SpoolOptions;
use crate::blob::{BlobBackend, BlobError, OpenBlob, Spool, SpooledBlob};
use crate::hash::BlobHash;
use crate::index::{IndexBackend, IndexError, Totals};
use crate::record::{FileId, FileRecord};

/// What an upload tells beside its content.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// The file's name; at most [`crate::record::MAX_NAME_BYTES`].
    pub name: String,
    /// The content type, if the client gave one.
    pub content_type: Option<String>,
    /// The description, possibly empty.
    pub description: String,
}

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The blob backend failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A record's blob is not there.
    #[error("the blob {0} of a file is missing")]
    BlobMissing(BlobHash),
}

/// Blobs and index together.
pub struct Store {
    blobs: Arc<dyn BlobBackend>,
    index: Arc<dyn IndexBackend>,
    spool: SpoolOptions,
}

impl Store {
    /// A store over two backends; uploads are spooled as `spool` says.
    pub fn new(
        blobs: Arc<dyn BlobBackend>,
        index: Arc<dyn IndexBackend>,
        spool: SpoolOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            blobs,
            index,
            spool,
        })
    }

    /// An empty spool for an upload.
    pub fn spool(&self) -> Spool {
        Spool::new(self.spool.clone())
    }

    /// Keeps spooled content as a new file. Ok means blob and record are durable.
    pub async fn ingest(
        &self,
        _blob: SpooledBlob,
        _about: About,
    ) -> Result<FileRecord, StoreError> {
        Err(IndexError::Closed.into())
    }

    /// The file with this id.
    pub async fn get(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        Ok(self.index.get(id).await?)
    }

    /// The newest file with exactly this name.
    pub async fn newest_named(&self, name: &str) -> Result<Option<FileRecord>, StoreError> {
        Ok(self.index.newest_named(name).await?)
    }

    /// At most `limit` files in the order of their ids, from the first after `after`.
    pub async fn page(
        &self,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<FileRecord>, StoreError> {
        Ok(self.index.page(after, limit).await?)
    }

    /// Opens content by its hash.
    pub async fn open(&self, hash: &BlobHash) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        Ok(self.blobs.open(hash).await?)
    }

    /// Removes a file and returns what it was; its blob goes when no file needs it.
    pub async fn remove(&self, id: FileId) -> Result<Option<FileRecord>, StoreError> {
        Ok(self.index.remove(id).await?)
    }

    /// How much the store holds.
    pub fn totals(&self) -> Totals {
        self.index.totals()
    }

    /// Why the store refuses to write, if it does.
    pub fn refusal(&self) -> Option<String> {
        self.blobs.refusal().or_else(|| self.index.refusal())
    }

    /// Finishes what is under way, makes everything durable and closes.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.blobs.sync().await?;
        Ok(self.index.close().await?)
    }
}
