//! What is in a bucket, read again, whatever was proven of it before.

use std::sync::Arc;

use super::S3Blobs;
use super::compaction::all_of_pack;
use super::long::LongBlob;
use super::long_reread::InPart;
use super::packed::{self, Believed};
use super::reading::{self, Found};
use crate::blob::{BlobError, OpenBlob, Salvage};
use crate::blocking;
use crate::hash::BlobHash;
use crate::place::Place;

impl S3Blobs {
    /// Reads all of a pack, and tells which of these contents of it are whole there.
    pub async fn reread_pack(
        &self,
        pack: Place,
        contents: Vec<(BlobHash, Place)>,
    ) -> Result<Vec<bool>, BlobError> {
        let bytes = all_of_pack(&self.depot, pack).await?;
        let prove = move || {
            let is_whole = |(hash, place)| packed::within(&bytes, &hash, place).is_some();
            contents.into_iter().map(is_whole).collect()
        };
        Ok(blocking::run(prove).await)
    }

    /// Reads all of a content that is in a place, whatever was proven of it before.
    pub async fn reread(&self, hash: &BlobHash, place: Place) -> Result<Found, BlobError> {
        let opened = reading::open(&self.depot, *hash, place, Believed::Bucket).await;
        let proven = match opened {
            Ok(None) => return Ok(Found::Missing),
            Ok(Some(blob)) => blob.prove().await,
            Err(error) => Err(error),
        };
        match proven {
            Ok(()) => {
                self.depot.damage.clear(place);
                Ok(Found::Whole)
            }
            Err(error) if error.is_missing() => Ok(Found::Missing),
            Err(BlobError::Damaged { .. }) => Ok(Found::Damaged),
            Err(error) => Err(error),
        }
    }

    /// Opens content that may be known to be damaged, of which what is not right is an error when
    /// it is read; None where nothing of it can be.
    pub async fn open_in_part(&self, hash: &BlobHash, place: Place) -> Option<Arc<dyn OpenBlob>> {
        let opened = reading::open(&self.depot, *hash, place, Believed::Bucket).await;
        opened.ok().flatten()
    }

    /// What is right of content of `size` bytes in a place; None where nothing tells that.
    pub async fn salvage(
        &self,
        hash: BlobHash,
        place: Place,
        size: u64,
    ) -> Option<Box<dyn Salvage>> {
        if place.at().is_some() {
            return None;
        }
        let blob = LongBlob {
            depot: Arc::clone(&self.depot),
            hash,
            place,
            size,
        };
        let values = blob.values().await.ok()?;
        Some(Box::new(InPart { blob, values }))
    }
}
