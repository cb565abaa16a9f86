//! Long content on its way to a bucket: it goes there in parts while it comes.
//!
//! A part is gathered in a file of scratch that has no name, so that nothing is left of it after a
//! crash, and hashed as it is written. Once it is full it is read and sent while the next ones are
//! gathered. How many are on their way is limited, for one content and in memory for all.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::arrived::{Arrived, Content};
use super::depot::Depot;
use super::multipart::{Multipart, part_bytes};
use super::part_file::PartFile;
use crate::blob::BlobError;
use crate::blob::batch::Batch;
use crate::blocking::{self, Running};
use crate::outboard::PieceHasher;
use crate::place::Place;

/// Content on its way.
pub(super) struct Parts {
    depot: Arc<Depot>,
    dir: PathBuf,
    /// How many bytes have come.
    received: u64,
    /// How many more belong to the part that is gathered.
    left: u64,
    batch: Batch,
    /// The part that is gathered, while the batch before is written.
    writing: Running<Result<Gathered, BlobError>>,
    /// Those before it.
    sent: Option<Multipart>,
}

/// What is gathered of a part, and what is known of all that has come.
pub(super) struct Gathered {
    pub(super) part: PartFile,
    pub(super) hasher: PieceHasher,
}

impl Gathered {
    /// Hashes and writes a batch. Blocks.
    pub(super) fn append(mut self, batch: &Batch) -> Result<Self, BlobError> {
        for piece in batch.pieces() {
            self.hasher.update(piece);
            self.part.append(piece)?;
        }
        Ok(self)
    }
}

impl Parts {
    /// Nothing yet of content whose parts are gathered in a directory.
    pub(super) fn new(depot: Arc<Depot>, dir: PathBuf) -> Self {
        let create_in = dir.clone();
        Self {
            depot,
            dir,
            received: 0,
            left: part_bytes(0),
            batch: Batch::default(),
            writing: blocking::begin(move || {
                Ok(Gathered {
                    part: PartFile::create(&create_in)?,
                    hasher: PieceHasher::default(),
                })
            }),
            sent: None,
        }
    }

    /// Takes what follows; waits while scratch or the store is behind. Not to be gone on with where
    /// that fails, or is dropped.
    pub(super) async fn push(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        while !piece.is_empty() {
            if self.left == 0 {
                self.send().await?;
            }
            let room = usize::try_from(self.left).unwrap_or(usize::MAX);
            let taken = piece.split_to(room.min(piece.len()));
            self.left -= taken.len() as u64;
            self.received += taken.len() as u64;
            self.batch.push(taken);
            if self.batch.is_full() {
                self.write().await?;
            }
        }
        Ok(())
    }

    /// The content is complete.
    pub(super) async fn finish(mut self) -> Result<Arrived, BlobError> {
        self.write().await?;
        let Gathered { part, hasher } = self.writing.await?;
        let content = match self.sent {
            None => Content::File(part),
            Some(sent) => Content::Parts(sent, part),
        };
        let values = blocking::run(move || hasher.finish()).await;
        Ok(Arrived::new(self.depot, content, values))
    }

    /// Begins to write the batch.
    async fn write(&mut self) -> Result<(), BlobError> {
        let gathered = (&mut self.writing).await?;
        let batch = std::mem::take(&mut self.batch);
        self.writing = blocking::begin(move || gathered.append(&batch));
        Ok(())
    }

    /// Begins to send the part, which is full, and to gather the next.
    async fn send(&mut self) -> Result<(), BlobError> {
        self.write().await?;
        let Gathered { part, hasher } = (&mut self.writing).await?;
        let dir = self.dir.clone();
        self.writing = blocking::begin(move || {
            let part = PartFile::create(&dir)?;
            Ok(Gathered { part, hasher })
        });
        self.left = part_bytes(self.received);
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
