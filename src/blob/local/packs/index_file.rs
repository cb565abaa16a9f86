//! What a finished pack holds, written down beside it so that a start need not read it.
//!
//! Nothing depends on these files: one that is missing or damaged is made anew from its
//! pack.

use std::path::Path;

use super::super::super::BlobError;
use super::entry::Entry;
use super::format::checksum;
use super::options::Options;
use super::pack::{Pack, path};

/// The extension of these files.
pub(super) const EXTENSION: &str = "index";

const MAGIC: [u8; 8] = *b"larderI\n";
/// The length of one entry, in bytes.
const ENTRY: usize = 16;

/// Writes down the entries of a pack that is `len` bytes long. Blocks.
pub(super) fn write(
    options: &Options,
    pack: &Pack,
    len: u32,
    entries: &[Entry],
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
    write().map_err(|e| BlobError::io("write", &path, e))
}

/// The entries of a pack that is `len` bytes long; None if nothing reliable tells. Blocks.
pub(super) fn read(dir: &Path, pack: &Pack, len: u64) -> Option<Vec<Entry>> {
    let bytes = std::fs::read(path(dir, pack.number, EXTENSION)).ok()?;
    let (body, crc) = bytes.split_last_chunk()?;
    if u32::from_le_bytes(*crc) != checksum(&pack.id, body) {
        return None;
    }
    let (magic, rest) = body.split_first_chunk()?;
    let (covered, entries) = rest.split_first_chunk()?;
    if *magic != MAGIC || u64::from(u32::from_le_bytes(*covered)) != len {
        return None;
    }
    entries.chunks(ENTRY).map(entry).collect()
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let (prefix, rest) = bytes.split_first_chunk()?;
    let (offset, len) = rest.split_first_chunk()?;
    Some(Entry {
        prefix: *prefix,
        offset: u32::from_le_bytes(*offset),
        len: u32::from_le_bytes(len.try_into().ok()?),
    })
}
