//! The sender's side of a spool file: one batch is gathered while another is written.

use bytes::Bytes;

use super::scratch::Scratch;
use super::spooled::SpooledBlob;
use super::written::Written;
use crate::blob::room::Room;
use crate::blob::{BlobError, Proven};
use crate::blocking::{self, Running};

/// A batch is full when it has taken its room, or has this many pieces: each, however short,
/// may hold on to a whole receive buffer.
const BATCH_PIECES: usize = 64;

/// The sender's side of a spool file.
pub(super) struct Writer {
    batch: Batch,
    /// The batch before, being written.
    writing: Running<Result<Written, BlobError>>,
}

/// Pieces that are written together.
#[derive(Default)]
struct Batch {
    pieces: Vec<Bytes>,
    /// Taken with the first piece.
    room: Option<Room>,
}

impl Batch {
    fn push(&mut self, piece: Bytes) {
        self.room.get_or_insert_with(|| Room::take(u64::MAX));
        self.pieces.push(piece);
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.pieces.iter().map(Bytes::len).sum();
        let room = self.room.as_ref().map_or(0, Room::bytes);
        bytes >= room || self.pieces.len() >= BATCH_PIECES
    }

    /// Hashes and writes it, and gives its room back. Blocks.
    fn append_to(self, written: Written) -> Result<Written, BlobError> {
        written.append(&self.pieces)
    }
}

impl Writer {
    /// Begins a spool file with these pieces.
    pub(super) fn start(scratch: Scratch, pieces: Vec<Bytes>) -> Self {
        let batch = Batch { pieces, room: None };
        let writing = blocking::begin(move || batch.append_to(Written::start(scratch)?));
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
            self.writing = blocking::begin(move || batch.append_to(written));
        }
        Ok(())
    }

    /// Makes durable all that was taken.
    pub(super) async fn sync(&mut self) -> Result<Proven, BlobError> {
        let written = (&mut self.writing).await?;
        let batch = std::mem::take(&mut self.batch);
        let synced = blocking::run(move || batch.append_to(written)?.synced()).await?;
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
        blocking::run(move || finish(batch.append_to(written)?)).await
    }
}
