//! The bytes of `trash`: what was removed and can be brought back, as it was written down.

use crate::hash::BlobHash;
use crate::record::{FileId, Timestamp};

/// What the file begins with.
pub(super) const HEADER: &[u8; 16] = b"larder-trash 1\n\0";
/// How long each entry is, in bytes.
pub(super) const ENTRY: usize = 80;

const MARKED: u8 = 1;
const GONE: u8 = 2;
const CLOCK: u8 = 3;

/// What is known of a file in the trash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its content.
    pub(super) hash: BlobHash,
    /// How long that is, in bytes.
    pub(super) size: u64,
    /// When it was removed, by the clock of the machine: for people alone.
    pub(super) removed_at: Timestamp,
    /// When it goes, in milliseconds of the trash's own clock.
    pub(super) until: u64,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file is in the trash.
    Marked(FileId, Mark),
    /// It is there no more: it was brought back, or is gone.
    Gone(FileId),
    /// The trash's own clock has come so far, in milliseconds.
    Clock(u64),
}

impl Entry {
    /// Its bytes: kind, id, hash, size, time of the removal, the trash's clock, 3 zeros, and the
    /// CRC-32C of all that, each number with its least byte first.
    pub(super) fn encode(&self) -> [u8; ENTRY] {
        let none = Mark {
            hash: BlobHash::from_bytes([0; 32]),
            size: 0,
            removed_at: Timestamp(0),
            until: 0,
        };
        let no_id = FileId::from_bytes([0; 16]);
        let (kind, id, mark) = match *self {
            Self::Marked(id, mark) => (MARKED, id, mark),
            Self::Gone(id) => (GONE, id, none),
            Self::Clock(until) => (CLOCK, no_id, Mark { until, ..none }),
        };
        let mut bytes = Vec::with_capacity(ENTRY);
        bytes.push(kind);
        bytes.extend(id.as_bytes());
        bytes.extend(mark.hash.as_bytes());
        bytes.extend(mark.size.to_le_bytes());
        bytes.extend(mark.removed_at.0.to_le_bytes());
        bytes.extend(mark.until.to_le_bytes());
        bytes.extend([0; 3]);
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        let mut whole = [0; ENTRY];
        for (to, from) in whole.iter_mut().zip(bytes) {
            *to = from;
        }
        whole
    }

    /// Reverses [`Entry::encode`]; None where the bytes are not as they were written.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != crc32c::crc32c(body) {
            return None;
        }
        let (kind, rest) = body.split_first()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (removed_at, rest) = rest.split_first_chunk::<8>()?;
        let (until, _) = rest.split_first_chunk::<8>()?;
        let mark = Mark {
            hash: BlobHash::from_bytes(*hash),
            size: u64::from_le_bytes(*size),
            removed_at: Timestamp(i64::from_le_bytes(*removed_at)),
            until: u64::from_le_bytes(*until),
        };
        match *kind {
            MARKED => Some(Self::Marked(FileId::from_bytes(*id), mark)),
            GONE => Some(Self::Gone(FileId::from_bytes(*id))),
            CLOCK => Some(Self::Clock(mark.until)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_written_as_version_1_says_and_any_flip_shows() {
        let mark = Mark {
            hash: BlobHash::from_bytes([9; 32]),
            size: 5,
            removed_at: Timestamp(-2),
            until: 300,
        };
        let id = FileId::from_bytes([7; 16]);
        let golden = [
            vec![1],
            vec![7; 16],
            vec![9; 32],
            vec![5, 0, 0, 0, 0, 0, 0, 0],
            vec![254, 255, 255, 255, 255, 255, 255, 255],
            vec![44, 1, 0, 0, 0, 0, 0, 0],
            vec![0; 3],
        ]
        .concat();
        let written = Entry::Marked(id, mark).encode();
        assert_eq!(written[..76], golden);
        for entry in [Entry::Marked(id, mark), Entry::Gone(id), Entry::Clock(9)] {
            let mut bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes), Some(entry));
            for bit in 0..ENTRY * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Entry::decode(&bytes), None, "{bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
