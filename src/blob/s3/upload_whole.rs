//! An upload in parts of which all has come, and that is to become a blob.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future;

use super::depot::twice;
use super::multipart::{Multipart, PART_BYTES};
use super::uploading::Uploading;
use crate::blob::{Arrival, BlobError, Received};
use crate::blocking;
use crate::hash::BlobHash;
use crate::outboard::{PIECE_BYTES, PieceValues};
use crate::pack_rows::Gathered;
use crate::place::Place;
use crate::turn::Turn;
use crate::upload_rows::UploadPart;

/// All of an upload, in the bucket, in parts.
pub(super) struct UploadWhole {
    pub(super) uploading: Arc<Uploading>,
    pub(super) turn: Turn,
    pub(super) parts: Vec<UploadPart>,
    pub(super) values: Arc<PieceValues>,
}

impl UploadWhole {
    /// All of it, where that is no more than a part.
    async fn first_part(&self) -> Result<Bytes, BlobError> {
        match self.parts.first() {
            Some(part) => self.bytes(part).await,
            None => Ok(Bytes::new()),
        }
    }

    /// The bytes of a part, as they came.
    async fn bytes(&self, part: &UploadPart) -> Result<Bytes, BlobError> {
        twice(|| self.read(part)).await
    }

    async fn read(&self, part: &UploadPart) -> Result<Bytes, BlobError> {
        let bytes = self.uploading.bytes(self.turn.of, part).await?;
        let (values, start) = (Arc::clone(&self.values), part.start);
        let checked = blocking::run(move || {
            let step = usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX);
            let mut pieces = (start..).step_by(step).zip(bytes.chunks(step));
            let checked = pieces.try_for_each(|(at, piece)| values.check(at, piece));
            checked.map(|()| bytes)
        });
        let checked = checked.await;
        checked.map_err(|mismatch| BlobError::damaged(self.values.hash(), &mismatch))
    }
}

#[async_trait]
impl Received for UploadWhole {
    fn hash(&self) -> BlobHash {
        self.values.hash()
    }

    fn size(&self) -> u64 {
        self.values.size()
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            is_gathered: self.uploading.depot.gathers(self.size()),
            turn: Some(self.turn),
            ..Arrival::default()
        }
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        let bytes = self.first_part().await?;
        let gathered = self.uploading.depot.gather(self.hash(), bytes, None);
        gathered.await
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        let depot = &self.uploading.depot;
        if self.size() <= PART_BYTES {
            let bytes = self.first_part().await?;
            depot.put_outboard(place, Arc::clone(&self.values)).await;
            depot.bucket.put(&depot.blob(place), bytes).await?;
        } else {
            let mut multipart = Multipart::begin(Arc::clone(depot), place).await?;
            for part in &self.parts {
                let room = depot.room_to_send(part.size).await;
                let bytes = self.bytes(part).await?;
                multipart
                    .put(part.size, future::ready(Ok((bytes, room))))
                    .await?;
            }
            depot.put_outboard(place, Arc::clone(&self.values)).await;
            multipart.complete().await?;
        }
        depot.damage.written(place);
        Ok(())
    }
}
