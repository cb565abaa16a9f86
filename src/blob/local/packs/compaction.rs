//! Compaction: what is left of a pack that is mostly dead, or, when nobody waits, dead by more than
//! a fifth, is appended anew, and the pack removed. It goes on in small steps between the uploads.

use std::sync::Arc;

use super::super::super::BlobError;
use super::super::spool;
use super::active::Group;
use super::entry::{Extent, PackEntry, Prefix};
use super::log::Log;
use super::pack::{self, Pack};
use super::{dead, index_file, scan};
use crate::disk::Durability;
use crate::hash::BlobHash;

/// How many bytes are moved in one step.
const STEP: usize = 256 * 1024;

/// Compacts one pack after the other.
#[derive(Default)]
pub(super) struct Compactor {
    current: Option<Compaction>,
}

/// A pack that is being compacted.
struct Compaction {
    pack: Arc<Pack>,
    /// What was not looked at yet.
    entries: std::vec::IntoIter<PackEntry>,
    /// Whether more of it is dead than alive.
    is_urgent: bool,
}

impl Compactor {
    /// Does a step of what is to be compacted; false when nothing is left to do. What is only
    /// worth it when nobody waits is left for later unless it `is_calm`, or keeps what is urgent
    /// from its turn. Blocks.
    pub(super) fn step(&mut self, log: &mut Log, is_calm: bool) -> bool {
        if log.options.refusal.reason().is_some() {
            return false;
        }
        let is_urgent = |it: &Compaction| it.is_urgent || !log.worthwhile.is_empty();
        let goes_on = is_calm || self.current.as_ref().is_none_or(is_urgent);
        if !goes_on {
            return true;
        }
        let Some(mut compaction) = self.current.take().or_else(|| next(log, is_calm)) else {
            return !log.worthwhile_in_calm.is_empty();
        };
        match compaction.step(log) {
            Ok(true) => self.current = Some(compaction),
            Ok(false) => {}
            Err(error) => give_up(log, compaction.pack.number, &error),
        }
        let is_left = !log.worthwhile.is_empty() || !log.worthwhile_in_calm.is_empty();
        self.current.is_some() || is_left
    }
}

fn next(log: &mut Log, is_calm: bool) -> Option<Compaction> {
    let urgent = log.worthwhile.pop_first();
    let number = match urgent {
        None if is_calm => next_in_calm(log)?,
        urgent => urgent?,
    };
    match Compaction::begin(log, number, urgent.is_some()) {
        Ok(compaction) => compaction,
        Err(error) => {
            give_up(log, number, &error);
            None
        }
    }
}

/// One that is worth it in calm, where there is room for all that is to be moved: what it gives
/// back comes behind that.
fn next_in_calm(log: &mut Log) -> Option<u32> {
    let number = log.worthwhile_in_calm.pop_first()?;
    let moved = log.usages.get(&number)?.live_bytes();
    spool::check_room(&log.options.spool, moved).ok()?;
    Some(number)
}

fn give_up(log: &mut Log, number: u32, error: &BlobError) {
    let is_shortage = error.is_shortage();
    if is_shortage {
        // The next deletion has it tried again.
        tracing::warn!(%error, number, "a pack is compacted later");
    } else {
        tracing::error!(%error, number, "a pack is not compacted");
    }
    if let Some(usage) = log.usages.get_mut(&number) {
        usage.given_up = !is_shortage;
    }
}

impl Compaction {
    fn begin(log: &mut Log, number: u32, is_urgent: bool) -> Result<Option<Self>, BlobError> {
        let Some(pack) = log.table.pack(number) else {
            return Ok(None);
        };
        log.leave_unsound()?;
        let active = log.active.as_ref();
        if active.is_some_and(|active| active.pack.number == number) {
            log.finish_active()?;
        }
        let entries = match index_file::read(&log.options.dir, &pack, pack.file_len()?) {
            Some(entries) => entries,
            None => scan::scan(&pack, &log.options.damage)?.entries,
        };
        Ok(Some(Self {
            pack,
            entries: entries.into_iter(),
            is_urgent,
        }))
    }

    /// Moves some blobs, or removes the pack when none is left in it: then it is false.
    fn step(&mut self, log: &mut Log) -> Result<bool, BlobError> {
        let (mut group, mut moved) = (Group::default(), Vec::<(Prefix, Extent)>::new());
        while group.len() < STEP {
            let Some(entry) = self.entries.next() else {
                break;
            };
            let extent = entry.extent(self.pack.number);
            if log.table.contains(entry.prefix, extent) {
                let (hash, bytes) = whole_entry(log, &self.pack, extent)?;
                log.encode(&mut group, hash, &bytes)?;
                moved.push((entry.prefix, extent));
            }
        }
        if moved.is_empty() {
            remove_pack(log, &self.pack)?;
            return Ok(false);
        }
        // Under any durability: the pack goes next.
        log.append_group(&group, Durability::Always)?;
        // The copies come first, so that no reader misses a blob.
        for (prefix, extent) in moved {
            log.table.remove(prefix, extent);
        }
        Ok(true)
    }
}

fn remove_pack(log: &mut Log, pack: &Pack) -> Result<(), BlobError> {
    // What is about the pack goes after it: alone it means nothing.
    for extension in [pack::EXTENSION, index_file::EXTENSION, dead::EXTENSION] {
        let path = pack::path(&log.options.dir, pack.number, extension);
        let removed = log.options.disk().remove_file(&path);
        removed.map_err(|e| BlobError::io("remove", path, e))?;
    }
    log.table.remove_pack(pack.number);
    log.usages.remove(&pack.number);
    tracing::debug!(number = pack.number, "a pack was compacted");
    Ok(())
}

/// A blob to be moved. A damaged one keeps its pack, for others to look at.
fn whole_entry(
    log: &Log,
    pack: &Pack,
    extent: Extent,
) -> Result<(BlobHash, bytes::Bytes), BlobError> {
    match pack.entry_at(extent)? {
        Some((hash, bytes)) if BlobHash::of(&bytes) == hash => Ok((hash, bytes)),
        Some((hash, _)) => {
            let damage = &log.options.damage;
            damage.mark(hash, None, None, "its bytes in a pack have another hash");
            Err(BlobError::other_hash(hash))
        }
        None => {
            let source = std::io::Error::other("an entry is damaged");
            Err(BlobError::io("read", &pack.path, source))
        }
    }
}
