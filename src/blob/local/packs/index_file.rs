//! What a finished pack holds, written down beside it so that a start need not read it.
//!
//! Nothing depends on these files: one that is missing or damaged is made anew from its
//! pack.

use std::path::Path;

use super::super::super::BlobError;
use super::entry::{PackEntry, prefix};
use super::options::Options;
use super::pack::{Pack, path};
use crate::blob::pack_format::{ENTRY_HEADER, checksum};
use crate::stored_file;

/// The extension of these files.
pub(super) const EXTENSION: &str = "index";

const MAGIC: [u8; 8] = *b"larderI\n";
/// The length of one entry, in bytes.
const ENTRY: usize = 16;
/// The length of what is beside the entries, in bytes: magic, covered length and checksum.
const OTHERS: usize = 8 + 4 + 4;

/// Writes down the entries of a pack that is `len` bytes long. Blocks.
pub(super) fn write(
    options: &Options,
    pack: &Pack,
    len: u32,
    entries: &[PackEntry],
) -> Result<(), BlobError> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(len.to_le_bytes());
    for entry in entries {
        bytes.extend(entry.prefix);
        bytes.extend(entry.offset.to_le_bytes());
        bytes.extend(entry.len.to_le_bytes());
    }
    bytes.extend(checksum(&pack.id, &bytes).to_le_bytes());
    let path = path(&options.dir, pack.number, EXTENSION);
    let write = || {
        options.disk().remove_file(&path)?;
        options.disk().create(&path)?.write_all_at(&bytes, 0)
    };
    let written = write().inspect_err(|_| {
        // One that is torn would be told as damaged, and keep the pack from being gone on with.
        let _ = options.disk().remove_file(&path);
    });
    written.map_err(|e| BlobError::io("write", &path, e))
}

/// The entries of a pack that is `len` bytes long; None if nothing reliable tells. Blocks.
pub(super) fn read(dir: &Path, pack: &Pack, len: u64) -> Option<Vec<PackEntry>> {
    let path = path(dir, pack.number, EXTENSION);
    let bytes = stored_file::read(&path, longest(len)).ok()?;
    let (body, crc) = bytes.split_last_chunk()?;
    if u32::from_le_bytes(*crc) != checksum(&pack.id, body) {
        return None;
    }
    let (magic, rest) = body.split_first_chunk()?;
    let (covered, entries) = rest.split_first_chunk()?;
    if *magic != MAGIC || u64::from(u32::from_le_bytes(*covered)) != len {
        return None;
    }
    let entries: Vec<_> = entries.chunks(ENTRY).map(entry).collect::<Option<_>>()?;
    let is_of_pack = entries.last().is_none_or(|last| is_in(pack, last));
    is_of_pack.then_some(entries)
}

/// Whether a pack has this entry: an older larder may have cut it back and appended as much again.
fn is_in(pack: &Pack, entry: &PackEntry) -> bool {
    let hash = pack.hash_at(entry.extent(pack.number));
    hash.is_ok_and(|hash| hash.is_some_and(|hash| prefix(&hash) == entry.prefix))
}

/// How long such a file can be, in bytes, of a pack of `len` bytes.
fn longest(len: u64) -> u64 {
    let entries = len / u64::from(ENTRY_HEADER);
    (OTHERS + ENTRY) as u64 + entries * ENTRY as u64
}

fn entry(bytes: &[u8]) -> Option<PackEntry> {
    let (prefix, rest) = bytes.split_first_chunk()?;
    let (offset, len) = rest.split_first_chunk()?;
    Some(PackEntry {
        prefix: *prefix,
        offset: u32::from_le_bytes(*offset),
        len: u32::from_le_bytes(len.try_into().ok()?),
    })
}
