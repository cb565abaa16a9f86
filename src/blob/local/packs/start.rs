//! Opening the packs of a storage directory.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::super::BlobError;
use super::active::{Active, UNFINISHED};
use super::dead::Dead;
use super::entry::{Extent, PackEntry, Prefix, prefix};
use super::log::Log;
use super::open_packs::OpenPacks;
use super::options::Options;
use super::pack::{self, Pack};
use super::scan::{Doubts, Scanned, scan};
use super::table::Table;
use super::usage::Usage;
use super::{dead, index_file, mending};
use crate::blob::pack_format::PACK_HEADER;
use crate::disk::{is_shared, remove_leftover};
use crate::hash::BlobHash;

/// The file among the packs that is left to whoever keeps records of blobs.
pub(crate) const NOTE: &str = "journal.reached";

/// The files of a directory of packs.
#[derive(Default)]
pub(super) struct Names {
    /// The numbers of the packs.
    pub(super) packs: BTreeSet<u32>,
    /// Files about packs, with the numbers of those.
    about: Vec<(u32, PathBuf)>,
    /// Everything else.
    pub(super) others: Vec<PathBuf>,
}

impl Names {
    /// Reads the names in a directory of packs. Blocks.
    pub(super) fn read(dir: &Path) -> Result<Self, BlobError> {
        let failed = |e| BlobError::io("list", dir, e);
        let mut names = Self::default();
        let entries = match std::fs::read_dir(dir) {
            // The first format had no packs.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            match number(&path).zip(path.extension().and_then(OsStr::to_str)) {
                Some((number, pack::EXTENSION)) => drop(names.packs.insert(number)),
                Some((number, index_file::EXTENSION | dead::EXTENSION)) => {
                    names.about.push((number, path));
                }
                // What a crash left of a pack that was begun.
                _ if path.ends_with(UNFINISHED) && path.is_file() => {}
                // What is noted here of the records that need blobs, or a crash left of that.
                _ if is_note(&path) && path.is_file() => {}
                _ => names.others.push(path),
            }
        }
        Ok(names)
    }
}

fn is_note(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    let name = name.map(|name| name.strip_suffix(".unfinished").unwrap_or(name));
    name == Some(NOTE)
}

/// The number in the name of a pack or of a file about one.
fn number(path: &Path) -> Option<u32> {
    let stem = path.file_stem()?.to_str()?;
    stem.parse()
        .ok()
        .filter(|number| stem == format!("{number:010}"))
}

/// Opens what there is, and tells what is in doubt. Blocks.
pub(super) fn start(options: Options) -> Result<(Log, Doubts), BlobError> {
    let names = Names::read(&options.dir)?;
    remove_leftovers(&options, &names)?;
    let last = names.packs.last().copied();
    let mut opening = Opening {
        options,
        packs: BTreeMap::new(),
        blobs: Vec::new(),
        usages: BTreeMap::new(),
        active: None,
        doubts: Doubts::default(),
    };
    for number in &names.packs {
        opening.open(*number, Some(*number) == last)?;
    }
    let Opening {
        options,
        packs,
        blobs,
        usages,
        active,
        doubts,
    } = opening;
    let mut log = Log {
        table: Arc::new(Table::new(packs, blobs.into_iter())),
        options,
        active,
        usages,
        next_number: last.map_or(1, |last| last + 1),
        worthwhile: BTreeSet::new(),
        worthwhile_in_calm: BTreeSet::new(),
    };
    remove_doubles(&mut log)?;
    log.find_worthwhile();
    Ok((log, doubts))
}

/// Removes what a crash may leave of packs that were begun, or removed.
fn remove_leftovers(options: &Options, names: &Names) -> Result<(), BlobError> {
    let about = names.about.iter();
    let alone = about.filter(|(number, _)| !names.packs.contains(number));
    let unfinished = options.dir.join(UNFINISHED);
    for path in alone.map(|(_, path)| path).chain([&unfinished]) {
        let removed = remove_leftover(options.disk(), path);
        removed.map_err(|e| BlobError::io("remove", path, e))?;
    }
    Ok(())
}

/// Packs being opened, from the first to the last.
struct Opening {
    options: Options,
    packs: BTreeMap<u32, Arc<Pack>>,
    blobs: Vec<(Prefix, Extent)>,
    usages: BTreeMap<u32, Usage>,
    active: Option<Active>,
    doubts: Doubts,
}

impl Opening {
    fn open(&mut self, number: u32, is_last: bool) -> Result<(), BlobError> {
        // What is appended to stays open, so that nobody can put another one in its place unseen.
        let among = if is_last {
            OpenPacks::at_most(1)
        } else {
            Arc::clone(&self.options.open)
        };
        let pack = match Pack::open(&self.options.dir, number, &among)? {
            Some(pack) => Some(pack),
            None => mending::open_mended(&self.options, number, &among)?,
        };
        let Some(pack) = pack else {
            // Verify tells of it, and of the blobs that are missing.
            tracing::error!(number, "a pack has a damaged header and no whole entry");
            self.doubts.has_gaps = true;
            return Ok(());
        };
        let pack = Arc::new(pack);
        let file_len = pack.file_len()?;
        let (dead, offsets, is_damaged) = Dead::read(&self.options, &pack)?;
        self.doubts.has_risen |= is_damaged;
        let (entries, len) = match index_file::read(&self.options.dir, &pack, file_len) {
            Some(entries) => (entries, file_len),
            None => self.scan(&pack, is_last, (!is_damaged).then_some(&offsets))?,
        };
        let mut dead_bytes = len - u64::from(PACK_HEADER);
        for entry in entries.iter().filter(|it| !offsets.contains(&it.offset)) {
            let extent = entry.extent(number);
            dead_bytes = dead_bytes.saturating_sub(extent.bytes());
            self.blobs.push((entry.prefix, extent));
        }
        self.usages
            .insert(number, Usage::new(dead, len, dead_bytes));
        self.packs.insert(number, pack);
        Ok(())
    }

    /// Finds out what is in a pack without an index: the last one is gone on with where nothing
    /// tells of what it has lost, any other gets its index. `dead` are the offsets of the entries
    /// that are dead; None where not all of them can be told. Returns its entries and its length.
    fn scan(
        &mut self,
        pack: &Arc<Pack>,
        is_last: bool,
        dead: Option<&BTreeSet<u32>>,
    ) -> Result<(Vec<PackEntry>, u64), BlobError> {
        let mut scanned = scan(pack, &self.options.damage)?;
        self.doubts.add(std::mem::take(&mut scanned.doubts));
        let whole_len = u64::from(scanned.len);
        if is_last && self.can_go_on(pack, &scanned, dead) {
            scanned.entries.truncate(scanned.whole);
            let whole = scanned.entries.clone();
            let active = Active::reopen(&self.options, Arc::clone(pack), scanned)?;
            self.active = Some(active);
            return Ok((whole, whole_len));
        }
        if is_last && !scanned.is_clean {
            // It stays for whoever can mend it: it may be what a power cut left of an upload that
            // nobody was told of, or have been whole. Without an index it is looked at again.
            let path = pack.path.display();
            tracing::warn!(%path, "the end of a pack is not whole, and stays");
            return Ok((scanned.entries, whole_len));
        }
        // What it has lost, if anything, may be needed.
        self.doubts.has_gaps |= is_last;
        let file_len = pack.file_len()?;
        let Scanned { entries, .. } = scanned;
        if let Ok(len) = u32::try_from(file_len)
            && let Err(error) = index_file::write(&self.options, pack, len, &entries)
        {
            tracing::warn!(%error, "a pack has no index");
        }
        Ok((entries, file_len))
    }

    /// Whether a pack is nobody else's, ends whole, and all that is told about it is of entries
    /// that it has. Otherwise it has lost some, and what is appended in their place would be taken
    /// for them, by this start or by a later one: for dead, or for another content.
    fn can_go_on(&self, pack: &Pack, scanned: &Scanned, dead: Option<&BTreeSet<u32>>) -> bool {
        let index = pack::path(&self.options.dir, pack.number, index_file::EXTENSION);
        let entries = scanned.entries.get(..scanned.whole).unwrap_or_default();
        let has = |offset: &u32| entries.binary_search_by_key(offset, |it| it.offset).is_ok();
        let told = dead.is_some_and(|dead| dead.iter().all(has));
        told && scanned.is_clean && index.symlink_metadata().is_err() && !is_shared(&pack.path)
    }
}

/// A blob that is there twice, as a crash during a compaction or soon after a deletion
/// leaves it, stays there once: the last whole copy, or the last if none is whole.
fn remove_doubles(log: &mut Log) -> Result<(), BlobError> {
    for alike in log.table.alike() {
        let mut copies = BTreeMap::<BlobHash, Vec<(Extent, Arc<Pack>)>>::new();
        for (extent, pack) in alike {
            if let Some(hash) = pack.hash_at(extent)? {
                copies.entry(hash).or_default().push((extent, pack));
            }
        }
        for (hash, mut copies) in copies {
            let kept = kept_copy(&hash, &copies)?;
            copies.remove(kept);
            for (extent, pack) in copies {
                match log.bury(prefix(&hash), extent, &pack) {
                    // It harms nobody until there is room to say that it is dead.
                    Err(error) if error.is_shortage() => {
                        tracing::warn!(%hash, %error, "content is stored twice for now");
                    }
                    buried => buried?,
                }
            }
        }
    }
    Ok(())
}

/// Which of the copies of a blob to keep; they are in the order in which they were written.
fn kept_copy(hash: &BlobHash, copies: &[(Extent, Arc<Pack>)]) -> Result<usize, BlobError> {
    let last = copies.len() - 1;
    if last == 0 {
        return Ok(last);
    }
    for (at, (extent, pack)) in copies.iter().enumerate().rev() {
        let entry = pack.entry_at(*extent)?;
        if entry.is_some_and(|(_, bytes)| BlobHash::of(&bytes) == *hash) {
            return Ok(at);
        }
    }
    Ok(last)
}
