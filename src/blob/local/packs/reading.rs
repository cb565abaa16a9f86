//! Reading blobs out of packs.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::super::super::BlobError;
use super::super::damage::Damage;
use super::entry::{Extent, prefix};
use super::pack::Pack;
use super::table::Table;
use crate::hash::BlobHash;

/// What the packs hold of a blob.
pub(crate) enum InPacks {
    Absent,
    /// Its bytes, which have its hash.
    Whole(Bytes),
    /// Other bytes.
    Damaged,
    /// The medium does not give its bytes.
    Unreadable(BlobError),
}

/// Which copies of a blob count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    All,
    /// Those that the next start finds: in packs that nobody has removed or replaced.
    Lasting,
}

/// The longest content that is hashed where it is asked for, in bytes: that takes less time than
/// the way to another thread and back.
const SHORT: u32 = 16 * 1024;

/// A short blob that is whole, where one of these copies is in memory; whatever else there is to
/// be known of it [`content`] finds out. Waits for no disk.
pub(super) fn at_hand(copies: &[(Extent, Arc<Pack>)], hash: &BlobHash) -> Option<Bytes> {
    let short = copies.iter().filter(|(extent, _)| extent.len <= SHORT);
    let mut found = short.filter_map(|(extent, pack)| pack.entry_at_hand(*extent));
    let is_whole =
        |(found, content): &(BlobHash, Bytes)| found == hash && BlobHash::of(content) == *hash;
    found.find(is_whole).map(|(_, content)| content)
}

/// What the packs hold of a blob; damage is remembered. Blocks.
pub(super) fn content(
    table: &Table,
    damage: &Damage,
    hash: &BlobHash,
    copies: Copies,
) -> Result<InPacks, BlobError> {
    or_once_more(|| content_now(table, damage, hash, copies))
}

/// What `look` finds; once more where a pack was not there that is not kept open: what was in it
/// may be in another one since.
fn or_once_more<T>(look: impl Fn() -> Result<T, BlobError>) -> Result<T, BlobError> {
    match look() {
        Err(BlobError::Disk(error)) if error.source.kind() == io::ErrorKind::NotFound => look(),
        found => found,
    }
}

fn content_now(
    table: &Table,
    damage: &Damage,
    hash: &BlobHash,
    copies: Copies,
) -> Result<InPacks, BlobError> {
    let mut unusable = None;
    for (extent, pack) in table.find(prefix(hash)) {
        if copies == Copies::Lasting && !pack.is_in_place() {
            continue;
        }
        let mut found = whole(&pack, extent, hash)?;
        if !matches!(found, InPacks::Whole(_))
            && let Some(restored) = pack.restored()
        {
            found = whole(&restored, extent, hash)?;
        }
        match found {
            InPacks::Absent => {}
            InPacks::Whole(content) => {
                damage.forget(hash);
                return Ok(InPacks::Whole(content));
            }
            found => unusable = Some(found),
        }
    }
    let Some(unusable) = unusable else {
        return Ok(InPacks::Absent);
    };
    match &unusable {
        InPacks::Unreadable(error) => damage.note_unreadable(hash, error),
        _ => damage.mark(*hash, None, None, "its bytes in a pack have another hash"),
    }
    Ok(unusable)
}

/// What the entry at a place holds of a blob.
fn whole(pack: &Pack, extent: Extent, hash: &BlobHash) -> Result<InPacks, BlobError> {
    let mut unusable = InPacks::Damaged;
    // Twice, so that a fault of memory or of a cable is not taken for damage.
    for _ in 0..2 {
        match pack.entry_at(extent) {
            Ok(Some((found, content))) if found == *hash => {
                if BlobHash::of(&content) == *hash {
                    return Ok(InPacks::Whole(content));
                }
            }
            Ok(_) => return Ok(InPacks::Absent),
            Err(error) if error.is_unreadable() => unusable = InPacks::Unreadable(error),
            Err(error) => return Err(error),
        }
    }
    Ok(unusable)
}

/// The size of a blob, in bytes; None if no pack holds it. Blocks.
pub(super) fn size(table: &Table, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
    or_once_more(|| size_now(table, hash))
}

fn size_now(table: &Table, hash: &BlobHash) -> Result<Option<u64>, BlobError> {
    for (extent, pack) in table.find(prefix(hash)) {
        if pack.hash_at(extent)? == Some(*hash) {
            return Ok(Some(extent.len.into()));
        }
    }
    Ok(None)
}

/// The blobs whose hashes begin with this byte, with their sizes, in no order. One whose
/// header is damaged is not among them, so that whoever needs it finds it missing. Blocks.
pub(super) fn in_shard(table: &Table, shard: u8) -> Result<Vec<(BlobHash, u64)>, BlobError> {
    or_once_more(|| in_shard_now(table, shard))
}

fn in_shard_now(table: &Table, shard: u8) -> Result<Vec<(BlobHash, u64)>, BlobError> {
    let mut blobs = Vec::new();
    for (extent, pack) in table.in_shard(shard) {
        let Some(hash) = pack.hash_at(extent)? else {
            let path = pack.path.display();
            tracing::error!(%path, extent.offset, "an entry is damaged");
            continue;
        };
        blobs.push((hash, extent.len.into()));
    }
    Ok(blobs)
}
