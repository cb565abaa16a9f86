//! Making a damaged header of a pack anew.
//!
//! Of the id in a header only its CRC-32C counts: that is where the checksum of every entry
//! begins. A CRC can be run backwards, so an entry whose bytes have its hash tells it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use memchr::memmem;

use super::super::super::BlobError;
use super::super::spool::MEMORY_LIMIT;
use super::open_packs::OpenPacks;
use super::options::Options;
use super::pack::{EXTENSION, Pack, path};
use crate::blob::pack_format::{
    ENTRY_HEADER, ENTRY_MAGIC, LONGEST_PACK, PACK_HEADER, PackId, encode_pack, has_header_checksum,
    id_with_crc, seed_of,
};
use crate::disk::open_own;
use crate::hash::BlobHash;
use crate::stored_file::read_at;

/// How much is searched at once for the beginning of an entry, in bytes.
const WINDOW: usize = 1 << 17;

/// Opens a pack with a damaged header and writes the header anew, as its entries tell it; None
/// if none of them is whole. Blocks.
pub(super) fn open_mended(
    options: &Options,
    number: u32,
    among: &Arc<OpenPacks>,
) -> Result<Option<Pack>, BlobError> {
    let path = path(&options.dir, number, EXTENSION);
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |e| BlobError::io("read", &path, e);
    let file = File::open(&path).map_err(failed)?;
    let Some(id) = recovered_id(&file).map_err(failed)? else {
        return Ok(None);
    };
    tracing::warn!(path = %path.display(),
        "a pack has a damaged header; it is made anew from the entries");
    let write = || {
        let file = open_own(options.disk(), &path)?;
        file.write_all_at(&encode_pack(&id), 0)?;
        file.sync()
    };
    if let Err(error) = write() {
        // The next start finds the id again.
        tracing::warn!(path = %path.display(), %error, "the header of a pack stays damaged");
    }
    let pack = Pack::with_id(path, (number, id), file, among);
    Ok(Some(pack))
}

/// An id with which the whole entries of a pack can be read; None if there are none, or the
/// header is that of something else. Blocks.
fn recovered_id(file: &File) -> io::Result<Option<PackId>> {
    let header = read_at(file, 0, PACK_HEADER as usize)?;
    if has_header_checksum(&header) {
        return Ok(None);
    }
    // Entries lie in content, too, as users send it: one is found only where what it lies in
    // is damaged, and its pack's own take up more.
    let mut seeds = HashMap::<u32, u64>::new();
    let mut offset = u64::from(PACK_HEADER);
    while offset < u64::from(LONGEST_PACK) {
        if let Some((seed, len)) = entry(file, offset)? {
            *seeds.entry(seed).or_default() += len;
            offset += len;
            continue;
        }
        let window = read_at(file, offset + 1, WINDOW)?;
        match memmem::find(&window, &ENTRY_MAGIC) {
            Some(at) => offset += 1 + at as u64,
            None if window.len() < WINDOW => break,
            // The beginning of one may lie across the end of what was searched.
            None => offset += (WINDOW - ENTRY_MAGIC.len()) as u64,
        }
    }
    let most = seeds.into_iter().max_by_key(|(_, bytes)| *bytes);
    Ok(most.map(|(seed, _)| id_with_crc(seed)))
}

/// Where the checksum of the entry at `offset` begins, and the entry's length in bytes; None
/// unless an entry is there whose bytes have its hash. Blocks.
fn entry(file: &File, offset: u64) -> io::Result<Option<(u32, u64)>> {
    let header = read_at(file, offset, ENTRY_HEADER as usize)?;
    let Some((seed, header)) = seed_of(&header) else {
        return Ok(None);
    };
    if u64::from(header.len) > MEMORY_LIMIT {
        return Ok(None);
    }
    let bytes = read_at(file, offset + u64::from(ENTRY_HEADER), header.len as usize)?;
    let is_whole = bytes.len() == header.len as usize && BlobHash::of(&bytes) == header.hash;
    Ok(is_whole.then_some((seed, u64::from(ENTRY_HEADER) + u64::from(header.len))))
}
