//! The spool: content on its way in, hashed as it is written, gone on drop.
//!
//! Short content stays in memory; longer content moves to a file of its own,
//! written and hashed on a blocking thread that the sender feeds through a
//! bounded channel, so that memory stays flat and the disk slows the sender down.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::BlobError;
use crate::disk::{Disk, DiskFile};
use crate::hash::BlobHash;

/// Content up to this many bytes is spooled in memory.
pub const MEMORY_LIMIT: u64 = 64 * 1024;
/// How many pieces may wait for the writing thread.
const QUEUE: usize = 4;
/// How many bytes are written between two looks at the free space.
const SPACE_CHECK: u64 = 16 << 20;

/// Where and how much may be spooled.
#[derive(Clone)]
pub struct Options {
    /// The directory of the spool files, on the file system of the blobs.
    pub dir: PathBuf,
    /// How files are changed.
    pub disk: Arc<dyn Disk>,
    /// The longest content taken, in bytes.
    pub max_bytes: Option<u64>,
    /// The free space, in bytes, below which nothing more is taken: the journal
    /// and the index need room to go on.
    pub reserve: u64,
}

/// Content being received.
pub struct Spool {
    options: Options,
    received: u64,
    state: State,
}

enum State {
    Memory(Vec<Bytes>),
    File(Writer),
}

/// The sender's side of the writing thread.
struct Writer {
    pieces: mpsc::Sender<Piece>,
    thread: JoinHandle<Result<SpooledBlob, BlobError>>,
}

enum Piece {
    Bytes(Bytes),
    /// All was sent. A channel that closes without it was abandoned.
    End,
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
    /// In a file, written but not synced.
    File(SpoolFile),
}

/// A spool file; removed on drop unless it was renamed away.
pub struct SpoolFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    kept: bool,
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

    /// Takes the next piece of the content; waits while the disk is behind.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.received += piece.len() as u64;
        if let Some(max) = self.options.max_bytes.filter(|max| self.received > *max) {
            return Err(BlobError::TooLarge(max));
        }
        match &mut self.state {
            State::Memory(pieces) => {
                pieces.push(piece);
                if self.received > MEMORY_LIMIT {
                    let pieces = std::mem::take(pieces);
                    self.state = State::File(Writer::start(self.options.clone()));
                    self.send_all(pieces).await?;
                }
                Ok(())
            }
            State::File(_) => self.send_all(vec![piece]).await,
        }
    }

    /// The content is complete.
    pub async fn finish(self) -> Result<SpooledBlob, BlobError> {
        match self.state {
            State::Memory(pieces) => {
                let bytes = pieces.concat();
                Ok(SpooledBlob {
                    hash: BlobHash::of(&bytes),
                    size: self.received,
                    content: Content::Memory(bytes),
                })
            }
            State::File(writer) => {
                // A thread that has failed already tells why when it is joined.
                let _ = writer.pieces.send(Piece::End).await;
                join(writer.thread).await
            }
        }
    }

    async fn send_all(&mut self, pieces: Vec<Bytes>) -> Result<(), BlobError> {
        let State::File(writer) = &mut self.state else {
            return Ok(());
        };
        for piece in pieces {
            if writer.pieces.send(Piece::Bytes(piece)).await.is_err() {
                return match join(&mut writer.thread).await {
                    Err(error) => Err(error),
                    Ok(_) => Err(abandoned(&self.options)),
                };
            }
        }
        Ok(())
    }
}

async fn join<T>(thread: T) -> Result<SpooledBlob, BlobError>
where
    T: Future<Output = Result<Result<SpooledBlob, BlobError>, tokio::task::JoinError>>,
{
    thread
        .await
        .unwrap_or_else(|panic| Err(BlobError::io("write", "spool", io::Error::other(panic))))
}

fn abandoned(options: &Options) -> BlobError {
    BlobError::io(
        "write",
        &options.dir,
        io::Error::other("the spool was abandoned"),
    )
}

impl Writer {
    fn start(options: Options) -> Self {
        let (pieces, received) = mpsc::channel(QUEUE);
        let thread = tokio::task::spawn_blocking(move || write_pieces(&options, received));
        Self { pieces, thread }
    }
}

/// The writing thread: hashes and writes what arrives until the end.
fn write_pieces(
    options: &Options,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<SpooledBlob, BlobError> {
    let file = SpoolFile::create(options)?;
    let mut hasher = blake3::Hasher::new();
    let (mut size, mut checked_at) = (0, 0);
    check_space(options)?;
    while let Some(piece) = pieces.blocking_recv() {
        let Piece::Bytes(bytes) = piece else {
            return Ok(SpooledBlob {
                hash: hasher.finalize().into(),
                size,
                content: Content::File(file),
            });
        };
        if size - checked_at >= SPACE_CHECK {
            check_space(options)?;
            checked_at = size;
        }
        hasher.update(&bytes);
        file.file
            .write_all_at(&bytes, size)
            .map_err(|e| BlobError::io("write", &file.path, e))?;
        size += bytes.len() as u64;
    }
    Err(abandoned(options))
}

/// Makes the spool directory if it is missing and removes what interrupted
/// uploads left in it. Nobody may be spooling there. Blocks.
pub fn clear(options: &Options) -> Result<(), BlobError> {
    let Options { dir, disk, .. } = options;
    disk.create_dir(dir)
        .map_err(|e| BlobError::io("create", dir, e))?;
    let entries = std::fs::read_dir(dir).map_err(|e| BlobError::io("list", dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| BlobError::io("list", dir, e))?.path();
        disk.remove_file(&path)
            .map_err(|e| BlobError::io("remove", path, e))?;
    }
    Ok(())
}

/// Fails when less than the reserve is free. Blocks.
pub fn check_space(options: &Options) -> Result<(), BlobError> {
    let space = rustix::fs::statvfs(&options.dir)
        .map_err(|e| BlobError::io("look at the free space of", &options.dir, e.into()))?;
    if space.f_bavail.saturating_mul(space.f_frsize) < options.reserve {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        return Err(BlobError::io("write", &options.dir, full));
    }
    Ok(())
}

impl SpoolFile {
    /// An empty file in the spool directory. Blocks.
    pub fn create(options: &Options) -> Result<Self, BlobError> {
        let path = options.dir.join(Uuid::new_v4().to_string());
        let file = options
            .disk
            .create(&path)
            .map_err(|e| BlobError::io("create", &path, e))?;
        Ok(Self {
            disk: Arc::clone(&options.disk),
            path,
            file,
            kept: false,
        })
    }

    /// The open file.
    pub fn file(&self) -> &dyn DiskFile {
        &*self.file
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the file to `to`, from where its drop no longer removes it; where
    /// that fails the file is removed. Blocks.
    pub fn rename(mut self, to: &Path) -> Result<(), BlobError> {
        if let Err(e) = self.disk.rename(&self.path, to) {
            self.discard();
            return Err(BlobError::io("rename to", to, e));
        }
        self.kept = true;
        Ok(())
    }

    /// Removes the file now; a drop does so a little later. Blocks.
    pub fn discard(mut self) {
        self.kept = true;
        remove(&*self.disk, &self.path);
    }
}

fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "spool file not removed");
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (disk, path) = (Arc::clone(&self.disk), std::mem::take(&mut self.path));
        let remove = move || remove(&*disk, &path);
        // Unlinking gigabytes takes long; keep it off the async threads.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
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

    /// Removes the content now; a drop does so a little later. Blocks.
    pub fn discard(self) {
        if let Content::File(file) = self.content {
            file.discard();
        }
    }

    /// The content, for a backend to keep.
    pub fn into_content(self) -> Content {
        self.content
    }
}
