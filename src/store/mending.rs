//! Putting what has come from elsewhere in the place of content that is not whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::feed::Change;
use super::{Store, StoreError};
use crate::blob::{Limit, OpenBlob, Received, Receiving, Salvage};
use crate::hash::BlobHash;
use crate::record::FileRecord;

/// Files that have one content.
#[derive(Debug, Default)]
pub struct FilesOf {
    /// The first of them.
    pub first: Vec<FileRecord>,
    /// How many more there are.
    pub more: u64,
}

impl Store {
    /// Which files have these contents, of each the first so many. Looks through all.
    pub async fn files_of(
        &self,
        hashes: BTreeSet<BlobHash>,
        of_each: usize,
    ) -> Result<BTreeMap<BlobHash, FilesOf>, StoreError> {
        let mut found = BTreeMap::<_, FilesOf>::new();
        let mut files = self.files(None);
        while let Some(record) = files.try_next().await? {
            let hash = record.file.hash;
            if !hashes.contains(&hash) {
                continue;
            }
            let files = found.entry(hash).or_default();
            if files.first.len() < of_each {
                files.first.push(record);
            } else {
                files.more += 1;
            }
        }
        Ok(found)
    }

    /// Whether a file needs content that is not whole, as far as is known.
    pub async fn needs_repair(&self, hash: &BlobHash) -> Result<bool, StoreError> {
        let content = self.index.locate(hash).await?;
        Ok(content.is_some_and(|it| !it.is_usable()))
    }

    /// What is still right of content of `size` bytes that is not whole; None where nothing can be
    /// told to be.
    pub async fn salvage(&self, hash: BlobHash, size: u64) -> Option<Box<dyn Salvage>> {
        self.medium()?.salvage(hash, size).await
    }

    /// Opens content that files need and that may be damaged, where an outboard proves its length:
    /// what is not right of it is an error when it is read. None where it is short, or of no use.
    pub async fn open_in_part(
        &self,
        hash: &BlobHash,
    ) -> Result<Option<Arc<dyn OpenBlob>>, StoreError> {
        let Some(medium) = self.medium() else {
            return Ok(None);
        };
        if !self.is_needed(hash).await? {
            return Ok(None);
        }
        let blob = medium.open_in_part(*hash).await;
        match blob {
            Some(blob) if blob.is_size_proven().await.unwrap_or(false) => Ok(Some(blob)),
            _ => Ok(None),
        }
    }

    /// Begins to receive content for [`Store::mend`], of any length: it is stored, or was.
    pub async fn receive_again(&self) -> Result<Box<dyn Receiving>, StoreError> {
        Ok(self.blobs.receive(Limit::default()).await?)
    }

    /// Puts content in the place of what is stored of it, unless that is whole, for the files that
    /// need it. Ok means durable; false that no file needs it, and nothing of it is kept. It takes
    /// nothing of the quota, which counts it already.
    ///
    /// Like [`Store::ingest`], once begun it runs to its end.
    pub async fn mend(&self, content: Box<dyn Received>) -> Result<bool, StoreError> {
        let hash = content.hash();
        self.change(move |store| async move {
            if !store.is_needed(&hash).await? {
                return Ok(false);
            }
            let committed = store.commit(content, None).await?;
            // Where the last file of it was removed meanwhile, it is garbage.
            if store.index.mend(&hash, committed.into_intent()).await? {
                store.feed.tell_health(Change::Mended(hash));
            }
            store.is_needed(&hash).await
        })
        .await
    }
}
