//! Content on its way into a bucket.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::arrived::{Arrived, Content};
use super::depot::Depot;
use super::multipart::LONGEST;
use super::packs::Coming;
use super::parts::Parts;
use crate::blob::{BlobError, Limit, Received, Receiving};
use crate::outboard::PieceHasher;

/// Content up to this many bytes stays in memory.
pub(super) const MEMORY_LIMIT: u64 = 64 * 1024;

/// Content that is being received.
pub(super) struct Incoming {
    depot: Arc<Depot>,
    dir: PathBuf,
    limit: Limit,
    received: u64,
    /// As long as it may be gathered.
    coming: Option<Coming>,
    state: State,
}

enum State {
    Memory(BytesMut),
    Parts(Box<Parts>),
    /// A write failed, or was given up; its error told why.
    Failed,
}

impl Incoming {
    pub(super) fn new(depot: Arc<Depot>, dir: PathBuf, limit: Limit) -> Self {
        Self {
            coming: depot.coming(),
            depot,
            dir,
            limit,
            received: 0,
            state: State::Memory(BytesMut::new()),
        }
    }

    async fn take(&mut self, state: State, piece: Bytes) -> Result<State, BlobError> {
        self.limit.check(self.received)?;
        if self.received > LONGEST {
            return Err(BlobError::TooLarge(LONGEST));
        }
        match state {
            State::Memory(mut bytes) if self.received <= MEMORY_LIMIT => {
                bytes.extend_from_slice(&piece);
                Ok(State::Memory(bytes))
            }
            State::Memory(bytes) => {
                self.coming = None;
                let mut parts = Parts::new(Arc::clone(&self.depot), self.dir.clone());
                parts.push(bytes.freeze()).await?;
                parts.push(piece).await?;
                Ok(State::Parts(Box::new(parts)))
            }
            State::Parts(mut parts) => {
                parts.push(piece).await?;
                Ok(State::Parts(parts))
            }
            State::Failed => Err(self.failed_before()),
        }
    }

    fn failed_before(&self) -> BlobError {
        let source = std::io::Error::other("an earlier write failed");
        BlobError::io("go on writing to", &self.dir, source)
    }
}

#[async_trait]
impl Receiving for Incoming {
    async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.received += piece.len() as u64;
        // Also where this is dropped before its end.
        let state = std::mem::replace(&mut self.state, State::Failed);
        self.state = self.take(state, piece).await?;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<Box<dyn Received>, BlobError> {
        let arrived = match self.state {
            State::Failed => return Err(self.failed_before()),
            State::Parts(parts) => parts.finish().await?,
            State::Memory(bytes) => {
                let mut hasher = PieceHasher::default();
                hasher.update(&bytes);
                let content = Content::Memory(bytes.freeze(), self.coming);
                Arrived::new(self.depot, content, hasher.finish())
            }
        };
        Ok(Box::new(arrived))
    }
}
