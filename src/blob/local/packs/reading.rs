//! Reading blobs out of packs.

use bytes::Bytes;

use super::super::super::BlobError;
use super::entry::prefix;
use super::table::Table;
use crate::hash::BlobHash;

/// The bytes of a blob, unchecked; None if no pack holds it. Blocks.
pub(super) fn content(table: &Table, hash: &BlobHash) -> Result<Option<Bytes>, BlobError> {
    for (place, pack) in table.find(prefix(hash)) {
        match pack.entry_at(place)? {
            Some((found, content)) if found == *hash => return Ok(Some(content)),
            _ => {}
        }
    }
    Ok(None)
}

/// The size of a blob, in bytes; None if no pack holds it. Blocks.
pub(super) fn size(table: &Table, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
    for (place, pack) in table.find(prefix(hash)) {
        if pack.hash_at(place)? == Some(*hash) {
            return Ok(Some(place.len.into()));
        }
    }
    Ok(None)
}

/// The blobs whose hashes begin with this byte, with their sizes, in no order. One whose
/// header is damaged is not among them, so that whoever needs it finds it missing. Blocks.
pub(super) fn in_shard(table: &Table, shard: u8) -> Result<Vec<(BlobHash, u64)>, BlobError> {
    let mut blobs = Vec::new();
    for (place, pack) in table.in_shard(shard) {
        let Some(hash) = pack.hash_at(place)? else {
            let path = pack.path.display();
            tracing::error!(%path, place.offset, "an entry is damaged");
            continue;
        };
        blobs.push((hash, place.len.into()));
    }
    Ok(blobs)
}
