//! The pack that is appended to.

use std::path::Path;
use std::sync::Arc;

use super::super::super::BlobError;
use super::entry::{PackEntry, prefix};
use super::index_file;
use super::open_packs::OpenPacks;
use super::options::Options;
use super::pack::{EXTENSION, Pack, path};
use super::scan::Scanned;
use crate::append_file::AppendFile;
use crate::blob::pack_format::{ENTRY_HEADER, EntryHeader, PACK_HEADER, encode_pack};
use crate::disk::{Durability, free_place, open_stored};
use crate::hash::BlobHash;

/// Under this name a pack is made before it gets its own.
pub(super) const UNFINISHED: &str = "unfinished";
/// A pack is also full when it has so many entries: they are remembered until its end.
const MAX_ENTRIES: usize = 65_536;

/// How much memory of a group is kept for the next one, in bytes.
const KEPT_BYTES: usize = 1 << 20;

/// The pack that is appended to. Everything before its end is acknowledged or dead.
pub(super) struct Active {
    pub(super) pack: Arc<Pack>,
    file: AppendFile,
    entries: Vec<PackEntry>,
}

/// Entries that are written together.
#[derive(Default)]
pub(super) struct Group {
    bytes: Vec<u8>,
    pub(super) entries: Vec<PackEntry>,
}

impl Group {
    /// The length, in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Makes it empty; its memory is used again unless that is much.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
        self.entries.clear();
    }
}

impl Active {
    /// Begins a pack; its name appears only when its header is durable. Blocks.
    pub(super) fn begin(options: &Options, number: u32) -> Result<Self, BlobError> {
        let path = path(&options.dir, number, EXTENSION);
        let failed = |e| BlobError::io("begin", &path, e);
        let unfinished = free_place(options.disk(), &options.dir.join(UNFINISHED));
        let unfinished = unfinished.map_err(failed)?;
        let file = options.disk().create(&unfinished).map_err(failed)?;
        let header = encode_pack(uuid::Uuid::new_v4().as_bytes());
        file.write_all_at(&header, 0).map_err(failed)?;
        options.refusal.synced(&unfinished, file.sync())?;
        let dir = options.disk().open_dir(&options.dir).map_err(failed)?;
        let renamed = options.disk().rename(&unfinished, &path);
        renamed.map_err(failed)?;
        options.refusal.synced(&options.dir, dir.sync())?;
        // By way of the directory that it was put into, whatever stands at its path; and it stays
        // open, so that nobody can put another one in its place unseen.
        let opened = open_stored(options.disk(), &path);
        let pack = Pack::of(path.clone(), number, opened, &OpenPacks::at_most(1));
        // A disk that does not give what was just written would keep one for each attempt.
        let pack = pack.inspect_err(|_| drop(options.disk().remove_file(&path)))?;
        let pack = pack.ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
        Ok(Self {
            pack: Arc::new(pack),
            file: AppendFile::new(path, file, PACK_HEADER.into()),
            entries: Vec::new(),
        })
    }

    /// Goes on with a pack behind what was found whole in it; nothing about the pack may tell of
    /// what lay there before. Blocks.
    pub(super) fn reopen(
        options: &Options,
        pack: Arc<Pack>,
        scanned: Scanned,
    ) -> Result<Self, BlobError> {
        let open = |path: &Path| {
            let file = options.disk().open(path)?;
            file.set_len(scanned.len.into())?;
            // What a killed process left in the page cache is acknowledged from now on. An index
            // that is gone must not come back to a pack that has grown again.
            file.sync()?;
            options.disk().sync_dir(&options.dir)?;
            Ok(file)
        };
        let file = open(&pack.path).map_err(|e| BlobError::io("reopen", &pack.path, e))?;
        let Scanned { entries, len, .. } = scanned;
        Ok(Self {
            file: AppendFile::new(pack.path.clone(), file, len.into()),
            pack,
            entries,
        })
    }

    /// The length, in bytes.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.file.end()).unwrap_or(u32::MAX)
    }

    /// Whether the next entries belong into a new pack.
    pub(super) fn is_full(&self, options: &Options) -> bool {
        self.len() >= options.pack_bytes || self.entries.len() >= MAX_ENTRIES
    }

    /// Whether files may not become so long that a blob of `bytes` fits behind `group`, and would
    /// in a new pack, perhaps.
    pub(super) fn outgrows(&self, group: &Group, bytes: usize) -> bool {
        let has_any = !self.entries.is_empty() || !group.entries.is_empty();
        let more = group.len() as u64 + u64::from(ENTRY_HEADER) + bytes as u64;
        has_any && !self.file.may_grow_by(more)
    }

    /// Adds a blob to a group that is to be appended to this pack.
    pub(super) fn encode(&self, hash: BlobHash, bytes: &[u8], group: &mut Group) {
        // Both fit by far: a blob is at most 64 KiB long, a pack little more than it may be.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let before = u32::try_from(group.bytes.len()).unwrap_or(u32::MAX);
        EntryHeader { hash, len }.encode(&self.pack.id, &mut group.bytes);
        group.bytes.extend_from_slice(bytes);
        group.entries.push(PackEntry {
            prefix: prefix(&hash),
            offset: self.len().saturating_add(before),
            len,
        });
    }

    /// Appends a group, durable on return where `durability` says so. After an error
    /// nothing of it is there, or nothing more is written. Blocks.
    pub(super) fn append(
        &mut self,
        options: &Options,
        group: &Group,
        durability: Durability,
    ) -> Result<(), BlobError> {
        self.file.write(&group.bytes)?;
        if durability == Durability::Always {
            self.sync(options)?;
        }
        self.file.take(group.bytes.len() as u64);
        self.entries.extend(&group.entries);
        Ok(())
    }

    /// Writes something behind the end, as a crash may leave it there, and cuts it off. Blocks.
    pub(super) fn try_to_write(&mut self) -> Result<(), BlobError> {
        Ok(self.file.try_to_write()?)
    }

    /// What keeps the pack from being appended to; None if nothing does. Blocks.
    pub(super) fn problem(&self) -> Option<&'static str> {
        self.pack.problem(self.len())
    }

    /// Leaves a pack that cannot be appended to any more as it is; it gets its index where
    /// that is right. Blocks.
    pub(super) fn leave(&self, options: &Options) {
        let len = self.file.end();
        if !self.pack.is_in_place() || self.pack.file_len().ok() != Some(len) {
            return;
        }
        let synced = self.sync(options);
        let finished =
            synced.and_then(|()| index_file::write(options, &self.pack, self.len(), &self.entries));
        if let Err(error) = finished {
            tracing::warn!(%error, "a pack has no index");
        }
    }

    /// Makes all that was appended durable. Blocks.
    fn sync(&self, options: &Options) -> Result<(), BlobError> {
        options.refusal.synced(&self.pack.path, self.file.sync())
    }

    /// Finishes the pack: a finished one is durable and has an index. Blocks.
    pub(super) fn finish(&mut self, options: &Options) -> Result<(), BlobError> {
        self.file.prepare()?;
        self.sync(options)?;
        if let Err(error) = index_file::write(options, &self.pack, self.len(), &self.entries) {
            // The next start makes it.
            tracing::warn!(%error, "a pack has no index");
        }
        Ok(())
    }
}
