//! Contents in packs, read: with each come those behind it, as far as a request is worth it.

use std::num::NonZero;

use bytes::Bytes;

use super::depot::Depot;
use super::packs::id;
use super::remembered::Proven;
use crate::blob::BlobError;
use crate::blob::pack_format::{ENTRY_HEADER, EntryHeader};
use crate::hash::BlobHash;
use crate::place::Place;

/// How much of a pack is asked for at once, in bytes: the longest entry, and as much again, since
/// what came together is often asked for together.
const WINDOW: u64 = 128 * 1024;
/// How much is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believed {
    /// What was proven before, and is in memory.
    Memory,
    /// What the bucket gives now.
    Bucket,
}

/// The content in a place within a pack; None where there is no such pack.
pub(super) async fn content(
    depot: &Depot,
    hash: BlobHash,
    place: Place,
    believed: Believed,
) -> Result<Option<Bytes>, BlobError> {
    if believed == Believed::Memory
        && let Some(known) = depot.packed.get(&place)
        && known.hash == hash
    {
        return Ok(Some(known.bytes));
    }
    let read = || async {
        let Some(window) = window(depot, place).await? else {
            return Ok(None);
        };
        let bytes = remember(depot, hash, place, &window);
        bytes.map(Some).ok_or_else(|| BlobError::other_hash(hash))
    };
    depot.proven((hash, place), read).await
}

/// How long the content in a place within a pack is, in bytes; None where none can be seen there.
pub(super) async fn size(depot: &Depot, place: Place) -> Result<Option<u64>, BlobError> {
    if let Some(known) = depot.packed.get(&place) {
        return Ok(Some(known.bytes.len() as u64));
    }
    let Some(window) = window(depot, place).await? else {
        return Ok(None);
    };
    let first = entries(place, &window).next();
    Ok(first.map(|(_, header, _)| u64::from(header.len)))
}

/// The bytes of a pack from a place on, none of them where it ends before; None where there is no
/// pack.
async fn window(depot: &Depot, place: Place) -> Result<Option<Bytes>, BlobError> {
    let start = u64::from(place.at().unwrap_or_default());
    let key = depot.blob(place);
    let got = depot.bucket.get(&key, start, start + WINDOW).await?;
    Ok(got.map(|(bytes, _)| bytes))
}

/// Remembers what is whole in a window, and returns the first of it if that is what was asked for.
fn remember(depot: &Depot, hash: BlobHash, place: Place, window: &Bytes) -> Option<Bytes> {
    let mut wanted = None;
    for (at, header, bytes) in entries(place, window) {
        if BlobHash::of(bytes) != header.hash {
            continue;
        }
        // A copy, since a piece would keep all of the window in memory.
        let proven = Proven {
            hash: header.hash,
            bytes: Bytes::copy_from_slice(bytes),
        };
        if at == place && header.hash == hash {
            wanted = Some(proven.bytes.clone());
        }
        depot.packed.insert(at, proven);
    }
    wanted
}

/// The entries of a pack from a place on that are whole, up to the first that is not.
pub(super) fn entries(
    place: Place,
    window: &[u8],
) -> impl Iterator<Item = (Place, EntryHeader, &[u8])> {
    let (id, pack) = (id(place), place.object());
    let (mut at, mut rest) = (place.at(), window);
    std::iter::from_fn(move || {
        let begin = NonZero::new(at?)?;
        let (header, behind) = rest.split_at_checked(ENTRY_HEADER as usize)?;
        let header = EntryHeader::decode(header, &id)?;
        let (bytes, behind) = behind.split_at_checked(header.len as usize)?;
        at = begin.get().checked_add(ENTRY_HEADER + header.len);
        rest = behind;
        Some((pack.within(begin), header, bytes))
    })
}

/// What proves itself of a content in a pack of which all bytes are at hand.
pub(super) fn within<'a>(pack: &'a [u8], hash: &BlobHash, place: Place) -> Option<&'a [u8]> {
    let at = usize::try_from(place.at()?).ok()?;
    let (_, header, bytes) = entries(place, pack.get(at..)?).next()?;
    (header.hash == *hash && BlobHash::of(bytes) == *hash).then_some(bytes)
}
