//! All packs of a storage directory, as the one who changes them sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::super::{BlobError, spool};
use super::super::shards::shard_path;
use super::active::{Active, Group};
use super::dead::Dead;
use super::entry::{Place, Prefix, prefix};
use super::options::Options;
use super::pack::Pack;
use super::table::Table;
use super::usage::Usage;
use crate::disk::Durability;
use crate::hash::BlobHash;

/// All packs. All calls block.
pub(super) struct Log {
    pub(super) options: Options,
    pub(super) table: Arc<Table>,
    /// None until the first blob comes after a start without an unfinished pack.
    pub(super) active: Option<Active>,
    pub(super) usages: BTreeMap<u32, Usage>,
    /// One more than that of any pack there ever was.
    pub(super) next_number: u32,
    /// The packs that are worth compacting.
    pub(super) worthwhile: BTreeSet<u32>,
}

/// Blobs that are to be appended together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) group: Group,
    /// Damaged copies, which die when the batch stands.
    replaced: Vec<(Prefix, Place, Arc<Pack>)>,
    /// What is whole again then, as far as it was known to be damaged.
    mended: Vec<BlobHash>,
}

impl Batch {
    /// Makes it empty; its memory is used again.
    pub(super) fn clear(&mut self) {
        self.group.clear();
        self.replaced.clear();
        self.mended.clear();
    }
}

impl Log {
    /// Adds a blob to a batch, unless it is there already with exactly these bytes.
    /// Returns whether it was added.
    pub(super) fn add(
        &mut self,
        batch: &mut Batch,
        hash: BlobHash,
        bytes: &[u8],
    ) -> Result<bool, BlobError> {
        let prefix = prefix(&hash);
        let mut damaged = Vec::new();
        for (place, pack) in self.table.find(prefix) {
            match pack.entry_at(place) {
                Ok(Some((found, content))) if found == hash && content == bytes => {
                    self.options.damage.forget(&hash);
                    return Ok(false);
                }
                Ok(Some((found, _))) if found == hash => {
                    let damage = &self.options.damage;
                    damage.mark(hash, None, None, "its bytes in a pack have another hash");
                    damaged.push((prefix, place, pack));
                }
                // Of another hash, or one that nobody can tell.
                _ => {}
            }
        }
        if self.is_in_file(&hash, bytes) {
            self.options.damage.forget(&hash);
            return Ok(false);
        }
        if batch.group.entries.is_empty() {
            spool::check_space(&self.options.spool)?;
        }
        self.encode(&mut batch.group, hash, bytes)?;
        batch.replaced.extend(damaged);
        batch.mended.push(hash);
        Ok(true)
    }

    /// Whether format 1 has left the blob in a file.
    fn is_in_file(&self, hash: &BlobHash, bytes: &[u8]) -> bool {
        let Some(files) = &self.options.small_files else {
            return false;
        };
        std::fs::read(shard_path(files, hash)).is_ok_and(|content| content == bytes)
    }

    /// Adds a blob to a group, which begins a new pack where one is due.
    pub(super) fn encode(
        &mut self,
        group: &mut Group,
        hash: BlobHash,
        bytes: &[u8],
    ) -> Result<(), BlobError> {
        let is_full = |active: &Active| active.is_full(&self.options);
        if group.entries.is_empty() && self.active.as_ref().is_some_and(is_full) {
            self.finish_active()?;
        }
        let active = match self.active.take() {
            Some(active) => active,
            None => self.begin()?,
        };
        self.active.insert(active).encode(hash, bytes, group);
        Ok(())
    }

    fn begin(&mut self) -> Result<Active, BlobError> {
        let active = Active::begin(&self.options, self.next_number)?;
        self.next_number += 1;
        let pack = &active.pack;
        let usage = Usage::new(Dead::none(&self.options, pack), active.len().into(), 0);
        self.usages.insert(pack.number, usage);
        self.table.insert_pack(Arc::clone(pack));
        Ok(active)
    }

    /// Finishes the pack that is appended to.
    pub(super) fn finish_active(&mut self) -> Result<(), BlobError> {
        if let Some(active) = &mut self.active {
            active.finish(&self.options)?;
        }
        self.active = None;
        Ok(())
    }

    /// Appends a batch. After an error none of its blobs is there, or nothing more is
    /// written.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), BlobError> {
        self.append_group(&batch.group, self.options.spool.durability)?;
        for (prefix, place, pack) in &batch.replaced {
            if let Err(error) = self.bury(*prefix, *place, pack) {
                tracing::warn!(%error, "a damaged blob stays beside its whole copy");
            }
        }
        for hash in &batch.mended {
            self.options.damage.forget(hash);
        }
        Ok(())
    }

    pub(super) fn append_group(
        &mut self,
        group: &Group,
        durability: Durability,
    ) -> Result<(), BlobError> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        active.append(&self.options, group, durability)?;
        let number = active.pack.number;
        if let Some(usage) = self.usages.get_mut(&number) {
            usage.len = active.len().into();
        }
        for entry in &group.entries {
            self.table.insert(entry.prefix, entry.place(number));
        }
        Ok(())
    }

    /// Fails as appending would fail now. Without a pack to append to, nothing is tried.
    pub(super) fn try_to_write(&mut self) -> Result<(), BlobError> {
        self.options.refusal.check()?;
        self.active.as_mut().map_or(Ok(()), Active::try_to_write)
    }

    /// Deletes a blob; one that is absent is fine.
    pub(super) fn delete(&mut self, hash: &BlobHash) -> Result<(), BlobError> {
        self.options.refusal.check()?;
        let prefix = prefix(hash);
        for (place, pack) in self.table.find(prefix) {
            if pack.hash_at(place)? == Some(*hash) {
                self.bury(prefix, place, &pack)?;
            }
        }
        Ok(())
    }

    /// Ends an entry.
    pub(super) fn bury(
        &mut self,
        prefix: Prefix,
        place: Place,
        pack: &Pack,
    ) -> Result<(), BlobError> {
        let finished = self
            .active
            .as_ref()
            .is_none_or(|active| active.pack.number != pack.number);
        if let Some(usage) = self.usages.get_mut(&pack.number) {
            usage.bury(&self.options, pack, place)?;
            if usage.is_worth_compacting(&self.options, finished) {
                self.worthwhile.insert(pack.number);
            }
        }
        self.table.remove(prefix, place);
        Ok(())
    }

    /// Finds the packs that are worth compacting.
    pub(super) fn find_worthwhile(&mut self) {
        let active = self.active.as_ref().map(|active| active.pack.number);
        let worthwhile = self.usages.iter().filter(|(number, usage)| {
            usage.is_worth_compacting(&self.options, active != Some(**number))
        });
        self.worthwhile = worthwhile.map(|(number, _)| *number).collect();
    }
}
