//! Files named by hashes, spread over 256 directories by the first byte.

use std::path::{Path, PathBuf};

use crate::hash::BlobHash;

/// Where the file is that belongs to a blob, in a directory of shards.
pub(super) fn shard_path(dir: &Path, hash: &BlobHash) -> PathBuf {
    let [shard, ..] = *hash.as_bytes();
    shard_dir(dir, shard).join(hash.to_string())
}

/// Where the files are of blobs whose hashes begin with this byte.
pub(super) fn shard_dir(dir: &Path, shard: u8) -> PathBuf {
    dir.join(shard_name(shard))
}

/// What the directory of a shard is called.
pub(super) fn shard_name(shard: u8) -> String {
    format!("{shard:02x}")
}
