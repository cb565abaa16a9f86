//! The bytes of a pack: a header, then entries without gaps, each a header and a blob.
//!
//! `migrations/0002_packs.md` gives them one by one. Those in a bucket are written in the same way.

use crate::hash::BlobHash;
use crate::pack_rows::ENTRY_OVERHEAD;

/// The length of a pack's header, in bytes.
pub(in crate::blob) const PACK_HEADER: u32 = 32;
/// The length of an entry's header, in bytes.
pub(in crate::blob) const ENTRY_HEADER: u32 = 44;
const _: () = assert!(ENTRY_HEADER as u64 == ENTRY_OVERHEAD);

/// No content in a pack is longer, in bytes.
pub(in crate::blob) const LONGEST_CONTENT: u64 = 64 * 1024;
/// Every entry begins with these bytes.
pub(in crate::blob) const ENTRY_MAGIC: [u8; 4] = *b"LPE1";

/// The longest that packs may be finished at, in bytes.
pub const MAX_PACK_BYTES: u32 = 1 << 30;

/// No pack is longer, in bytes: what is appended together begins before its end.
pub(in crate::blob) const LONGEST_PACK: u32 = MAX_PACK_BYTES + (32 << 20);

const PACK_MAGIC: [u8; 8] = *b"larderP\n";
const VERSION: u32 = 1;

/// A random number of each pack. Every checksum in and about the pack begins with it, so
/// that no content that a user sends can be taken for an entry, and no file of one pack
/// for that of another.
pub(in crate::blob) type PackId = [u8; 16];

/// The header of the pack with this id.
pub(in crate::blob) fn encode_pack(id: &PackId) -> Vec<u8> {
    let mut bytes = PACK_MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(id);
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// The id in a pack's header; None if the header is damaged.
pub(in crate::blob) fn decode_pack(bytes: &[u8]) -> Option<PackId> {
    let (body, crc) = bytes.split_last_chunk()?;
    let (magic, rest) = body.split_first_chunk()?;
    let (version, id) = rest.split_first_chunk()?;
    let known = *magic == PACK_MAGIC && u32::from_le_bytes(*version) == VERSION;
    let whole = u32::from_le_bytes(*crc) == crc32c::crc32c(body);
    (known && whole).then_some(id.try_into().ok()?)
}

/// Whether these are the bytes of a header with its checksum, known or not.
pub(in crate::blob) fn has_header_checksum(bytes: &[u8]) -> bool {
    let split = bytes.split_last_chunk();
    split.is_some_and(|(body, crc)| u32::from_le_bytes(*crc) == crc32c::crc32c(body))
}

/// What stands before a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::blob) struct EntryHeader {
    pub(in crate::blob) hash: BlobHash,
    /// The length of the blob, in bytes.
    pub(in crate::blob) len: u32,
}

impl EntryHeader {
    /// Appends the header as it is written in the pack with this id.
    pub(in crate::blob) fn encode(&self, id: &PackId, to: &mut Vec<u8>) {
        let begin = to.len();
        to.extend(ENTRY_MAGIC);
        to.extend(self.len.to_le_bytes());
        to.extend(self.hash.as_bytes());
        let crc = checksum(id, to.get(begin..).unwrap_or_default());
        to.extend(crc.to_le_bytes());
    }

    /// Reads a header of the pack with this id; None if it is none.
    pub(in crate::blob) fn decode(bytes: &[u8], id: &PackId) -> Option<Self> {
        let (header, body, crc) = Self::parse(bytes)?;
        let whole = crc == checksum(id, body);
        (whole && u64::from(header.len) <= LONGEST_CONTENT).then_some(header)
    }

    /// A header, the bytes that its checksum is of, and the checksum, right or not.
    fn parse(bytes: &[u8]) -> Option<(Self, &[u8], u32)> {
        let (body, crc) = bytes.split_last_chunk()?;
        let (magic, rest) = body.split_first_chunk()?;
        let (len, hash) = rest.split_first_chunk()?;
        let header = Self {
            hash: BlobHash::from_bytes(hash.try_into().ok()?),
            len: u32::from_le_bytes(*len),
        };
        (*magic == ENTRY_MAGIC).then_some((header, body, u32::from_le_bytes(*crc)))
    }
}

/// The CRC-32C of the id of the pack that an entry's header is of, and the header; None if it
/// does not look like one.
pub(in crate::blob) fn seed_of(bytes: &[u8]) -> Option<(u32, EntryHeader)> {
    let (header, body, crc) = EntryHeader::parse(bytes)?;
    Some((!unrolled(!crc, body), header))
}

/// An id with this CRC-32C. What is checked with another one of the same CRC is whole with it,
/// too.
pub(in crate::blob) fn id_with_crc(crc: u32) -> PackId {
    let mut id = *uuid::Uuid::new_v4().as_bytes();
    let (random, last) = id.split_at_mut(12);
    let needed = unrolled(!crc, &[0; 4]) ^ !crc32c::crc32c(random);
    last.copy_from_slice(&needed.to_le_bytes());
    id
}

/// The state of a CRC-32C before `bytes` brought it into `state`.
fn unrolled(mut state: u32, bytes: &[u8]) -> u32 {
    /// Its polynomial, the lowest bit first.
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    for byte in bytes.iter().rev() {
        for _ in 0..8 {
            state = if state >> 31 == 1 {
                (state ^ POLYNOMIAL) << 1 | 1
            } else {
                state << 1
            };
        }
        state ^= u32::from(*byte);
    }
    state
}

/// The checksum of `bytes` in or about the pack with this id.
pub(in crate::blob) fn checksum(id: &PackId, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(id), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PackId = [7; 16];

    fn header() -> EntryHeader {
        EntryHeader {
            hash: BlobHash::from_bytes([9; 32]),
            len: 258,
        }
    }

    #[test]
    fn an_entry_tells_an_id_that_its_pack_can_be_read_with() {
        let mut entry = Vec::new();
        header().encode(&ID, &mut entry);
        let (seed, told) = seed_of(&entry).unwrap();
        assert_eq!((seed, told), (crc32c::crc32c(&ID), header()));
        let id = id_with_crc(seed);
        assert_ne!(id, ID);
        assert_eq!(EntryHeader::decode(&entry, &id), Some(header()));
    }

    #[test]
    fn headers_are_written_as_version_1_says() {
        let mut pack = b"larderP\n\x01\0\0\0".to_vec();
        pack.extend(ID);
        pack.extend(crc32c::crc32c(&pack).to_le_bytes());
        assert_eq!(encode_pack(&ID), pack);
        assert_eq!(pack.len(), PACK_HEADER as usize);
        assert_eq!(decode_pack(&pack), Some(ID));

        let mut entry = b"LPE1\x02\x01\0\0".to_vec();
        entry.extend([9; 32]);
        let crc = crc32c::crc32c(&[&ID[..], &entry].concat());
        entry.extend(crc.to_le_bytes());
        let mut encoded = Vec::new();
        header().encode(&ID, &mut encoded);
        assert_eq!(encoded, entry);
        assert_eq!(entry.len(), ENTRY_HEADER as usize);
        assert_eq!(EntryHeader::decode(&entry, &ID), Some(header()));
    }

    #[test]
    fn any_change_and_any_other_pack_is_noticed() {
        let mut entry = Vec::new();
        header().encode(&ID, &mut entry);
        assert_eq!(EntryHeader::decode(&entry, &[8; 16]), None);
        let pack = encode_pack(&ID);
        for at in 0..pack.len().max(entry.len()) {
            let changed = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= 1);
                bytes
            };
            let in_pack = at < pack.len();
            assert!(!in_pack || decode_pack(&changed(&pack)).is_none(), "{at}");
            let in_entry = at < entry.len();
            let decoded = EntryHeader::decode(&changed(&entry), &ID);
            assert!(!in_entry || decoded.is_none(), "{at}");
        }
        for len in 0..pack.len() {
            assert_eq!(decode_pack(pack.split_at(len).0), None);
            assert_eq!(EntryHeader::decode(entry.split_at(len).0, &ID), None);
        }
    }
}
