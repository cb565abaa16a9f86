//! The outboards of blobs that are files.
//!
//! One is `outboards/<first two hex digits>/<64 hex digits>` under the storage directory.
//! It is never synced and never trusted: whoever reads it checks it against the hash, and
//! one that is missing or damaged is derived from its blob again.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::OptionFuture;
use tokio::sync::Mutex;

use super::super::spool::{self, OutboardWriter, SpoolFile};
use super::super::{BlobError, run_blocking};
use super::shards::{create_shards, shard_path};
use crate::hash::BlobHash;

/// The directory of the outboards, under the storage directory.
const DIR: &str = "outboards";
/// How many outboards are derived at once. Each takes as long as reading its blob.
const AT_ONCE: usize = 8;
/// How much of a blob is read at once, in bytes.
const PIECE: usize = 1024 * 1024;

/// The outboards of a storage directory.
pub(super) struct Outboards {
    dir: PathBuf,
    spool: spool::Options,
    /// Whoever derives an outboard holds one; the same blob always has the same one.
    turns: [Arc<Mutex<()>>; AT_ONCE],
}

impl Outboards {
    /// The outboards under a storage directory; makes what directories are missing. Blocks.
    pub(super) fn at(dir: &Path, spool: spool::Options) -> Result<Self, BlobError> {
        let dir = dir.join(DIR);
        create_shards(&*spool.disk, &dir)?;
        Ok(Self {
            dir,
            spool,
            turns: Default::default(),
        })
    }

    /// Opens the outboard of a blob. Blocks.
    pub(super) fn open(&self, hash: &BlobHash) -> io::Result<File> {
        File::open(self.path(hash))
    }

    /// Derives the outboard of a blob from its open file, unless somebody else has done so
    /// since `unusable` was opened.
    pub(super) async fn derive(
        self: &Arc<Self>,
        hash: BlobHash,
        blob: Arc<File>,
        unusable: Option<File>,
    ) -> Result<File, BlobError> {
        let [first, ..] = *hash.as_bytes();
        let turn = self.turns.get(usize::from(first) % AT_ONCE);
        let turn = OptionFuture::from(turn.map(|turn| Arc::clone(turn).lock_owned())).await;
        let outboards = Arc::clone(self);
        run_blocking(move || {
            // Held here, since who waits for the result may give up before.
            let _turn = turn;
            match outboards.open(&hash) {
                Ok(file) if !unusable.is_some_and(|it| is_same(&it, &file)) => Ok(file),
                _ => outboards.derive_now(hash, &blob),
            }
        })
        .await
    }

    fn derive_now(&self, hash: BlobHash, blob: &File) -> Result<File, BlobError> {
        spool::check_space(&self.spool)?;
        let (found, file) = self.write(hash, blob)?;
        if found != hash {
            file.discard();
            return Err(BlobError::other_hash(hash));
        }
        tracing::info!(%hash, "an outboard was derived from its blob");
        let path = self.path(&hash);
        let failed = |e| BlobError::io("open", &path, e);
        // Before others can remove it.
        let outboard = File::open(file.path()).map_err(failed)?;
        file.rename(&path)?;
        // Whoever deletes a blob removes its outboard after it, so that one of both sees this.
        if blob.metadata().map_err(failed)?.nlink() == 0 {
            self.remove(&hash)?;
        }
        Ok(outboard)
    }

    /// Hashes a blob and writes its outboard to a spool file.
    fn write(&self, hash: BlobHash, blob: &File) -> Result<(BlobHash, SpoolFile), BlobError> {
        let mut writer = OutboardWriter::create(&self.spool)?;
        let (mut piece, mut offset) = (vec![0; PIECE], 0);
        loop {
            match blob.read_at(&mut piece, offset) {
                Ok(0) => return writer.finish(),
                Ok(read) => {
                    offset += read as u64;
                    writer.update(piece.get(..read).unwrap_or_default())?;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(BlobError::io("read", hash.to_string(), e)),
            }
        }
    }

    /// Removes the outboard of a blob, if there is one. Blocks.
    pub(super) fn remove(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let path = self.path(hash);
        let removed = self.spool.disk.remove_file(&path);
        removed.map_err(|e| BlobError::io("remove", path, e))
    }

    fn path(&self, hash: &BlobHash) -> PathBuf {
        shard_path(&self.dir, hash)
    }
}

/// Whether both are the same file, as far as can be told.
fn is_same(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => true,
    }
}
