//! How records and journal entries are written down: a version byte, then bincode.
//!
//! The golden-byte tests below hold every encoding still; a change of one is a new
//! version beside the old (see `migrations/README.md`).

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// The longest encoding that decodes, in bytes; no record comes near it.
const MAX_ENCODED: usize = 64 * 1024;
const VERSION: u8 = 1;
const CONFIG: Configuration<LittleEndian, Varint, Limit<MAX_ENCODED>> =
    bincode::config::standard().with_limit::<MAX_ENCODED>();

/// One change of the index, as the journal tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file was added.
    Added(FileRecord),
    /// A file was removed. The digest is that of its record, so that a sum over
    /// the journal needs no memory of what was added.
    Removed { id: FileId, digest: u128 },
}

/// Bytes that are no encoding of what was expected.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    #[error("an empty value")]
    Empty,
    #[error("a value of version {0}, which this larder does not know")]
    Version(u8),
    #[error("{0} bytes follow the value")]
    Trailing(usize),
    #[error(transparent)]
    Malformed(#[from] bincode::error::DecodeError),
}

#[derive(Encode, Decode)]
struct RecordV1 {
    id: [u8; 16],
    uploaded_at: i64,
    name: String,
    content_type: Option<String>,
    description: String,
    size: u64,
    hash: [u8; 32],
}

#[derive(Encode, Decode)]
enum EntryV1 {
    Added(RecordV1),
    Removed { id: [u8; 16], digest: u128 },
}

impl From<FileRecord> for RecordV1 {
    fn from(record: FileRecord) -> Self {
        let NewFile {
            name,
            content_type,
            description,
            size,
            hash,
        } = record.file;
        Self {
            id: *record.id.as_bytes(),
            uploaded_at: record.uploaded_at.0,
            name,
            content_type,
            description,
            size,
            hash: *hash.as_bytes(),
        }
    }
}

impl From<RecordV1> for FileRecord {
    fn from(record: RecordV1) -> Self {
        let RecordV1 {
            id,
            uploaded_at,
            name,
            content_type,
            description,
            size,
            hash,
        } = record;
        let hash = BlobHash::from_bytes(hash);
        Self {
            id: FileId::from_bytes(id),
            uploaded_at: Timestamp(uploaded_at),
            file: NewFile {
                name,
                content_type,
                description,
                size,
                hash,
            },
        }
    }
}

/// A versioned encoding of any of this module's or the lookup's values.
pub(super) fn encode(value: impl Encode) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    // Encoding into memory fails only for types whose length is unknown; these have one.
    if let Ok(body) = bincode::encode_to_vec(value, CONFIG) {
        bytes.extend(body);
    }
    bytes
}

/// Reverses [`encode`].
pub(super) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != VERSION {
        return Err(DecodeError::Version(*version));
    }
    let (value, used) = bincode::decode_from_slice(body, CONFIG)?;
    match body.len() - used {
        0 => Ok(value),
        more => Err(DecodeError::Trailing(more)),
    }
}

pub(super) fn encode_record(record: FileRecord) -> Vec<u8> {
    encode(RecordV1::from(record))
}

pub(super) fn decode_record(bytes: &[u8]) -> Result<FileRecord, DecodeError> {
    decode::<RecordV1>(bytes).map(FileRecord::from)
}

pub(super) fn encode_entry(entry: Entry) -> Vec<u8> {
    encode(match entry {
        Entry::Added(record) => EntryV1::Added(record.into()),
        Entry::Removed { id, digest } => EntryV1::Removed {
            id: *id.as_bytes(),
            digest,
        },
    })
}

pub(super) fn decode_entry(bytes: &[u8]) -> Result<Entry, DecodeError> {
    Ok(match decode::<EntryV1>(bytes)? {
        EntryV1::Added(record) => Entry::Added(record.into()),
        EntryV1::Removed { id, digest } => Entry::Removed {
            id: FileId::from_bytes(id),
            digest,
        },
    })
}

/// The digest of an encoded record. Digests are summed up, in any order, to tell
/// whether two sets of records are the same.
pub(super) fn digest(bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    hash.as_bytes()
        .iter()
        .take(16)
        .fold(0, |sum, byte| (sum << 8) | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> FileRecord {
        FileRecord {
            id: FileId::from_bytes([7; 16]),
            uploaded_at: Timestamp(300),
            file: NewFile {
                name: "a.txt".into(),
                content_type: Some("b/c".into()),
                description: "dé".into(),
                size: 5,
                hash: BlobHash::from_bytes([9; 32]),
            },
        }
    }

    /// The bytes of `record()` after bincode's specification (little endian, varint,
    /// zigzag for signed numbers), written out by hand.
    fn record_bytes() -> Vec<u8> {
        let mut bytes = vec![7; 16];
        bytes.extend([251, 88, 2]); // 300 zigzags to 600 = 0x0258, a u16 varint
        bytes.extend(b"\x05a.txt");
        bytes.extend(b"\x01\x03b/c");
        bytes.extend("\u{3}dé".as_bytes());
        bytes.push(5);
        bytes.extend([9; 32]);
        bytes
    }

    #[test]
    fn a_record_is_written_as_version_1_says() {
        let golden = [vec![1], record_bytes()].concat();
        assert_eq!(encode_record(record()), golden);
        assert_eq!(decode_record(&golden).unwrap(), record());
    }

    #[test]
    fn an_entry_is_written_as_version_1_says() {
        let added = [vec![1, 0], record_bytes()].concat();
        assert_eq!(encode_entry(Entry::Added(record())), added);
        assert_eq!(decode_entry(&added).unwrap(), Entry::Added(record()));

        let removed = [vec![1, 1], vec![7; 16], vec![250]].concat();
        let entry = Entry::Removed {
            id: record().id,
            digest: 250,
        };
        assert_eq!(encode_entry(entry.clone()), removed);
        assert_eq!(decode_entry(&removed).unwrap(), entry);
    }

    #[test]
    fn other_versions_and_trailing_bytes_do_not_decode() {
        let golden = encode_record(record());
        assert!(matches!(decode_record(&[]), Err(DecodeError::Empty)));
        let newer = [&[2], &golden[1..]].concat();
        assert!(matches!(
            decode_record(&newer),
            Err(DecodeError::Version(2))
        ));
        let longer = [&golden[..], &[0]].concat();
        assert!(matches!(
            decode_record(&longer),
            Err(DecodeError::Trailing(1))
        ));
        let shorter = &golden[..golden.len() - 1];
        assert!(matches!(
            decode_record(shorter),
            Err(DecodeError::Malformed(_))
        ));
    }
}
