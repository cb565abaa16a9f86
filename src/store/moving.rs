//! Moving all files of one store into another, with their ids and times: so that what is cut off
//! at any moment goes on where it was, and all of it is proven, as it is read and at the end.
//!
//! Files come in the order of their ids, and each with its content, so what is there of them is
//! always the beginning of what will be.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::ingest::CommittedBlob;
use super::{Store, StoreError};
use crate::blob::{BlobError, Limit, Received};
use crate::hash::BlobHash;
use crate::index::IndexError;
use crate::record::{FileId, FileRecord};
use crate::small_state::StateName;

/// Where files come from that are moved into a storage directory: there until all are.
pub const MOVING_IN: StateName = StateName::Single {
    name: "moving-in",
    kind: "larder-moving 1",
};
/// How many files are brought together.
const FILES: usize = 128;
/// How much content is, in bytes, unless one alone is longer.
const BYTES: u64 = 256 << 20;
/// How many contents are on their way at once.
const AT_ONCE: usize = 16;
/// How many files are compared together.
const COMPARED: usize = 1000;
/// How often what has come meanwhile is brought, too, before somebody has to end that.
const ROUNDS: usize = 10;

/// Why files were not moved to the end.
#[derive(Debug, thiserror::Error)]
pub enum MovingError {
    /// What they come from has failed.
    #[error("cannot read the files: {0}")]
    Source(#[source] StoreError),
    /// What they go to has failed.
    #[error("cannot write the files: {0}")]
    Target(#[source] StoreError),
    /// The content of a file is not whole.
    #[error(
        "file {} ({}) is not whole: {error}; upload its content again or remove the file there, \
         and run this again, which goes on from here",
        .record.id, .record.file.name
    )]
    Damaged {
        /// Which file.
        record: Box<FileRecord>,
        /// How that shows.
        error: BlobError,
    },
    /// A file is there and is another one.
    #[error("file {0} is another one where the files are moved to")]
    Different(FileId),
    /// A file is not there, and those behind it are.
    #[error("file {0} is missing where the files are moved to, and others behind it are there")]
    Missing(FileId),
    /// The files have changed all the time.
    #[error("files are added all the time: stop the nodes that take them, and run this again")]
    Busy,
}

/// How far it is.
#[derive(Debug, Default)]
pub struct Moved {
    /// Files that are there by now.
    pub files: AtomicU64,
    /// Of contents that were read and written, in bytes.
    pub copied: AtomicU64,
    /// Of contents that were proven at the end, in bytes.
    pub proven: AtomicU64,
}

/// The moving of all files.
pub struct Moving<'a> {
    /// Where they are.
    pub source: &'a Store,
    /// Where they go.
    pub target: &'a Store,
    /// How far it is.
    pub moved: &'a Moved,
    /// Up to which file the contents were proven where they are now.
    pub proven: Option<FileId>,
}

impl Moving<'_> {
    /// Brings all files that are not there yet, removes those that were removed meanwhile where
    /// they come from, and proves all that is there. Once more, it does so for what has come since.
    pub async fn run(&mut self) -> Result<(), MovingError> {
        for _ in 0..ROUNDS {
            self.copy().await?;
            if self.compare().await? {
                self.proven = self.prove().await?;
                if self.is_done().await? {
                    return Ok(());
                }
            }
        }
        Err(MovingError::Busy)
    }

    /// Whether all files are there as they are where they come from, and no others. Of their
    /// contents nothing is read.
    pub async fn is_done(&self) -> Result<bool, MovingError> {
        let mut after = None;
        loop {
            let expected = self.source.page(after, COMPARED).await;
            let expected = expected.map_err(MovingError::Source)?;
            let found = self.target.page(after, COMPARED).await;
            if found.map_err(MovingError::Target)? != expected {
                return Ok(false);
            }
            after = match expected.last() {
                None => return Ok(true),
                last => last.map(|it| it.id),
            };
        }
    }

    async fn copy(&self) -> Result<(), MovingError> {
        loop {
            match self.copy_behind(self.last().await?).await {
                // Whoever stood still for longer than a lease begins again where that was.
                Err(MovingError::Target(StoreError::Index(IndexError::Lost))) => {}
                done => return done,
            }
        }
    }

    /// The last file that is there.
    async fn last(&self) -> Result<Option<FileId>, MovingError> {
        let last = self.target.page_back(None, 1).await;
        let last = last.map_err(MovingError::Target)?;
        Ok(last.first().map(|it| it.id))
    }

    async fn copy_behind(&self, mut last: Option<FileId>) -> Result<(), MovingError> {
        loop {
            let files = self.source.page(last, FILES).await;
            let files = first_of(files.map_err(MovingError::Source)?);
            let Some(behind) = files.last() else {
                return Ok(());
            };
            last = Some(behind.id);
            let count = files.len() as u64;
            self.bring(files).await?;
            self.moved.files.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Brings these files, all of them or the first ones.
    async fn bring(&self, files: Vec<FileRecord>) -> Result<(), MovingError> {
        let mut contents = BTreeMap::new();
        for record in &files {
            contents.entry(record.file.hash).or_insert(record);
        }
        let bringing = stream::iter(contents.into_values());
        let bringing = bringing.map(|record| self.bring_content(record));
        let bringing = bringing.buffer_unordered(AT_ONCE);
        let brought: Vec<_> = bringing.try_collect().await?;
        let mut brought: BTreeMap<_, _> = brought.into_iter().flatten().collect();
        let mut restored = Vec::with_capacity(files.len());
        for record in files {
            let (hash, size) = (record.file.hash, record.file.size);
            let intent = match brought.remove(&hash) {
                Some(committed) => Ok(committed.into_intent()),
                None => self.target.index.intend(&hash, size).await,
            };
            let intent = intent.map_err(|it| MovingError::Target(it.into()))?;
            restored.push((record, intent));
        }
        let restored = self.target.index.restore(restored).await;
        restored.map_err(|it| MovingError::Target(it.into()))
    }

    /// Brings the content of a file, unless it is there.
    async fn bring_content(
        &self,
        record: &FileRecord,
    ) -> Result<Option<(BlobHash, CommittedBlob)>, MovingError> {
        let hash = record.file.hash;
        let there = self.target.holds(&hash).await;
        if there.map_err(MovingError::Target)? {
            return Ok(None);
        }
        let content = self.read(record).await?;
        let committed = self.target.commit(content, None).await;
        let committed = committed.map_err(MovingError::Target)?;
        Ok(Some((hash, committed)))
    }

    /// Reads the content of a file, which proves it.
    async fn read(&self, record: &FileRecord) -> Result<Box<dyn Received>, MovingError> {
        let of_target = |it: BlobError| MovingError::Target(it.into());
        let opened = self.source.open_file(record).await;
        let opened = opened.map_err(|it| not_whole(record, it))?;
        let missing = || BlobError::missing(record.file.hash);
        let opened = opened.ok_or_else(|| not_whole(record, missing().into()))?;
        let receiving = self.target.blobs.receive(Limit::default()).await;
        let mut receiving = receiving.map_err(of_target)?;
        let mut pieces = opened.read(0..record.file.size);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|it| not_whole(record, it.into()))?;
            let len = piece.len() as u64;
            receiving.write(piece).await.map_err(of_target)?;
            self.moved.copied.fetch_add(len, Ordering::Relaxed);
        }
        let received = receiving.finish().await.map_err(of_target)?;
        if received.hash() != record.file.hash {
            let error = BlobError::other_hash(record.file.hash);
            return Err(not_whole(record, error.into()));
        }
        Ok(received)
    }

    /// Whether the files on both sides are the same; removes what is there and not where they come
    /// from.
    async fn compare(&self) -> Result<bool, MovingError> {
        let mut after = None;
        loop {
            let expected = self.source.page(after, COMPARED).await;
            let expected = expected.map_err(MovingError::Source)?;
            let next = expected.last().map(|it| it.id);
            let mut found = self.between(after, next).await?;
            for record in expected {
                match found.remove(&record.id) {
                    Some(same) if same == record => {}
                    Some(_) => return Err(MovingError::Different(record.id)),
                    // It has come meanwhile.
                    None if Some(record.id) > self.last().await? => return Ok(false),
                    None => return Err(MovingError::Missing(record.id)),
                }
            }
            for id in found.into_keys() {
                let removed = self.target.remove(id).await;
                removed.map_err(MovingError::Target)?;
            }
            if next.is_none() {
                return Ok(true);
            }
            after = next;
        }
    }

    /// The files that are there behind `after`, up to `last` if there is one.
    async fn between(
        &self,
        after: Option<FileId>,
        last: Option<FileId>,
    ) -> Result<BTreeMap<FileId, FileRecord>, MovingError> {
        let (mut found, mut after) = (BTreeMap::new(), after);
        loop {
            let page = self.target.page(after, COMPARED).await;
            let page = page.map_err(MovingError::Target)?;
            let end = page.last().map(|it| it.id);
            let up_to = page.into_iter();
            let up_to = up_to.take_while(|it| last.is_none_or(|last| it.id <= last));
            found.extend(up_to.map(|it| (it.id, it)));
            if end.is_none() || (last.is_some() && end >= last) {
                return Ok(found);
            }
            after = end;
        }
    }

    /// Reads all content again where it is now that is not proven yet, and tells the last file.
    async fn prove(&self) -> Result<Option<FileId>, MovingError> {
        let (mut after, mut seen) = (self.proven, HashSet::new());
        loop {
            let files = self.target.page(after, FILES).await;
            let files = files.map_err(MovingError::Target)?;
            let Some(last) = files.last() else {
                return Ok(after);
            };
            after = Some(last.id);
            let mut contents = Vec::new();
            for record in files {
                let content = self.target.index.locate(&record.file.hash).await;
                let content = content.map_err(|it| MovingError::Target(it.into()))?;
                // Only those are remembered that come again.
                let comes_again = content.is_some_and(|it| it.users > 1);
                if !comes_again || seen.insert(record.file.hash) {
                    contents.push(record);
                }
            }
            let proving = stream::iter(contents).map(|record| self.prove_content(record));
            proving
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
    }

    async fn prove_content(&self, record: FileRecord) -> Result<(), MovingError> {
        let opened = self.target.open_file(&record).await;
        let opened = opened.map_err(MovingError::Target)?;
        let missing = || BlobError::missing(record.file.hash);
        let opened = opened.ok_or_else(|| MovingError::Target(missing().into()))?;
        let proven = opened.prove().await;
        proven.map_err(|it| MovingError::Target(it.into()))?;
        let size = record.file.size;
        self.moved.proven.fetch_add(size, Ordering::Relaxed);
        Ok(())
    }
}

/// Those of these files that are brought together.
fn first_of(mut files: Vec<FileRecord>) -> Vec<FileRecord> {
    let mut bytes = 0_u64;
    let fit = files.iter().take_while(|it| {
        bytes = bytes.saturating_add(it.file.size);
        bytes <= BYTES
    });
    let fit = fit.count().max(1);
    files.truncate(fit);
    files
}

fn not_whole(record: &FileRecord, error: StoreError) -> MovingError {
    match error {
        StoreError::Blob(error @ BlobError::Damaged { .. }) => MovingError::Damaged {
            record: Box::new(record.clone()),
            error,
        },
        error => MovingError::Source(error),
    }
}
