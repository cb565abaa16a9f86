//! Gathering content in parts as it comes.
//!
//! A part is gathered in a file of scratch that has no name, so that nothing is left of it after a
//! crash, and hashed as it is written.

use std::mem::take;
use std::path::PathBuf;

use bytes::Bytes;

use super::multipart::part_bytes;
use super::part_file::PartFile;
use crate::blob::BlobError;
use crate::blob::batch::Batch;
use crate::blocking::{self, Running};
use crate::outboard::PieceHasher;

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

/// Content that is gathered. Not to be gone on with where anything of it fails, or is dropped.
pub(super) struct Gathering {
    dir: PathBuf,
    /// How many bytes have come.
    received: u64,
    /// How many more belong to the part that is gathered.
    left: u64,
    batch: Batch,
    /// The part that is gathered, while the batch before is written.
    writing: Running<Result<Gathered, BlobError>>,
}

impl Gathering {
    /// Nothing yet, in a directory.
    pub(super) fn new(dir: PathBuf) -> Self {
        let create_in = dir.clone();
        let writing = blocking::begin(move || {
            Ok(Gathered {
                part: PartFile::create(&create_in)?,
                hasher: PieceHasher::default(),
            })
        });
        Self {
            dir,
            received: 0,
            left: part_bytes(0),
            batch: Batch::default(),
            writing,
        }
    }

    /// Goes on behind so many bytes, with the last part as it was.
    pub(super) fn behind(received: u64, gathered: Gathered, dir: PathBuf) -> Self {
        let len = gathered.part.len;
        Self {
            dir,
            received,
            left: part_bytes(received - len) - len,
            batch: Batch::default(),
            writing: blocking::begin(move || Ok(gathered)),
        }
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether the part is full, so that nothing is taken before [`Gathering::next_part`].
    pub(super) fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Takes from a piece what belongs to the part.
    pub(super) async fn take(&mut self, piece: &mut Bytes) -> Result<(), BlobError> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let taken = piece.split_to(room.min(piece.len()));
        self.left -= taken.len() as u64;
        self.received += taken.len() as u64;
        self.batch.push(taken);
        if self.batch.is_full() {
            self.write().await?;
        }
        Ok(())
    }

    /// Begins to write the batch.
    pub(super) async fn write(&mut self) -> Result<(), BlobError> {
        let gathered = (&mut self.writing).await?;
        let batch = take(&mut self.batch);
        self.writing = blocking::begin(move || gathered.append(&batch));
        Ok(())
    }

    /// The part, which is full, with what `look` sees of all that has come; begins to gather the
    /// next one.
    pub(super) async fn next_part<T>(
        &mut self,
        look: impl FnOnce(&Gathered) -> T,
    ) -> Result<(PartFile, T), BlobError> {
        self.write().await?;
        let gathered = (&mut self.writing).await?;
        let seen = look(&gathered);
        let Gathered { part, hasher } = gathered;
        let dir = self.dir.clone();
        self.writing = blocking::begin(move || {
            let part = PartFile::create(&dir)?;
            Ok(Gathered { part, hasher })
        });
        self.left = part_bytes(self.received);
        Ok((part, seen))
    }

    /// Looks at what was written, on a thread where that may block, and goes on with it.
    pub(super) async fn look<T: Send + 'static>(
        &mut self,
        look: impl FnOnce(&Gathered) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let gathered = (&mut self.writing).await?;
        let looked = blocking::run(move || {
            let seen = look(&gathered)?;
            Ok::<_, BlobError>((gathered, seen))
        });
        let (gathered, seen) = looked.await?;
        self.writing = blocking::begin(move || Ok(gathered));
        Ok(seen)
    }

    /// All of it has come.
    pub(super) async fn finish(mut self) -> Result<Gathered, BlobError> {
        self.write().await?;
        self.writing.await
    }
}
