//! Where each blob is: a table in memory.
//!
//! A blob takes 16 bytes in a B-tree, 20 to 30 with its nodes. A hash is told by its first
//! byte, which chooses the shard, and the four behind it; whoever looks for a blob gets
//! every place that may be its and compares the rest in the pack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::entry::{Extent, Prefix};
use super::pack::Pack;

/// Which blobs there are, and the packs that hold them.
///
/// Every place in it is in one of its packs: who takes a pack out has moved all blobs
/// before. A reader finds the pack while it looks at the shard, so it never misses one.
pub(super) struct Table {
    shards: Vec<RwLock<BTreeSet<Slot>>>,
    packs: RwLock<BTreeMap<u32, Arc<Pack>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    tag: u32,
    extent: Extent,
}

impl Slot {
    fn new([_, a, b, c, d, ..]: Prefix, extent: Extent) -> Self {
        let tag = u32::from_be_bytes([a, b, c, d]);
        Self { tag, extent }
    }
}

const FIRST: Extent = Extent {
    pack: 0,
    offset: 0,
    len: 0,
};
const LAST: Extent = Extent {
    pack: u32::MAX,
    offset: u32::MAX,
    len: u32::MAX,
};

type Shard = BTreeSet<Slot>;

impl Table {
    /// The table of these blobs and packs.
    pub(super) fn new(
        packs: BTreeMap<u32, Arc<Pack>>,
        blobs: impl Iterator<Item = (Prefix, Extent)>,
    ) -> Self {
        let mut slots = vec![Vec::new(); 256];
        for (prefix, extent) in blobs {
            let [shard, ..] = prefix;
            if let Some(slots) = slots.get_mut(usize::from(shard)) {
                slots.push(Slot::new(prefix, extent));
            }
        }
        // Trees made from all their slots at once have no room left in their nodes.
        let shards = slots
            .into_iter()
            .map(|it| RwLock::new(Shard::from_iter(it)));
        Self {
            shards: shards.collect(),
            packs: RwLock::new(packs),
        }
    }

    /// Adds a blob; its pack must be there.
    pub(super) fn insert(&self, prefix: Prefix, extent: Extent) {
        if let Some(mut shard) = self.write(prefix) {
            shard.insert(Slot::new(prefix, extent));
        }
    }

    /// Takes a blob out, if it is there.
    pub(super) fn remove(&self, prefix: Prefix, extent: Extent) {
        if let Some(mut shard) = self.write(prefix) {
            shard.remove(&Slot::new(prefix, extent));
        }
    }

    /// Whether a blob is at exactly this place.
    pub(super) fn contains(&self, prefix: Prefix, extent: Extent) -> bool {
        let shard = self.read(prefix);
        shard.is_some_and(|shard| shard.contains(&Slot::new(prefix, extent)))
    }

    /// Where the blobs are whose hashes begin so, the last written first.
    pub(super) fn find(&self, prefix: Prefix) -> Vec<(Extent, Arc<Pack>)> {
        let range = Slot::new(prefix, FIRST)..=Slot::new(prefix, LAST);
        let Some(shard) = self.read(prefix) else {
            return Vec::new();
        };
        self.with_packs(shard.range(range).rev())
    }

    /// Where the blobs are whose hashes begin with this byte.
    pub(super) fn in_shard(&self, shard: u8) -> Vec<(Extent, Arc<Pack>)> {
        let Some(shard) = self.read([shard, 0, 0, 0, 0, 0, 0, 0]) else {
            return Vec::new();
        };
        self.with_packs(shard.iter())
    }

    /// Blobs whose hashes begin alike: all those that may be there twice.
    pub(super) fn alike(&self) -> Vec<Vec<(Extent, Arc<Pack>)>> {
        let mut alike = Vec::new();
        for shard in &self.shards {
            let shard = shard.read();
            let slots: Vec<_> = shard.iter().collect();
            let groups = slots.chunk_by(|one, other| one.tag == other.tag);
            let groups = groups.filter(|group| group.len() > 1);
            alike.extend(groups.map(|group| self.with_packs(group.iter().copied())));
        }
        alike
    }

    /// Must be called with the slots' shard locked.
    fn with_packs<'a>(&self, slots: impl Iterator<Item = &'a Slot>) -> Vec<(Extent, Arc<Pack>)> {
        let packs = self.packs.read();
        let pack = |extent: Extent| Some((extent, Arc::clone(packs.get(&extent.pack)?)));
        slots.filter_map(|slot| pack(slot.extent)).collect()
    }

    /// The pack with this number.
    pub(super) fn pack(&self, number: u32) -> Option<Arc<Pack>> {
        let packs = self.packs.read();
        packs.get(&number).cloned()
    }

    /// Adds a pack.
    pub(super) fn insert_pack(&self, pack: Arc<Pack>) {
        let mut packs = self.packs.write();
        packs.insert(pack.number, pack);
    }

    /// Takes a pack out that holds no blob any more.
    pub(super) fn remove_pack(&self, number: u32) {
        let mut packs = self.packs.write();
        packs.remove(&number);
    }

    fn read(&self, [shard, ..]: Prefix) -> Option<RwLockReadGuard<'_, Shard>> {
        let shard = self.shards.get(usize::from(shard))?;
        Some(shard.read())
    }

    fn write(&self, [shard, ..]: Prefix) -> Option<RwLockWriteGuard<'_, Shard>> {
        let shard = self.shards.get(usize::from(shard))?;
        Some(shard.write())
    }
}
