//! Blobs in a bucket of a store that speaks S3, for any number of nodes at once.
//!
//! The object of a place is `blobs/<64 hex digits>` under the prefix. Short contents share one, a
//! pack, as those of a storage directory do (`pack_format`). Beside a long one, under
//! `outboards/`, is what proves its pieces ([`crate::outboard::PieceValues`]), which is never
//! trusted, and derived again where it is missing. An index gives each place out once, so that
//! nothing here depends on what a store does when two write to one key, and a late deletion hits
//! nothing that others count on. Long content goes to the bucket in parts while it comes, to a key
//! that is made up for it and becomes its place. What has come of uploads in parts is under
//! `uploading/`, for whichever node goes on with them; other partial content stays in scratch,
//! which is this node's alone.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;

use super::{BlobBackend, BlobError, Limit, OpenBlob, Partials, Purpose, Receiving};
use crate::blocking;
use crate::hash::BlobHash;
use crate::health::Findings;
use crate::metrics::servers::BucketRequests;
use crate::pack_rows::PackRows;
use crate::place::Place;
use crate::upload_rows::Ledger;

mod arrived;
mod belonging;
mod bounded;
mod bucket;
mod compaction;
mod connector;
mod counted;
mod credentials;
mod damage;
mod depot;
mod gathering;
mod long;
mod long_reread;
mod multipart;
mod objects;
mod options;
mod packed;
mod packs;
mod part_file;
mod partials;
mod parts;
mod reading;
mod receiving;
mod refusal;
mod remembered;
mod rereading;
mod silence;
mod task;
mod unfinished;
mod upload_partials;
mod upload_parts;
mod upload_whole;
mod uploading;
mod windows;

pub(crate) use credentials::TOKEN_FILE;
pub use objects::{Object, Purpose as ObjectPurpose};
pub use options::{Options, StoreError};
pub use reading::Found;
pub use windows::MOST_READERS;

use bucket::{BLOBS, Bucket, OUTBOARDS};
use depot::Depot;
use long::LongBlob;
use packed::Believed;
use packs::Packs;
use partials::{Scratch, ScratchPartials};
use receiving::{Incoming, MEMORY_LIMIT};
use upload_partials::UploadPartials;
use uploading::Uploading;

/// Blobs in a bucket.
pub struct S3Blobs {
    depot: Arc<Depot>,
    scratch: Arc<Scratch>,
    dir: PathBuf,
    /// The uploads that other nodes go on with, too; none where there are no such.
    ledger: Option<Arc<Ledger>>,
}

impl S3Blobs {
    /// Opens a bucket, with `scratch` for partial content: a backend of this process alone, of
    /// which all but the partial content is removed. Nothing is asked of the bucket yet, whose it
    /// is neither ([`S3Blobs::owner`]).
    pub async fn open(options: Options, scratch: Arc<dyn BlobBackend>) -> Result<Self, StoreError> {
        let (dir, packed) = (options.scratch.clone(), options.packed_in_memory);
        let bucket = blocking::run(move || Bucket::new(&options)).await?;
        Ok(Self {
            depot: Arc::new(Depot::new(bucket, packed)),
            scratch: Arc::new(Scratch::open(scratch).await?),
            dir,
            ledger: None,
        })
    }

    /// Whether what is written down to prove a content does so, or nothing is; where not it is
    /// removed, and derived from the content by whoever reads that next.
    pub async fn check_outboard(
        &self,
        hash: &BlobHash,
        place: Place,
        size: u64,
    ) -> Result<bool, BlobError> {
        let blob = LongBlob {
            depot: Arc::clone(&self.depot),
            hash: *hash,
            place,
            size,
        };
        blob.check_outboard().await
    }

    /// The same, with which other nodes go on where an upload in parts has come to.
    #[must_use]
    pub fn with_uploads(self, ledger: Arc<Ledger>) -> Self {
        let ledger = Some(ledger);
        Self { ledger, ..self }
    }

    /// The same, with packs of short contents.
    #[must_use]
    pub fn with_packs(self, rows: Arc<dyn PackRows>) -> Self {
        let bucket = Arc::clone(&self.depot.bucket);
        self.depot.write_packs(Packs::begin(bucket, rows));
        self
    }

    /// The requests to the bucket.
    pub fn requests(&self) -> Arc<BucketRequests> {
        Arc::clone(&self.depot.bucket.requests)
    }

    /// Deletes what proves contents that are gone, and tells of how many.
    async fn sweep_outboards(&self) -> Result<u64, BlobError> {
        let bucket = &self.depot.bucket;
        let (mut outboards, mut blobs) = (bucket.list(OUTBOARDS), bucket.list(BLOBS));
        let (mut blob, mut swept) = (blobs.try_next().await?, 0);
        while let Some((place, _)) = outboards.try_next().await? {
            // Both are listed in the order of their keys, which is that of the places.
            while blob.is_some_and(|(it, _)| it < place) {
                blob = blobs.try_next().await?;
            }
            if blob.is_none_or(|(it, _)| it != place) {
                bucket.delete(&self.depot.outboard(place)).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

#[async_trait]
impl BlobBackend for S3Blobs {
    async fn receive(&self, limit: Limit) -> Result<Box<dyn Receiving>, BlobError> {
        let (depot, dir) = (Arc::clone(&self.depot), self.dir.clone());
        Ok(Box::new(Incoming::new(depot, dir, limit)))
    }

    async fn room(&self) -> u64 {
        // A bucket has no end that it would tell of.
        u64::MAX
    }

    async fn check_room(&self, bytes: u64) -> Result<(), BlobError> {
        if bytes <= MEMORY_LIMIT {
            return Ok(());
        }
        let dir = self.dir.clone();
        blocking::run(move || part_file::check_room(&dir, bytes)).await
    }

    fn partials(&self, purpose: Purpose) -> Arc<dyn Partials> {
        let of_uploads = |_: &&Arc<Ledger>| purpose == Purpose::Uploads;
        if let Some(ledger) = self.ledger.as_ref().filter(of_uploads) {
            return Arc::new(UploadPartials(Arc::new(Uploading {
                depot: Arc::clone(&self.depot),
                ledger: Arc::clone(ledger),
                dir: self.dir.clone(),
            })));
        }
        Arc::new(ScratchPartials::new(
            Arc::clone(&self.depot),
            Arc::clone(&self.scratch),
            self.scratch.backend.partials(purpose),
        ))
    }

    async fn open(
        &self,
        hash: &BlobHash,
        place: Place,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let is_damaged = self.depot.damage.is_known(place);
        let believed = if is_damaged {
            Believed::Bucket
        } else {
            Believed::Memory
        };
        let opened = reading::open(&self.depot, *hash, place, believed).await?;
        if is_damaged {
            let Some(blob) = &opened else {
                return Err(BlobError::missing(*hash));
            };
            blob.prove().await?;
            self.depot.damage.clear(place);
        }
        Ok(opened)
    }

    async fn size(&self, place: Place) -> Result<Option<u64>, BlobError> {
        if self.depot.damage.is_known(place) {
            return Ok(None);
        }
        if place.at().is_some() {
            return packed::size(&self.depot, place).await;
        }
        self.depot.bucket.size(&self.depot.blob(place)).await
    }

    async fn is_whole(&self, hash: &BlobHash, place: Place) -> Result<bool, BlobError> {
        Ok(self.reread(hash, place).await? == Found::Whole)
    }

    async fn note_missing(&self, place: Place) -> Result<(), BlobError> {
        self.depot.damage.mark(place);
        Ok(())
    }

    fn report_to(&self, findings: Arc<dyn Findings>) {
        self.depot.damage.report_to(findings);
    }

    fn damage_found(&self) -> u64 {
        self.depot.damage.found.get()
    }

    async fn delete(&self, place: Place) -> Result<(), BlobError> {
        self.depot.delete(place).await
    }

    fn list(&self) -> BoxStream<'static, Result<(Place, u64), BlobError>> {
        self.depot.bucket.list(BLOBS)
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        let swept = self.sweep_outboards().await?;
        Ok(swept + self.depot.bucket.abort_old().await?)
    }

    async fn compact(&self) -> Result<u64, BlobError> {
        match self.depot.packs() {
            Some(packs) => compaction::compact(&self.depot, packs).await,
            None => Ok(0),
        }
    }

    fn refusal(&self) -> Option<String> {
        // A store that is out of reach comes back, and scratch holds nothing that has to last.
        self.scratch.backend.refusal()
    }

    async fn try_to_write(&self) -> Result<(), BlobError> {
        self.scratch.backend.try_to_write().await?;
        let dir = self.dir.clone();
        blocking::run(move || part_file::try_to_write(&dir)).await?;
        let bucket = &self.depot.bucket;
        let tried = bucket.try_to_write().await;
        tried.map_err(|error| bucket.away(error.into()))?;
        bucket.check_mark().await
    }

    async fn sync(&self) -> Result<(), BlobError> {
        // What the store acknowledges lasts.
        Ok(())
    }
}
