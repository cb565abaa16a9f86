//! Blobs in memory, for tests.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::open_bytes::OpenBytes;
use super::{BlobBackend, BlobError, Limit, OpenBlob, Partials, Purpose, Receiving};
use crate::hash::BlobHash;
use crate::health::Findings;
use crate::place::Place;

mod blobs;
mod partials;
mod receiving;

use blobs::Blobs;
use partials::MemoryPartials;
use receiving::Incoming;

/// A backend that forgets everything when it is dropped.
pub struct MemoryBlobs {
    blobs: Arc<Blobs>,
    uploads: Arc<MemoryPartials>,
    copies: Arc<MemoryPartials>,
    repairs: Arc<MemoryPartials>,
}

impl Default for MemoryBlobs {
    fn default() -> Self {
        let blobs = Arc::<Blobs>::default();
        Self {
            uploads: Arc::new(MemoryPartials::new(Arc::clone(&blobs))),
            copies: Arc::new(MemoryPartials::new(Arc::clone(&blobs))),
            repairs: Arc::new(MemoryPartials::new(Arc::clone(&blobs))),
            blobs,
        }
    }
}

#[async_trait]
impl BlobBackend for MemoryBlobs {
    async fn receive(&self, limit: Limit) -> Result<Box<dyn Receiving>, BlobError> {
        Ok(Box::new(Incoming::new(limit, Arc::clone(&self.blobs))))
    }

    async fn room(&self) -> u64 {
        u64::MAX
    }

    async fn check_room(&self, _: u64) -> Result<(), BlobError> {
        Ok(())
    }

    fn partials(&self, purpose: Purpose) -> Arc<dyn Partials> {
        let partials = match purpose {
            Purpose::Uploads => &self.uploads,
            Purpose::Copies => &self.copies,
            Purpose::Repairs => &self.repairs,
        };
        Arc::clone(partials) as Arc<dyn Partials>
    }

    async fn open(
        &self,
        hash: &BlobHash,
        place: Place,
    ) -> Result<Option<Arc<dyn OpenBlob>>, BlobError> {
        let bytes = self.blobs.whole(hash, place)?;
        Ok(bytes.map(|bytes| Arc::new(OpenBytes { hash: *hash, bytes }) as Arc<dyn OpenBlob>))
    }

    async fn size(&self, place: Place) -> Result<Option<u64>, BlobError> {
        Ok(self.blobs.size(place))
    }

    async fn is_whole(&self, hash: &BlobHash, place: Place) -> Result<bool, BlobError> {
        match self.blobs.whole(hash, place) {
            Ok(bytes) => Ok(bytes.is_some()),
            Err(BlobError::Damaged { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn note_missing(&self, place: Place) -> Result<(), BlobError> {
        self.blobs.note_damaged(place);
        Ok(())
    }

    fn report_to(&self, findings: Arc<dyn Findings>) {
        self.blobs.report_to(findings);
    }

    fn damage_found(&self) -> u64 {
        self.blobs.found.get()
    }

    async fn delete(&self, place: Place) -> Result<(), BlobError> {
        self.blobs.remove(place);
        Ok(())
    }

    fn list(&self) -> BoxStream<'static, Result<(Place, u64), BlobError>> {
        stream::iter(self.blobs.sizes().into_iter().map(Ok)).boxed()
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        Ok(0)
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    async fn sync(&self) -> Result<(), BlobError> {
        Ok(())
    }
}
