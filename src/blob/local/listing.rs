//! What the blob directories hold.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};

use super::super::{BlobError, run_blocking};
use crate::hash::BlobHash;

/// Where the file is that belongs to a blob, in a directory of shards.
pub(super) fn shard_path(dir: &Path, hash: &BlobHash) -> PathBuf {
    let [shard, ..] = *hash.as_bytes();
    shard_dir(dir, shard).join(hash.to_string())
}

/// Where the files are of blobs whose hashes begin with this byte.
pub(super) fn shard_dir(dir: &Path, shard: u8) -> PathBuf {
    dir.join(format!("{shard:02x}"))
}

/// The size of the blob at `path`, in bytes.
pub(super) fn stored_size(path: &Path) -> Result<Option<u64>, BlobError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(BlobError::io("look at", path, e)),
    }
}

/// Every blob with its size, in the order of the hashes; one shard is in memory at a time.
pub(super) fn blobs(blobs: PathBuf) -> BoxStream<'static, Result<(BlobHash, u64), BlobError>> {
    per_shard(blobs, |dir, shard| {
        let mut found = Vec::new();
        for_each_name(dir, |path, name| {
            if let Some(hash) = hash_in_shard(name, shard)
                && let Some(size) = stored_size(path)?
            {
                found.push((hash, size));
            }
            Ok(())
        })?;
        found.sort_unstable();
        Ok(found)
    })
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

/// Every path in the shards that is named for no blob.
pub(super) fn strays(dir: PathBuf) -> BoxStream<'static, Result<PathBuf, BlobError>> {
    per_shard(dir, |dir, shard| {
        let mut found = Vec::new();
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

fn per_shard<T: Send + 'static>(
    dir: PathBuf,
    scan: impl Fn(&Path, u8) -> Result<Vec<T>, BlobError> + Send + Sync + 'static,
) -> BoxStream<'static, Result<T, BlobError>> {
    let scan = Arc::new(scan);
    stream::iter(0..=u8::MAX)
        .then(move |shard| {
            let (dir, scan) = (shard_dir(&dir, shard), Arc::clone(&scan));
            run_blocking(move || scan(&dir, shard))
        })
        .flat_map(|scanned| {
            stream::iter(match scanned {
                Ok(found) => found.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        })
        .boxed()
}

fn for_each_name(
    dir: &Path,
    mut each: impl FnMut(&Path, &OsStr) -> Result<(), BlobError>,
) -> Result<(), BlobError> {
    let entries = match std::fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
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
