//! What lives in packs that are mostly dead goes to new ones together.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::depot::Depot;
use super::packed::{self, Believed};
use super::packs::{MOST, Pack, Packs};
use crate::blob::BlobError;
use crate::hash::BlobHash;
use crate::pack_rows::{Moved, PackLease, PackedContent};
use crate::place::Place;

/// Longer than any pack, in bytes.
const LONGEST_PACK: u64 = 16 << 20;

/// Contents that are moved together.
struct Moving {
    lease: PackLease,
    pack: Pack,
    moved: Vec<Moved>,
}

/// Moves what files need in a few packs of which they need less than half, and tells how many
/// contents those were. The packs that are left are garbage by that.
pub(super) async fn compact(depot: &Depot, packs: &Packs) -> Result<u64, BlobError> {
    let mut by_pack = BTreeMap::<Place, Vec<PackedContent>>::new();
    for content in packs.rows.sparse().await? {
        let pack = by_pack.entry(content.place.object()).or_default();
        pack.push(content);
    }
    let (mut moving, mut count) = (None::<Moving>, 0);
    for (pack, contents) in by_pack {
        let bytes = all_of_pack(depot, pack).await?;
        for content in contents {
            let Some(bytes) = proven(depot, &bytes, &content).await? else {
                continue;
            };
            let to = match moving.as_mut() {
                Some(to) => to,
                None => moving.insert(Moving::begin(packs).await?),
            };
            to.add(content.hash, content.place, &bytes);
            if to.is_full() {
                count += end(depot, packs, moving.take()).await?;
            }
        }
    }
    Ok(count + end(depot, packs, moving).await?)
}

/// All bytes of a pack; none where it is gone.
pub(super) async fn all_of_pack(depot: &Depot, pack: Place) -> Result<Bytes, BlobError> {
    let got = depot.bucket.get(&depot.blob(pack), 0, LONGEST_PACK).await?;
    Ok(got.map(|(bytes, _)| bytes).unwrap_or_default())
}

/// The bytes of a content; None where they are not whole, which is told then as where somebody had
/// asked for it.
async fn proven(
    depot: &Depot,
    pack: &Bytes,
    content: &PackedContent,
) -> Result<Option<Bytes>, BlobError> {
    let PackedContent { hash, place, .. } = *content;
    if let Some(found) = packed::within(pack, &hash, place) {
        return Ok(Some(pack.slice_ref(found)));
    }
    match packed::content(depot, hash, place, Believed::Bucket).await {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => {
            depot.damaged(hash, place, BlobError::missing(hash));
            Ok(None)
        }
        Err(BlobError::Damaged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn end(depot: &Depot, packs: &Packs, moving: Option<Moving>) -> Result<u64, BlobError> {
    let Some(Moving { lease, pack, moved }) = moving else {
        return Ok(0);
    };
    let pack_bytes = pack.len();
    pack.put(&depot.bucket).await?;
    let count = packs.rows.moved(&lease, pack_bytes, &moved).await?;
    if count > 0 {
        lease.kept();
    }
    Ok(count)
}

impl Moving {
    async fn begin(packs: &Packs) -> Result<Self, BlobError> {
        let lease = packs.rows.lease().await?;
        Ok(Self {
            pack: Pack::new(lease.place),
            lease,
            moved: Vec::new(),
        })
    }

    fn add(&mut self, hash: BlobHash, from: Place, bytes: &[u8]) {
        if let Some(to) = self.pack.push(hash, bytes) {
            self.moved.push(Moved { hash, from, to });
        }
    }

    fn is_full(&self) -> bool {
        self.pack.is_full() || self.moved.len() >= MOST
    }
}
