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
use futures_util::stream::BoxStream;
use tokio::sync::Mutex;

use super::super::BlobError;
use super::listing;
use super::shards::{shard_dir, shard_path};
use super::spool::{self, OutboardWriter, SpoolFile};
use crate::blocking::{self, Wanted};
use crate::hash::BlobHash;
use crate::outboard::{Tree, check_outboard};
use crate::stored_file;

/// The directory of the outboards, under the storage directory.
const DIR: &str = "outboards";
/// What a directory is called that is made on trial.
const TRIAL: &str = ".trial-directory";
/// How many outboards are derived at once. Each takes as long as reading its blob.
const AT_ONCE: usize = 8;

/// The outboards of a storage directory.
pub(super) struct Outboards {
    dir: PathBuf,
    spool: spool::Scratch,
    /// Whoever derives an outboard holds one; the same blob always has the same one.
    turns: [Arc<Mutex<()>>; AT_ONCE],
}

impl Outboards {
    /// The outboards under a storage directory. Blocks.
    pub(super) fn at(dir: &Path, spool: spool::Scratch) -> Result<Self, BlobError> {
        let dir = dir.join(DIR);
        let outboards = Self {
            dir,
            spool,
            turns: Default::default(),
        };
        outboards.create(&outboards.dir)?;
        Ok(outboards)
    }

    /// Opens the outboard of a blob; what is no file counts for none. Blocks.
    pub(super) fn open(&self, hash: &BlobHash) -> io::Result<File> {
        stored_file::open(&self.path(hash))
    }

    /// Whether outboards can be derived: not where nothing is written.
    pub(super) fn can_be_derived(&self) -> bool {
        !self.spool.disk.is_frozen()
    }

    /// Derives the outboard of a blob of `size` bytes from its open file, unless somebody else has
    /// done so since `unusable` was opened. Of a file that has become longer no more is read.
    pub(super) async fn derive(
        self: &Arc<Self>,
        hash: BlobHash,
        (blob, size): (Arc<File>, u64),
        unusable: Option<File>,
    ) -> Result<File, BlobError> {
        let [first, ..] = *hash.as_bytes();
        let turn = self.turns.get(usize::from(first) % AT_ONCE);
        let turn = OptionFuture::from(turn.map(|turn| Arc::clone(turn).lock_owned())).await;
        let outboards = Arc::clone(self);
        blocking::run_for_others(move |wanted| {
            // Held here, since who waits for the result may give up before.
            let _turn = turn;
            match outboards.open(&hash) {
                Ok(file) if !unusable.is_some_and(|it| is_same(&it, &file)) => Ok(file),
                _ => outboards.derive_now(hash, &blob, size, wanted),
            }
        })
        .await
    }

    fn derive_now(
        &self,
        hash: BlobHash,
        blob: &File,
        size: u64,
        wanted: &Wanted,
    ) -> Result<File, BlobError> {
        spool::check_space(&self.spool)?;
        let mut writer = OutboardWriter::create(&self.spool)?;
        // One more, so that what has become longer has another hash.
        let bytes = 0..size.saturating_add(1);
        writer.update_from(blob, hash.to_string().as_ref(), bytes, wanted)?;
        let (found, file) = writer.finish()?;
        if found != hash {
            file.discard();
            return Err(BlobError::other_hash(hash));
        }
        tracing::info!(%hash, "an outboard was derived from its blob");
        let failed = |e| BlobError::io("look at", hash.to_string(), e);
        // While nobody else can remove it.
        let outboard = File::open(file.path()).map_err(failed)?;
        if let Err(error) = self.keep(&hash, file) {
            if !self.path(&hash).is_dir() {
                return Err(error);
            }
            tracing::warn!(%hash, %error, "a directory is in the place of an outboard");
        }
        // Whoever deletes a blob removes its outboard behind it, so that one of both does.
        if blob.metadata().map_err(failed)?.nlink() == 0 {
            self.remove(&hash)?;
        }
        Ok(outboard)
    }

    /// Moves an outboard into place, not synced. Blocks.
    pub(super) fn keep(&self, hash: &BlobHash, file: SpoolFile) -> Result<(), BlobError> {
        let path = self.path(hash);
        // Few nodes need all 256 shards, and none needs them soon.
        if let Some(shard) = path.parent().filter(|shard| !shard.is_dir()) {
            self.create(shard)?;
        }
        file.rename(&path)
    }

    /// Whether the outboard of a blob of `size` bytes is right or not there. Blocks.
    pub(super) fn is_sound(&self, hash: BlobHash, size: u64) -> bool {
        let tree = Tree::new(size);
        let checked = self.open(&hash).and_then(|file| {
            if file.metadata()?.len() != tree.outboard_len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            check_outboard(hash, tree, |buffer, offset| {
                file.read_exact_at(buffer, offset)
            })
        });
        checked.map_or_else(|e| is_absence(&e), |()| true)
    }

    /// Opens the outboard of a blob of `size` bytes if all of it is right. Blocks.
    pub(super) fn sound(&self, hash: BlobHash, size: u64) -> Option<File> {
        let tree = Tree::new(size);
        let file = self.open(&hash).ok()?;
        let is_as_long = file.metadata().ok()?.len() == tree.outboard_len();
        let read = |buffer: &mut [u8], at| file.read_exact_at(buffer, at);
        let is_right = is_as_long && check_outboard(hash, tree, read).is_ok();
        is_right.then_some(file)
    }

    /// Begins one that is kept nowhere, of a blob of `size` bytes. Blocks.
    pub(super) fn write_one(&self, size: u64) -> Result<OutboardWriter, BlobError> {
        spool::check_room(&self.spool, Tree::new(size).outboard_len())?;
        OutboardWriter::create(&self.spool)
    }

    /// The blobs of outboards here that are not in `blobs`.
    pub(super) fn without_blob(
        &self,
        blobs: &Path,
    ) -> BoxStream<'static, Result<BlobHash, BlobError>> {
        listing::without_blob(self.dir.clone(), blobs.to_owned())
    }

    /// Every path among the outboards that is none.
    pub(super) fn strays(&self) -> BoxStream<'static, Result<PathBuf, BlobError>> {
        listing::strays(self.dir.clone())
    }

    /// Removes the outboard of a blob, if there is one. Blocks.
    pub(super) fn remove(&self, hash: &BlobHash) -> Result<(), BlobError> {
        let path = self.path(hash);
        match self.spool.disk.remove_file(&path) {
            Err(e) if !is_absence(&e) => Err(BlobError::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    /// The directory that the next outboard of such a shard needs. Blocks.
    pub(super) fn needed(&self, shard: u8) -> PathBuf {
        let shard = shard_dir(&self.dir, shard);
        if shard.is_dir() {
            shard
        } else {
            self.dir.clone()
        }
    }

    /// Fails as the next outboard would fail that needs a directory, or as one of `unmade` did.
    /// Blocks.
    pub(super) fn try_to_make(&self, unmade: &[PathBuf]) -> Result<(), BlobError> {
        let trial = self.dir.join(TRIAL);
        for dir in unmade {
            if dir.parent() == Some(&self.dir) && *dir != trial {
                self.create(dir)?;
            }
        }
        self.create(&trial)?;
        let removed = std::fs::remove_dir(&trial);
        removed.map_err(|e| BlobError::io("remove", trial, e))
    }

    /// Makes a directory. Whatever else stands in its place gives way: nothing here is needed,
    /// and all of it can be derived.
    fn create(&self, dir: &Path) -> Result<(), BlobError> {
        let disk = &self.spool.disk;
        let created = match disk.create_dir(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                tracing::warn!(path = %dir.display(),
                    "something else was in the place of a directory of outboards; it is removed");
                disk.remove_file(dir).and_then(|()| disk.create_dir(dir))
            }
            created => created,
        };
        created.map_err(|e| BlobError::io("create", dir, e))
    }

    fn path(&self, hash: &BlobHash) -> PathBuf {
        shard_path(&self.dir, hash)
    }
}

/// Whether an error says that there is no such file, nor perhaps a directory for it.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Whether both are the same file, as far as can be told.
fn is_same(one: &File, other: &File) -> bool {
    match (one.metadata(), other.metadata()) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => true,
    }
}
