//! The sender's side of a spool file: one batch is gathered while another is written.

use bytes::Bytes;

use super::scratch::Scratch;
use super::spooled::SpooledBlob;
use super::written::Written;
use crate::blob::batch::Batch;
use crate::blob::{BlobError, Proven};
use crate::blocking::{self, Running};

/// The sender's side of a spool file.
pub(super) struct Writer {
    batch: Batch,
    /// The batch before, being written.
    writing: Running<Result<Written, BlobError>>,
}

/// Hashes and writes a batch, and gives its room back. Blocks.
fn append(batch: Batch, written: Written) -> Result<Written, BlobError> {
    let appended = written.append(batch.pieces());
    drop(batch);
    appended
}

impl Writer {
    /// Begins a spool file with these pieces.
    pub(super) fn start(scratch: Scratch, pieces: Vec<Bytes>) -> Self {
        let batch = Batch::of(pieces);
        let writing = blocking::begin(move || append(batch, Written::start(scratch)?));
        Self {
            batch: Batch::default(),
            writing,
        }
    }

    /// Goes on with what is written.
    pub(super) fn over(written: Written) -> Self {
        Self {
            batch: Batch::default(),
            writing: blocking::begin(|| Ok(written)),
        }
    }

    /// Takes the next piece.
    pub(super) async fn push(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.batch.push(piece);
        if self.batch.is_full() {
            // Waits before it changes anything: a caller may drop this future.
            let written = (&mut self.writing).await?;
            let batch = std::mem::take(&mut self.batch);
            self.writing = blocking::begin(move || append(batch, written));
        }
        Ok(())
    }

    /// Makes durable all that was taken.
    pub(super) async fn sync(&mut self) -> Result<Proven, BlobError> {
        let written = (&mut self.writing).await?;
        let batch = std::mem::take(&mut self.batch);
        let synced = blocking::run(move || append(batch, written)?.synced()).await?;
        let proven = synced.proven();
        self.writing = blocking::begin(|| Ok(synced));
        Ok(proven)
    }

    /// What is written, but for the last of it.
    pub(super) async fn written(&mut self) -> Result<Proven, BlobError> {
        let written = (&mut self.writing).await?;
        let proven = written.proven();
        self.writing = blocking::begin(|| Ok(written));
        Ok(proven)
    }

    /// Writes the rest, and ends as `finish` does.
    pub(super) async fn finish(
        self,
        finish: fn(Written) -> Result<SpooledBlob, BlobError>,
    ) -> Result<SpooledBlob, BlobError> {
        let Self { batch, writing } = self;
        let written = writing.await?;
        blocking::run(move || finish(append(batch, written)?)).await
    }
}
