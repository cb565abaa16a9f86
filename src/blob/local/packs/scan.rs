//! Reading a pack entry by entry, as a start does where no index tells what is in it.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use memchr::memmem;

use super::super::super::BlobError;
use super::super::damage::Damage;
use super::entry::{PackEntry, prefix};
use super::open_packs::Lent;
use super::pack::Pack;
use crate::blob::pack_format::{ENTRY_HEADER, ENTRY_MAGIC, EntryHeader, LONGEST_PACK, PACK_HEADER};
use crate::hash::BlobHash;

/// How much is read at once, in bytes.
const BUFFER: usize = 1 << 20;

/// What a pack holds.
pub(super) struct Scanned {
    /// The entries with a whole header that lie within the pack, in their order.
    pub(super) entries: Vec<PackEntry>,
    /// How many of them there are up to the last one with whole bytes, or such that are known to
    /// be damaged.
    pub(super) whole: usize,
    /// Where that one ends; what follows is no whole entry.
    pub(super) len: u32,
    /// Whether what follows holds no content that could be mended: nothing is there, or nothing but
    /// zeros, as they are where nothing was written, or the beginning of one entry.
    pub(super) is_clean: bool,
    /// What a torn write leaves, or damage.
    pub(super) doubts: Doubts,
}

/// What was found in packs that a torn write leaves, or damage: only the index knows whether
/// anybody misses it.
#[derive(Debug, Default)]
pub struct Doubts {
    /// Contents that are not whole, as far as their hashes can be read.
    pub broken: Vec<BlobHash>,
    /// Whether there are bytes of which nobody can tell what they were.
    pub has_gaps: bool,
    /// Whether contents may be there again that were deleted.
    pub has_risen: bool,
}

impl Doubts {
    pub(super) fn add(&mut self, other: Self) {
        self.broken.extend(other.broken);
        self.has_gaps |= other.has_gaps;
        self.has_risen |= other.has_risen;
    }
}

/// Reads a whole pack.
///
/// What cannot be read is passed over where an entry follows: there a power cut under
/// relaxed durability has left a hole, or the disk has damaged something. Blocks.
pub(super) fn scan(pack: &Pack, damage: &Damage) -> Result<Scanned, BlobError> {
    let failed = |e| BlobError::io("read", &pack.path, e);
    let mut reader = Reader::new(pack).map_err(failed)?;
    let mut scanned = Scanned {
        entries: Vec::new(),
        whole: 0,
        len: PACK_HEADER,
        is_clean: true,
        doubts: Doubts::default(),
    };
    let file_len = pack.file_len()?;
    loop {
        let offset = reader.offset;
        if let Some((header, is_whole)) = reader.entry().map_err(failed)? {
            if !is_whole {
                scanned.doubts.broken.push(header.hash);
            }
            if u64::from(reader.offset) > file_len {
                continue;
            }
            scanned.entries.push(PackEntry {
                prefix: prefix(&header.hash),
                offset,
                len: header.len,
            });
            // What is known to be damaged was whole once, and is told of until it is mended.
            if is_whole || damage.get(&header.hash).is_some() {
                scanned.whole = scanned.entries.len();
                scanned.len = reader.offset;
            }
        } else {
            scanned.doubts.has_gaps |= u64::from(offset) < file_len;
            if offset >= LONGEST_PACK || !reader.skip_to_entry(offset + 1).map_err(failed)? {
                break;
            }
        }
    }
    let is_clean = reader.is_begun(scanned.len, file_len);
    let is_clean = is_clean.and_then(|begun| Ok(begun || reader.has_only_zeros(scanned.len)?));
    scanned.is_clean = is_clean.map_err(failed)?;
    Ok(scanned)
}

struct Reader<'a> {
    pack: &'a Pack,
    file: BufReader<Lent<'a>>,
    /// Where the next entry should begin, in bytes.
    offset: u32,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(pack: &'a Pack) -> io::Result<Self> {
        let mut reader = Self {
            pack,
            file: BufReader::with_capacity(BUFFER, pack.lend()?),
            offset: 0,
            bytes: Vec::new(),
        };
        reader.seek(PACK_HEADER)?;
        Ok(reader)
    }

    fn seek(&mut self, offset: u32) -> io::Result<()> {
        self.offset = offset;
        self.file.seek(SeekFrom::Start(offset.into())).map(drop)
    }

    /// Reads up to `len` bytes, fewer where the file ends.
    fn fill(&mut self, len: u32) -> io::Result<()> {
        self.bytes.clear();
        let file = self.file.by_ref();
        file.take(len.into()).read_to_end(&mut self.bytes).map(drop)
    }

    /// The header of the next entry, and whether its bytes are whole; None if none begins here.
    fn entry(&mut self) -> io::Result<Option<(EntryHeader, bool)>> {
        self.fill(ENTRY_HEADER)?;
        let Some(header) = EntryHeader::decode(&self.bytes, &self.pack.id) else {
            return Ok(None);
        };
        self.fill(header.len)?;
        self.offset += ENTRY_HEADER + header.len;
        Ok(Some((header, BlobHash::of(&self.bytes) == header.hash)))
    }

    /// Whether the file ends within the entry that begins at `offset`, or with nothing behind it.
    fn is_begun(&mut self, offset: u32, file_len: u64) -> io::Result<bool> {
        self.seek(offset)?;
        self.fill(ENTRY_HEADER)?;
        if self.bytes.len() < ENTRY_HEADER as usize {
            return Ok(true);
        }
        let header = EntryHeader::decode(&self.bytes, &self.pack.id);
        let end = header.map(|it| u64::from(offset) + u64::from(ENTRY_HEADER + it.len));
        Ok(end.is_some_and(|end| end > file_len))
    }

    /// Whether there is nothing from `offset` on but zeros, as far as a pack may reach.
    fn has_only_zeros(&mut self, offset: u32) -> io::Result<bool> {
        self.seek(offset)?;
        for _ in 0..=LONGEST_PACK as usize / BUFFER {
            self.fill(u32::try_from(BUFFER).unwrap_or(u32::MAX))?;
            if self.bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if self.bytes.is_empty() {
                break;
            }
        }
        Ok(true)
    }

    /// Goes to the first entry that begins at `from` or behind; false if there is none.
    fn skip_to_entry(&mut self, mut from: u32) -> io::Result<bool> {
        loop {
            self.seek(from)?;
            let read = u32::try_from(BUFFER).unwrap_or(u32::MAX);
            self.fill(read)?;
            for at in memmem::find_iter(&self.bytes, &ENTRY_MAGIC) {
                let header = self.bytes.get(at..at + ENTRY_HEADER as usize);
                if header.is_some_and(|it| EntryHeader::decode(it, &self.pack.id).is_some()) {
                    self.seek(from + u32::try_from(at).unwrap_or(u32::MAX))?;
                    return Ok(true);
                }
            }
            // Somebody may have made it longer than any pack, with a hole.
            if self.bytes.len() < BUFFER || from >= LONGEST_PACK {
                return Ok(false);
            }
            // A header may lie across the end of what was searched.
            from += read - ENTRY_HEADER;
        }
    }
}
