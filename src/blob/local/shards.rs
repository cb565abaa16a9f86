//! Files named by hashes, spread over 256 directories by the first byte.

use std::path::{Path, PathBuf};

use super::super::BlobError;
use crate::disk::Disk;
use crate::hash::BlobHash;

/// Makes what is missing of a directory of shards. Blocks.
pub(super) fn create_shards(disk: &dyn Disk, dir: &Path) -> Result<(), BlobError> {
    let create = |path: &Path| {
        let created = disk.create_dir(path);
        created.map_err(|e| BlobError::io("create", path, e))
    };
    create(dir)?;
    (0..=u8::MAX).try_for_each(|shard| create(&shard_dir(dir, shard)))
}

/// Where the file is that belongs to a blob, in a directory of shards.
pub(super) fn shard_path(dir: &Path, hash: &BlobHash) -> PathBuf {
    let [shard, ..] = *hash.as_bytes();
    shard_dir(dir, shard).join(hash.to_string())
}

/// Where the files are of blobs whose hashes begin with this byte.
pub(super) fn shard_dir(dir: &Path, shard: u8) -> PathBuf {
    dir.join(format!("{shard:02x}"))
}
