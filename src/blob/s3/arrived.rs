//! Content that has come whole, and is not kept yet.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::depot::Depot;
use super::multipart::Multipart;
use super::packs::Coming;
use super::part_file::PartFile;
use crate::blob::{Arrival, BlobError, Received};
use crate::hash::BlobHash;
use crate::outboard::PieceValues;
use crate::pack_rows::Gathered;
use crate::place::Place;

/// Content that has come whole.
pub(super) struct Arrived {
    depot: Arc<Depot>,
    content: Content,
    values: PieceValues,
}

/// Where it is.
pub(super) enum Content {
    /// Short content, which may be kept together with others.
    Memory(Bytes, Option<Coming>),
    /// In scratch: one part at most.
    File(PartFile),
    /// In the bucket but for the last part.
    Parts(Multipart, PartFile),
}

impl Arrived {
    pub(super) fn new(depot: Arc<Depot>, content: Content, values: PieceValues) -> Self {
        Self {
            depot,
            content,
            values,
        }
    }
}

#[async_trait]
impl Received for Arrived {
    fn hash(&self) -> BlobHash {
        self.values.hash()
    }

    fn size(&self) -> u64 {
        self.values.size()
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            place: match &self.content {
                Content::Parts(multipart, _) => Some(multipart.place),
                _ => None,
            },
            is_gathered: matches!(self.content, Content::Memory(_, Some(_))),
            ..Arrival::default()
        }
    }

    async fn gather(self: Box<Self>) -> Result<Gathered, BlobError> {
        let hash = self.values.hash();
        match self.content {
            Content::Memory(bytes, coming) => self.depot.gather(hash, bytes, coming).await,
            Content::File(_) | Content::Parts(..) => Err(BlobError::kept_alone(hash)),
        }
    }

    async fn keep(self: Box<Self>, place: Place) -> Result<(), BlobError> {
        let Self {
            depot,
            content,
            values,
        } = *self;
        // Whoever reads the content as soon as it is there finds what proves it.
        depot.put_outboard(place, Arc::new(values)).await;
        match content {
            Content::Memory(bytes, _) => depot.bucket.put(&depot.blob(place), bytes).await?,
            Content::File(part) => {
                let (bytes, _room) = part.read(Arc::clone(&depot)).await?;
                depot.bucket.put(&depot.blob(place), bytes).await?;
            }
            Content::Parts(multipart, _) if multipart.place != place => {
                let elsewhere = std::io::Error::other("its parts are in another place");
                return Err(BlobError::io(
                    "keep content at",
                    place.to_string(),
                    elsewhere,
                ));
            }
            Content::Parts(mut multipart, last) => {
                if last.len > 0 {
                    multipart.put(last.len, last.read(depot.clone())).await?;
                }
                multipart.complete().await?;
            }
        }
        depot.damage.written(place);
        Ok(())
    }
}
