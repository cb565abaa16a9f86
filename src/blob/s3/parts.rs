//! Long content on its way to a bucket: it goes there in parts while it comes.
//!
//! Once a part is full it is read and sent while the next ones are gathered. How many are on their
//! way is limited, for one content and in memory for all.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::arrived::{Arrived, Content};
use super::depot::Depot;
use super::gathering::{Gathered, Gathering};
use super::multipart::Multipart;
use crate::blob::BlobError;
use crate::blocking;
use crate::place::Place;

/// Content on its way.
pub(super) struct Parts {
    depot: Arc<Depot>,
    gathering: Gathering,
    /// The parts before the one that is gathered.
    sent: Option<Multipart>,
}

impl Parts {
    /// Nothing yet of content whose parts are gathered in a directory.
    pub(super) fn new(depot: Arc<Depot>, dir: PathBuf) -> Self {
        Self {
            depot,
            gathering: Gathering::new(dir),
            sent: None,
        }
    }

    /// Takes what follows; waits while scratch or the store is behind. Not to be gone on with where
    /// that fails, or is dropped.
    pub(super) async fn push(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        while !piece.is_empty() {
            if self.gathering.is_full() {
                self.send().await?;
            }
            self.gathering.take(&mut piece).await?;
        }
        Ok(())
    }

    /// The content is complete.
    pub(super) async fn finish(self) -> Result<Arrived, BlobError> {
        let Gathered { part, hasher } = self.gathering.finish().await?;
        let content = match self.sent {
            None => Content::File(part),
            Some(sent) => Content::Parts(sent, part),
        };
        let values = blocking::run(move || hasher.finish()).await;
        Ok(Arrived::new(self.depot, content, values))
    }

    /// Begins to send the part, which is full, and to gather the next.
    async fn send(&mut self) -> Result<(), BlobError> {
        let (part, ()) = self.gathering.next_part(|_| ()).await?;
        let mut sent = if let Some(sent) = self.sent.take() {
            sent
        } else {
            // A place that is given out once: nobody else writes there.
            Multipart::begin(Arc::clone(&self.depot), Place::random()).await?
        };
        sent.put(part.len, part.read(Arc::clone(&self.depot)))
            .await?;
        self.sent = Some(sent);
        Ok(())
    }
}
