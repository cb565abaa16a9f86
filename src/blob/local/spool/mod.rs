//! The spool: content on its way in, hashed as it is written, gone on drop.
//!
//! Short content stays in memory. Longer content goes to a file of its own, batch
//! by batch: one batch is hashed and written on a blocking thread while the next
//! is gathered, so that memory stays flat and the disk slows the sender down. No
//! thread waits for the sender, so any number of slow ones can be served.

use std::path::PathBuf;

use bytes::Bytes;

use crate::blob::{BlobError, Limit, Proven};
use crate::blocking;
use crate::hash::BlobHash;

mod file;
mod outboard;
mod scratch;
mod spooled;
mod writer;
mod written;

pub(crate) use file::{
    SpoolFile, check_room, check_space, clear, clear_away, free_room, is_spooled, try_to_keep,
    try_to_write, try_to_write_in,
};
pub(crate) use outboard::OutboardWriter;
pub(crate) use scratch::{MEMORY_LIMIT, Scratch};
pub(crate) use spooled::{Content, SpooledBlob};

use writer::Writer;
use written::Written;

/// Content being received.
pub(super) struct Spool {
    scratch: Scratch,
    limit: Limit,
    received: u64,
    state: State,
}

enum State {
    Memory(Vec<u8>),
    File(Writer),
    /// A write failed; its error told why.
    Failed,
}

impl Spool {
    /// An empty spool. Nothing is on disk until the content outgrows memory.
    pub(super) fn new(scratch: Scratch, limit: Limit) -> Self {
        Self {
            scratch,
            limit,
            received: 0,
            state: State::Memory(Vec::new()),
        }
    }

    /// Goes on with content of `size` bytes in the file at `path`, which outlives this spool, as
    /// [`Partials::resume`](crate::blob::Partials::resume) says.
    pub(super) async fn resume(
        scratch: Scratch,
        path: PathBuf,
        size: u64,
        proven: Option<Proven>,
        limit: Limit,
    ) -> Result<Self, BlobError> {
        let with = scratch.clone();
        let resume = move |wanted: &_| Written::resume(with, path, size, proven, wanted);
        let written = blocking::run_while_wanted(resume).await?;
        Ok(Self {
            scratch,
            limit,
            received: written.size,
            state: State::File(Writer::over(written)),
        })
    }

    /// How many bytes are here.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next piece of the content; waits while the disk is behind.
    /// After an error every later call fails and the content is lost; of content that can be
    /// resumed, what was written stays.
    pub(super) async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let written = self.try_write(piece).await;
        if written.is_err() {
            self.state = State::Failed;
        }
        written
    }

    async fn try_write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.received += piece.len() as u64;
        self.limit.check(self.received)?;
        match &mut self.state {
            State::Memory(bytes) if self.received <= MEMORY_LIMIT => {
                bytes.extend_from_slice(&piece);
                Ok(())
            }
            State::Memory(bytes) => {
                let start = std::mem::take(bytes).into();
                let writer = Writer::start(self.scratch.clone(), vec![start, piece]);
                self.state = State::File(writer);
                Ok(())
            }
            State::File(writer) => writer.push(piece).await,
            State::Failed => Err(self.failed_before()),
        }
    }

    /// What is written of content that can be resumed, durable or not, and by what it can be
    /// proven. Some of what was taken may be on its way yet.
    pub(super) async fn written(&mut self) -> Result<Proven, BlobError> {
        match &mut self.state {
            State::Memory(bytes) => Ok(proven(bytes)),
            State::File(writer) => writer.written().await,
            State::Failed => Err(self.failed_before()),
        }
    }

    /// Makes durable what is here of content that can be resumed, and tells by what that can be
    /// proven when it is resumed. After an error nobody knows what came since the last time.
    pub(super) async fn sync(&mut self) -> Result<Proven, BlobError> {
        let synced = match &mut self.state {
            State::Memory(bytes) => Ok(proven(bytes)),
            State::File(writer) => writer.sync().await,
            State::Failed => Err(self.failed_before()),
        };
        if synced.is_err() {
            self.state = State::Failed;
        }
        synced
    }

    /// The content is complete. What can be resumed keeps its own file besides, for whoever
    /// has to finish it again.
    pub(super) async fn finish_copy(self) -> Result<SpooledBlob, BlobError> {
        match self.state {
            State::File(writer) => writer.finish(Written::finish_copy).await,
            _ => self.finish().await,
        }
    }

    /// The content is complete.
    pub(super) async fn finish(self) -> Result<SpooledBlob, BlobError> {
        match self.state {
            State::Memory(bytes) => Ok(SpooledBlob {
                hash: BlobHash::of(&bytes),
                size: self.received,
                content: Content::Memory(bytes),
            }),
            State::File(writer) => writer.finish(Written::finish).await,
            State::Failed => Err(self.failed_before()),
        }
    }

    fn failed_before(&self) -> BlobError {
        let source = std::io::Error::other("an earlier write failed");
        BlobError::io("go on writing to", &self.scratch.dir, source)
    }
}

fn proven(bytes: &[u8]) -> Proven {
    Proven {
        len: bytes.len() as u64,
        hash: BlobHash::of(bytes),
    }
}
