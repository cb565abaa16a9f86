//! What the blob directories hold.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use super::super::BlobError;
use super::packs::Packs;
use super::shards::{shard_dir, shard_name, shard_path};
use crate::blocking;
use crate::hash::BlobHash;

/// The size of the blob at `path`, in bytes; 0 of what is no file.
pub(super) fn stored_size(path: &Path) -> Result<Option<u64>, BlobError> {
    match std::fs::symlink_metadata(path) {
        Ok(look) => Ok(Some(if look.is_file() { look.len() } else { 0 })),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(BlobError::io("look at", path, e)),
    }
}

/// Every blob with its size, in the order of the hashes; one shard is in memory at a time.
pub(super) fn blobs(
    blobs: PathBuf,
    packs: Arc<Packs>,
) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
    per_shard(blobs, move |dir, shard| {
        let mut found = packs.in_shard(shard)?;
        for_each_name(dir, |path, name| {
            if let Some(hash) = hash_in_shard(name, shard)
                && let Some(size) = stored_size(path)?
            {
                found.push((hash, size));
            }
            Ok(())
        })?;
        // What is in a pack and in a file, too, comes from the pack when it is read.
        found.sort_by_key(|(hash, _)| *hash);
        found.dedup_by_key(|(hash, _)| *hash);
        Ok(found)
    })
}

/// The blobs of a shard that are files, in the order of the hashes. Blocks.
pub(super) fn files_in(blobs: &Path, shard: u8) -> Result<Vec<BlobHash>, BlobError> {
    let mut found = Vec::new();
    for_each_name(&shard_dir(blobs, shard), |_, name| {
        found.extend(hash_in_shard(name, shard));
        Ok(())
    })?;
    found.sort_unstable();
    Ok(found)
}

/// Whether there is any blob in the shards of `dir`, or one of them cannot be looked at. Blocks.
pub(super) fn has_any(dir: &Path) -> bool {
    (0..=u8::MAX).any(|shard| {
        let mut is_there = false;
        let looked = for_each_name(&shard_dir(dir, shard), |_, name| {
            is_there |= hash_in_shard(name, shard).is_some();
            Ok(())
        });
        is_there || looked.is_err()
    })
}

/// What a new file system has in it.
pub(crate) const OF_FILE_SYSTEM: &str = "lost+found";

/// Whether nothing of ours is in `dir`, or that is not there. Blocks.
pub(super) fn is_bare(dir: &Path) -> bool {
    match std::fs::read_dir(dir) {
        Err(e) => e.kind() == io::ErrorKind::NotFound,
        Ok(mut names) => names.all(|it| it.is_ok_and(|it| it.file_name() == OF_FILE_SYSTEM)),
    }
}

/// Removes the empty directories in `dir`, as far as that can be done. Blocks.
pub(super) fn remove_empty_in(dir: &Path) {
    for name in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if name.file_name() != OF_FILE_SYSTEM {
            // What is no directory, or has something in it, stays.
            let _ = std::fs::remove_dir(name.path());
        }
    }
}

/// Every file in `dir` that belongs to a blob which is not in `blobs`.
pub(super) fn without_blob(
    dir: PathBuf,
    blobs: PathBuf,
) -> BoxStream<'static, Result<BlobHash, BlobError>> {
    per_shard(dir, move |dir, shard| {
        let mut found = Vec::new();
        for_each_name(dir, |_, name| {
            if let Some(hash) = hash_in_shard(name, shard)
                && stored_size(&shard_path(&blobs, &hash))?.is_none()
            {
                found.push(hash);
            }
            Ok(())
        })?;
        Ok(found)
    })
}

/// Every file among the packs that is none of theirs.
pub(super) fn strays_among_packs(
    packs: Arc<Packs>,
) -> BoxStream<'static, Result<PathBuf, BlobError>> {
    found_at_once(move || packs.strays())
}

/// What `find`, which may block, finds.
pub(super) fn found_at_once<T: Send + 'static>(
    find: impl FnOnce() -> Result<Vec<T>, BlobError> + Send + 'static,
) -> BoxStream<'static, Result<T, BlobError>> {
    let found = stream::once(blocking::run(find));
    found.flat_map(each).boxed()
}

/// Every path in the shards that is named for no blob.
pub(super) fn strays(dir: PathBuf) -> BoxStream<'static, Result<PathBuf, BlobError>> {
    per_shard(dir, |dir, shard| {
        let mut found = Vec::new();
        if dir.symlink_metadata().is_ok() && !dir.is_dir() {
            found.push(dir.to_owned());
        }
        for_each_name(dir, |path, name| {
            if hash_in_shard(name, shard).is_none() {
                found.push(path.to_owned());
            }
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    })
}

/// Every path in a directory of shards, beside these, that is no directory: those may be notes of
/// whoever keeps the records of blobs.
pub(super) fn strays_beside_shards(dir: PathBuf) -> BoxStream<'static, Result<PathBuf, BlobError>> {
    strays_but(dir, |path, name| {
        let is_shard = |shard: u8| name == OsStr::new(&shard_name(shard));
        path.is_dir() && !path.is_symlink() || (0..=u8::MAX).any(is_shard)
    })
}

/// Every path in a directory of which `is_own` says that it is somebody else's.
pub(super) fn strays_but(
    dir: PathBuf,
    is_own: impl Fn(&Path, &OsStr) -> bool + Send + 'static,
) -> BoxStream<'static, Result<PathBuf, BlobError>> {
    found_at_once(move || {
        let mut found = Vec::new();
        for_each_name(&dir, |path, name| {
            if name != OF_FILE_SYSTEM && !is_own(path, name) {
                found.push(path.to_owned());
            }
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    })
}

fn per_shard<T: Send + 'static>(
    dir: PathBuf,
    scan: impl Fn(&Path, u8) -> Result<Vec<T>, BlobError> + Send + Sync + 'static,
) -> BoxStream<'static, Result<T, BlobError>> {
    let scan = Arc::new(scan);
    stream::iter(0..=u8::MAX)
        .then(move |shard| {
            let (dir, scan) = (shard_dir(&dir, shard), Arc::clone(&scan));
            blocking::run(move || scan(&dir, shard))
        })
        .flat_map(each)
        .boxed()
}

/// What was found, one by one, or the error that kept it from being found.
fn each<T>(scanned: Result<Vec<T>, BlobError>) -> impl Stream<Item = Result<T, BlobError>> {
    stream::iter(match scanned {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })
}

fn for_each_name(
    dir: &Path,
    mut each: impl FnMut(&Path, &OsStr) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    let entries = match std::fs::read_dir(dir) {
        // What is no directory is told as a stray.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        entries => entries.map_err(|e| BlobError::io("list", dir, e))?,
    };
    for entry in entries {
        let entry = entry.map_err(|e| BlobError::io("list", dir, e))?;
        each(&entry.path(), &entry.file_name())?;
    }
    Ok(())
}

/// The hash that `name` spells, if that is at home in this shard.
fn hash_in_shard(name: &OsStr, shard: u8) -> Option<BlobHash> {
    let hash: BlobHash = name.to_str()?.parse().ok()?;
    hash.as_bytes().starts_with(&[shard]).then_some(hash)
}
