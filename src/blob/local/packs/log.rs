//! All packs of a storage directory, as the one who changes them sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::super::BlobError;
use super::super::shards::shard_path;
use super::super::spool;
use super::active::{Active, Group};
use super::dead::Dead;
use super::entry::{Extent, Prefix, prefix};
use super::options::Options;
use super::pack::{EXTENSION, Pack, path};
use super::table::Table;
use super::usage::{Usage, Worth};
use crate::disk::Durability;
use crate::hash::BlobHash;
use crate::stored_file;

/// All packs. All calls block.
pub(super) struct Log {
    pub(super) options: Options,
    pub(super) table: Arc<Table>,
    /// None until the first blob comes after a start without an unfinished pack.
    pub(super) active: Option<Active>,
    pub(super) usages: BTreeMap<u32, Usage>,
    /// One more than that of any pack there ever was.
    pub(super) next_number: u32,
    /// The packs that are worth compacting now.
    pub(super) worthwhile: BTreeSet<u32>,
    /// Those that are when nobody waits.
    pub(super) worthwhile_in_calm: BTreeSet<u32>,
}

/// Blobs that are to be appended together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) group: Group,
    /// Copies that are damaged or not at their place, which die when the batch stands.
    replaced: Vec<(Prefix, Extent, Arc<Pack>)>,
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
        for (extent, pack) in self.table.find(prefix) {
            match pack.entry_at(extent) {
                Ok(Some((found, content))) if found == hash && content == bytes => {
                    if pack.is_in_place() {
                        self.options.damage.forget(&hash);
                        return Ok(false);
                    }
                    // Only who has the file open sees it: it would be lost with the process.
                    damaged.push((prefix, extent, pack));
                }
                Ok(Some((found, _))) if found == hash => {
                    let damage = &self.options.damage;
                    damage.mark(hash, None, None, "its bytes in a pack have another hash");
                    damaged.push((prefix, extent, pack));
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

    /// Whether a blob of `bytes` fits no longer behind a batch, and wants one of its own.
    pub(super) fn outgrows(&self, batch: &Batch, bytes: usize) -> bool {
        let active = self.active.as_ref();
        active.is_some_and(|it| it.outgrows(&batch.group, bytes))
    }

    /// Whether format 1 has left the blob in a file.
    fn is_in_file(&self, hash: &BlobHash, bytes: &[u8]) -> bool {
        let Some(files) = &self.options.small_files else {
            return false;
        };
        let stored = stored_file::read(&shard_path(files, hash), bytes.len() as u64);
        stored.is_ok_and(|content| content == bytes)
    }

    /// Adds a blob to a group, which begins a new pack where one is due.
    pub(super) fn encode(
        &mut self,
        group: &mut Group,
        hash: BlobHash,
        bytes: &[u8],
    ) -> Result<(), BlobError> {
        if group.entries.is_empty() {
            self.leave_unsound()?;
        }
        let is_full =
            |active: &Active| active.is_full(&self.options) || active.outgrows(group, bytes.len());
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

    /// Begins a new pack where that which is appended to was removed, replaced, cut or
    /// damaged behind the store's back: nothing that is added to it would be found again.
    pub(super) fn leave_unsound(&mut self) -> Result<(), BlobError> {
        let problem = self.active.as_ref().and_then(Active::problem);
        let Some(problem) = problem else {
            return Ok(());
        };
        // First, so that where none can be begun this is tried again.
        let begun = self.begin()?;
        if let Some(left) = self.active.replace(begun) {
            let path = left.pack.path.display();
            tracing::error!(%path, problem, "a pack is left as it is, and a new one begun");
            self.release(&left.pack);
            left.leave(&self.options);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<Active, BlobError> {
        // Somebody may have put a pack there.
        while path(&self.options.dir, self.next_number, EXTENSION).exists() {
            self.next_number += 1;
        }
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
        if let Some(active) = self.active.take() {
            self.release(&active.pack);
        }
        Ok(())
    }

    /// Has a pack stay open no longer for being appended to.
    fn release(&self, pack: &Pack) {
        // Where that fails it stays open.
        if let Ok(pack) = pack.among(&self.options.open) {
            self.table.insert_pack(Arc::new(pack));
        }
    }

    /// Appends a batch. After an error none of its blobs is there, or nothing more is
    /// written.
    pub(super) fn append(&mut self, batch: &Batch) -> Result<(), BlobError> {
        self.append_group(&batch.group, self.options.spool.durability)?;
        for (prefix, extent, pack) in &batch.replaced {
            if let Err(error) = self.bury(*prefix, *extent, pack) {
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
            self.table.insert(entry.prefix, entry.extent(number));
        }
        Ok(())
    }

    /// Fails as appending would fail now. Without a pack to append to, nothing is tried.
    pub(super) fn try_to_write(&mut self) -> Result<(), BlobError> {
        self.options.refusal.check()?;
        self.leave_unsound()?;
        if self.outgrows(&Batch::default(), 0) {
            self.finish_active()?;
        }
        self.active.as_mut().map_or(Ok(()), Active::try_to_write)
    }

    /// Deletes a blob; one that is absent is fine.
    pub(super) fn delete(&mut self, hash: &BlobHash) -> Result<(), BlobError> {
        self.options.refusal.check()?;
        let prefix = prefix(hash);
        for (extent, pack) in self.table.find(prefix) {
            if pack.hash_at(extent)? == Some(*hash) {
                self.bury(prefix, extent, &pack)?;
            }
        }
        Ok(())
    }

    /// Ends an entry.
    pub(super) fn bury(
        &mut self,
        prefix: Prefix,
        extent: Extent,
        pack: &Pack,
    ) -> Result<(), BlobError> {
        let finished = self
            .active
            .as_ref()
            .is_none_or(|active| active.pack.number != pack.number);
        // Beside a pack that is gone, nothing that is written down would tell of it.
        if let Some(usage) = self.usages.get_mut(&pack.number)
            && pack.is_in_place()
        {
            usage.bury(&self.options, pack, extent)?;
            let worth = usage.worth(&self.options, finished);
            self.note_worth(pack.number, worth);
        }
        self.table.remove(prefix, extent);
        Ok(())
    }

    fn note_worth(&mut self, number: u32, worth: Worth) {
        match worth {
            Worth::Now => {
                self.worthwhile_in_calm.remove(&number);
                self.worthwhile.insert(number);
            }
            Worth::InCalm => drop(self.worthwhile_in_calm.insert(number)),
            Worth::Nothing => {}
        }
    }

    /// Finds the packs that are worth compacting.
    pub(super) fn find_worthwhile(&mut self) {
        let active = self.active.as_ref().map(|active| active.pack.number);
        let worths = self.usages.iter().map(|(number, usage)| {
            let finished = active != Some(*number);
            (*number, usage.worth(&self.options, finished))
        });
        let worths: Vec<_> = worths.collect();
        for (number, worth) in worths {
            self.note_worth(number, worth);
        }
    }
}
