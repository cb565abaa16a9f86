//! The spool: content on its way in, hashed as it is written, gone on drop.
//!
//! Short content stays in memory. Longer content goes to a file of its own, batch
//! by batch: one batch is hashed and written on a blocking thread while the next
//! is gathered, so that memory stays flat and the disk slows the sender down. No
//! thread waits for the sender, so any number of slow ones can be served.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::BlobError;
use super::room::Room;
use crate::blocking::{self, Running};
use crate::disk::{Disk, Durability};
use crate::hash::BlobHash;
use crate::stored_file;

mod file;
mod outboard;

pub use file::{SpoolFile, check_room, check_space, clear, free_room, try_to_write};
pub use outboard::OutboardWriter;

/// Content up to this many bytes is spooled in memory.
pub const MEMORY_LIMIT: u64 = 64 * 1024;
/// A batch is full when it has taken its room, or has this many pieces: each, however short,
/// may hold on to a whole receive buffer.
const BATCH_PIECES: usize = 64;
/// How many bytes are gathered before the disk begins to write them.
const SYNC_AHEAD: u64 = 8 << 20;

/// Where and how much may be spooled.
#[derive(Clone)]
pub struct Options {
    /// The directory of the spool files, on the file system of the blobs.
    pub dir: PathBuf,
    /// How files are changed.
    pub disk: Arc<dyn Disk>,
    /// The longest content taken, in bytes.
    pub max_bytes: Option<u64>,
    /// The most content that is kept in all, in bytes: longer content never finds room.
    pub quota: Option<u64>,
    /// The free space, in bytes, below which nothing more is taken: the journal
    /// and the index need room to go on.
    pub reserve: u64,
    /// When a commit of what is spooled will be durable: content that is synced then goes
    /// to the disk while it comes in.
    pub durability: Durability,
}

/// Content being received.
pub struct Spool {
    options: Options,
    received: u64,
    state: State,
}

enum State {
    Memory(Vec<u8>),
    File(Writer),
    /// A write failed; its error told why.
    Failed,
}

/// The beginning of content that can be resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    /// Its length, in bytes.
    pub len: u64,
    /// Its hash.
    pub hash: BlobHash,
}

/// Content received whole and hashed, not yet a blob. Dropping it removes it.
pub struct SpooledBlob {
    hash: BlobHash,
    size: u64,
    content: Content,
}

/// Where spooled content is.
pub enum Content {
    /// In memory, at most [`MEMORY_LIMIT`] bytes.
    Memory(Vec<u8>),
    /// In a file, with its outboard in another one; written but not synced.
    File {
        /// The content.
        blob: SpoolFile,
        /// Its outboard.
        outboard: SpoolFile,
    },
}

impl Options {
    /// Fails where content of so many bytes is never taken: all that limits the length of one
    /// content alone.
    pub fn check_length(&self, bytes: u64) -> Result<(), BlobError> {
        if let Some(max) = self.max_bytes.filter(|max| bytes > *max) {
            return Err(BlobError::TooLarge(max));
        }
        match self.quota.filter(|quota| bytes > *quota) {
            Some(quota) => Err(BlobError::OverQuota(quota)),
            None => Ok(()),
        }
    }
}

impl Spool {
    /// An empty spool. Nothing is on disk until the content outgrows memory.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            received: 0,
            state: State::Memory(Vec::new()),
        }
    }

    /// Goes on with content that will have `size` bytes in the file at `path`, which need
    /// not be there yet and outlives this spool, so that it can be resumed again. What is
    /// `proven` of it is read once, to hash it, and whatever is behind that is cut off; where it
    /// is no longer that, it is [`BlobError::Damaged`]. Where nothing is proven, all that the
    /// file holds is taken, and its hash has to show at the end whether it was right.
    pub async fn resume(
        options: Options,
        path: PathBuf,
        size: u64,
        proven: Option<Proven>,
    ) -> Result<Self, BlobError> {
        let with = options.clone();
        let resume = move || Written::resume(with, path, size, proven);
        let written = blocking::run(resume).await?;
        Ok(Self {
            options,
            received: written.size,
            state: State::File(Writer::over(written)),
        })
    }

    /// How many bytes are here.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next piece of the content; waits while the disk is behind.
    /// After an error every later call fails and the content is lost; of content that can be
    /// resumed, what was written stays.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let written = self.try_write(piece).await;
        if written.is_err() {
            self.state = State::Failed;
        }
        written
    }

    async fn try_write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.received += piece.len() as u64;
        self.options.check_length(self.received)?;
        match &mut self.state {
            State::Memory(bytes) if self.received <= MEMORY_LIMIT => {
                bytes.extend_from_slice(&piece);
                Ok(())
            }
            State::Memory(bytes) => {
                let start = std::mem::take(bytes).into();
                let writer = Writer::start(self.options.clone(), vec![start, piece]);
                self.state = State::File(writer);
                Ok(())
            }
            State::File(writer) => writer.push(piece).await,
            State::Failed => Err(self.failed_before()),
        }
    }

    /// What is written of content that can be resumed, durable or not, and by what it can be
    /// proven. Some of what was taken may be on its way yet.
    pub async fn written(&mut self) -> Result<Proven, BlobError> {
        match &mut self.state {
            State::Memory(bytes) => Ok(Proven {
                len: bytes.len() as u64,
                hash: BlobHash::of(bytes),
            }),
            State::File(writer) => writer.written().await,
            State::Failed => Err(self.failed_before()),
        }
    }

    /// Makes durable what is here of content that can be resumed, and tells by what that can be
    /// proven when it is resumed. After an error nobody knows what came since the last time.
    pub async fn sync(&mut self) -> Result<Proven, BlobError> {
        let synced = match &mut self.state {
            State::Memory(bytes) => Ok(Proven {
                len: bytes.len() as u64,
                hash: BlobHash::of(bytes),
            }),
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
    pub async fn finish_copy(self) -> Result<SpooledBlob, BlobError> {
        match self.state {
            State::File(writer) => writer.finish(Written::finish_copy).await,
            _ => self.finish().await,
        }
    }

    /// The content is complete.
    pub async fn finish(self) -> Result<SpooledBlob, BlobError> {
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
        BlobError::io("go on writing to", &self.options.dir, source)
    }
}

/// The sender's side of a spool file.
struct Writer {
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
}

impl Writer {
    fn start(options: Options, pieces: Vec<Bytes>) -> Self {
        let batch = Batch { pieces, room: None };
        let writing = blocking::begin(move || Written::start(options)?.append(&batch));
        Self {
            batch: Batch::default(),
            writing,
        }
    }

    fn over(written: Written) -> Self {
        Self {
            batch: Batch::default(),
            writing: blocking::begin(|| Ok(written)),
        }
    }

    async fn push(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.batch.push(piece);
        if self.batch.is_full() {
            // Waits before it changes anything: a caller may drop this future.
            let written = (&mut self.writing).await?;
            let batch = std::mem::take(&mut self.batch);
            self.writing = blocking::begin(move || written.append(&batch));
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<Proven, BlobError> {
        let written = (&mut self.writing).await?;
        let batch = std::mem::take(&mut self.batch);
        let synced = blocking::run(move || written.append(&batch)?.synced()).await?;
        let proven = synced.proven();
        self.writing = blocking::begin(|| Ok(synced));
        Ok(proven)
    }

    async fn written(&mut self) -> Result<Proven, BlobError> {
        let written = (&mut self.writing).await?;
        let proven = written.proven();
        self.writing = blocking::begin(|| Ok(written));
        Ok(proven)
    }

    async fn finish(
        self,
        finish: fn(Written) -> Result<SpooledBlob, BlobError>,
    ) -> Result<SpooledBlob, BlobError> {
        let Self { batch, writing } = self;
        let written = writing.await?;
        blocking::run(move || finish(written.append(&batch)?)).await
    }
}

/// What a spool file has taken so far.
struct Written {
    options: Options,
    file: SpoolFile,
    outboard: OutboardWriter,
    size: u64,
    /// How many bytes the disk was asked to write.
    sent_to_disk: u64,
}

impl Written {
    fn start(options: Options) -> Result<Self, BlobError> {
        check_space(&options)?;
        let file = SpoolFile::create(&options)?;
        match OutboardWriter::create(&options) {
            Ok(outboard) => Ok(Self {
                options,
                file,
                outboard,
                size: 0,
                sent_to_disk: 0,
            }),
            Err(error) => {
                file.discard();
                Err(error)
            }
        }
    }

    /// Goes on after what the file at `path` holds, of content of `size` bytes. Blocks.
    fn resume(
        options: Options,
        path: PathBuf,
        size: u64,
        proven: Option<Proven>,
    ) -> Result<Self, BlobError> {
        let file = SpoolFile::resume(&options, path)?;
        let mut outboard = OutboardWriter::create(&options)?;
        let unreadable = |e| BlobError::io("read", file.path(), e);
        let content = stored_file::open(file.path()).map_err(unreadable)?;
        let counts = proven.map_or(u64::MAX, |it| it.len);
        let here = outboard.update_from(&content, file.path(), 0..counts)?;
        if let Some(Proven { len, hash }) = proven {
            if here != len || outboard.hash_so_far() != hash {
                return Err(BlobError::other_hash(hash));
            }
            let cut = file.file().set_len(len);
            cut.map_err(|e| BlobError::io("cut", file.path(), e))?;
        }
        check_room(&options, size.saturating_sub(here))?;
        Ok(Self {
            options,
            file,
            outboard,
            size: here,
            sent_to_disk: 0,
        })
    }

    /// Hashes and writes a batch; where that fails the files are discarded. Blocks.
    fn append(mut self, batch: &Batch) -> Result<Self, BlobError> {
        let bytes = batch.pieces.iter().map(|it| it.len() as u64).sum();
        let mut pieces = batch.pieces.iter();
        let room = check_room(&self.options, bytes);
        match room.and_then(|()| pieces.try_for_each(|piece| self.append_piece(piece))) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.file.discard();
                self.outboard.discard();
                Err(error)
            }
        }
    }

    fn proven(&self) -> Proven {
        Proven {
            len: self.size,
            hash: self.outboard.hash_so_far(),
        }
    }

    fn synced(self) -> Result<Self, BlobError> {
        let path = self.file.path();
        let synced = self.file.file().sync();
        synced.map_err(|e| BlobError::io("sync", path, e))?;
        Ok(self)
    }

    /// The content is complete, and its file stays. Blocks.
    fn finish_copy(self) -> Result<SpooledBlob, BlobError> {
        let (hash, outboard) = self.outboard.finish()?;
        let path = self.file.path();
        let content = if self.size <= MEMORY_LIMIT {
            outboard.discard();
            let bytes = stored_file::read(path, MEMORY_LIMIT);
            let bytes = bytes.map_err(|e| BlobError::io("read", path, e))?;
            if BlobHash::of(&bytes) != hash {
                return Err(BlobError::other_hash(hash));
            }
            Content::Memory(bytes)
        } else {
            let blob = self.file.link(&self.options)?;
            Content::File { blob, outboard }
        };
        Ok(SpooledBlob {
            hash,
            size: self.size,
            content,
        })
    }

    /// The content is complete. Blocks.
    fn finish(self) -> Result<SpooledBlob, BlobError> {
        match self.outboard.finish() {
            Ok((hash, outboard)) => Ok(SpooledBlob {
                hash,
                size: self.size,
                content: Content::File {
                    blob: self.file,
                    outboard,
                },
            }),
            Err(error) => {
                self.file.discard();
                Err(error)
            }
        }
    }

    fn append_piece(&mut self, piece: &[u8]) -> Result<(), BlobError> {
        self.outboard.update(piece)?;
        self.file.write_all_at(piece, self.size)?;
        self.size += piece.len() as u64;
        self.begin_sync();
        Ok(())
    }

    fn begin_sync(&mut self) {
        let due = self.size - self.sent_to_disk >= SYNC_AHEAD;
        if due && self.options.durability == Durability::Always {
            self.file.file().begin_sync(self.sent_to_disk..self.size);
            self.sent_to_disk = self.size;
        }
    }
}

impl SpooledBlob {
    /// The hash of the content.
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// The length of the content, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether the content is in memory, as short content is.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.content, Content::Memory(_))
    }

    /// Removes the content now; a drop does so a little later. Blocks.
    pub fn discard(self) {
        if let Content::File { blob, outboard } = self.content {
            blob.discard();
            outboard.discard();
        }
    }

    /// The content, for a backend to keep.
    pub fn into_content(self) -> Content {
        self.content
    }
}
