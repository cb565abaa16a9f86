//! Reading what is in packs again, from its medium.

use std::sync::Arc;

use super::entry::Extent;
use super::pack::Pack;
use crate::hash::BlobHash;

/// A blob in a pack.
pub(crate) struct ShortEntry {
    extent: Extent,
    pack: Arc<Pack>,
}

/// What is at these places, in the order in which it lies there.
pub(super) fn entries(mut places: Vec<(Extent, Arc<Pack>)>) -> Vec<ShortEntry> {
    places.sort_unstable_by_key(|(extent, _)| *extent);
    let entries = places.into_iter();
    entries
        .map(|(extent, pack)| ShortEntry { extent, pack })
        .collect()
}

impl ShortEntry {
    /// How long it is, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.extent.len.into()
    }

    /// Reads it, and tells its length where its bytes have its hash; else that hash, where the
    /// entry tells it: whoever needs the content finds out what is wrong, and where not, that it
    /// is missing. Blocks.
    pub(crate) fn reread(&self) -> Result<u64, Option<BlobHash>> {
        let (pack, extent) = (&self.pack, self.extent);
        match pack.on_medium(extent, || pack.entry_at(extent)) {
            Ok(Some((hash, content))) if BlobHash::of(&content) == hash => Ok(self.bytes()),
            Ok(Some((hash, _))) => Err(Some(hash)),
            Ok(None) => Err(None),
            Err(_) => Err(pack.hash_at(extent).ok().flatten()),
        }
    }
}
