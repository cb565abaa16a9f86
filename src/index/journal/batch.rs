//! A batch of entries: what one write of the journal holds, whole or not at all.

use crate::index::codec::{Entry, decode_entry, encode_entry};

/// Every batch begins with these bytes.
pub(super) const MAGIC: [u8; 4] = *b"LJB1";
/// The length of the header before the entries, in bytes.
pub(super) const HEADER: usize = 36;
/// The longest body of a batch, in bytes.
pub(super) const MAX_BODY: usize = 4 << 20;
/// Set in a batch that was acknowledged before it was synced.
const RELAXED: u32 = 1;

/// Entries that were written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::index) struct Batch {
    /// The sequence number of the first entry.
    pub(in crate::index) first_seq: u64,
    /// Entries up to this one were durable when the batch was written.
    pub(in crate::index) durable_seq: u64,
    /// Whether the batch was acknowledged before it was synced.
    pub(in crate::index) relaxed: bool,
    /// The changes.
    pub(in crate::index) entries: Vec<Entry>,
}

/// Bytes that are no whole batch.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadBatch {
    #[error("the batch is cut off")]
    Short,
    #[error("no batch begins here")]
    Magic,
    #[error("the batch is longer than any can be")]
    Length,
    #[error("the checksum does not match")]
    Checksum,
    #[error("an entry cannot be read: {0}")]
    Entry(String),
}

impl Batch {
    /// The sequence number after the last entry.
    pub(in crate::index) fn next_seq(&self) -> u64 {
        self.first_seq + self.entries.len() as u64
    }

    /// The batch as it is written in the journal of this id.
    pub(super) fn encode(self, journal: &[u8; 16]) -> Vec<u8> {
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let mut body = Vec::new();
        for entry in self.entries {
            let entry = encode_entry(entry);
            body.extend(u32::try_from(entry.len()).unwrap_or(u32::MAX).to_le_bytes());
            body.extend(entry);
        }
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(MAGIC);
        bytes.extend(if self.relaxed { RELAXED } else { 0 }.to_le_bytes());
        bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(self.first_seq.to_le_bytes());
        bytes.extend(self.durable_seq.to_le_bytes());
        let crc = checksum(journal, &bytes, &body);
        bytes.extend(crc.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// The batch of the journal of this id at the beginning of `bytes`, and its
    /// length in bytes.
    pub(super) fn decode(bytes: &[u8], journal: &[u8; 16]) -> Result<(Self, usize), BadBatch> {
        let mut fields = Fields(bytes);
        if fields.take::<4>()? != MAGIC {
            return Err(BadBatch::Magic);
        }
        let flags = u32::from_le_bytes(fields.take()?);
        let len = u32::from_le_bytes(fields.take()?) as usize;
        let count = u32::from_le_bytes(fields.take()?);
        let first_seq = u64::from_le_bytes(fields.take()?);
        let durable_seq = u64::from_le_bytes(fields.take()?);
        let crc = u32::from_le_bytes(fields.take()?);
        if len > MAX_BODY {
            return Err(BadBatch::Length);
        }
        let body = fields.0.get(..len).ok_or(BadBatch::Short)?;
        let head = bytes.get(..HEADER - 4).ok_or(BadBatch::Short)?;
        if checksum(journal, head, body) != crc {
            return Err(BadBatch::Checksum);
        }
        let entries = decode_entries(body, count)?;
        let relaxed = flags & RELAXED != 0;
        Ok((
            Self {
                first_seq,
                durable_seq,
                relaxed,
                entries,
            },
            HEADER + len,
        ))
    }
}

/// How long the body is that a header tells of, in bytes, right or not; None where it is cut off.
pub(super) fn body_len(header: &[u8]) -> Option<usize> {
    let len = header.get(8..12)?.first_chunk()?;
    Some(u32::from_le_bytes(*len) as usize)
}

/// The checksum begins with the journal's id, which nobody outside knows: no text that a
/// user sends can be taken for a batch.
fn checksum(journal: &[u8; 16], head: &[u8], body: &[u8]) -> u32 {
    let parts: [&[u8]; 3] = [journal, head, body];
    parts.into_iter().fold(0, crc32c::crc32c_append)
}

fn decode_entries(body: &[u8], count: u32) -> Result<Vec<Entry>, BadBatch> {
    let mut fields = Fields(body);
    let mut entries = Vec::new();
    for _ in 0..count {
        let len = u32::from_le_bytes(fields.take()?) as usize;
        let (entry, rest) = fields.0.split_at_checked(len).ok_or(BadBatch::Short)?;
        entries.push(decode_entry(entry).map_err(|e| BadBatch::Entry(e.to_string()))?);
        fields.0 = rest;
    }
    if fields.0.is_empty() {
        Ok(entries)
    } else {
        Err(BadBatch::Entry("bytes left over".into()))
    }
}

/// Bytes taken off from the front.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], BadBatch> {
        let (field, rest) = self.0.split_first_chunk().ok_or(BadBatch::Short)?;
        self.0 = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::FileId;

    const JOURNAL: [u8; 16] = [8; 16];

    fn batch() -> Batch {
        let entries = vec![
            Entry::Removed {
                id: FileId::from_bytes([1; 16]),
                digest: 5,
            },
            Entry::Removed {
                id: FileId::from_bytes([2; 16]),
                digest: 6,
            },
        ];
        Batch {
            first_seq: 3,
            durable_seq: 2,
            relaxed: true,
            entries,
        }
    }

    #[test]
    fn a_batch_is_written_as_version_1_says() {
        let mut golden = b"LJB1".to_vec();
        golden.extend([1, 0, 0, 0, 46, 0, 0, 0, 2, 0, 0, 0]);
        golden.extend([3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let mut body = vec![19, 0, 0, 0, 1, 1];
        body.extend([1; 16]);
        body.extend([5, 19, 0, 0, 0, 1, 1]);
        body.extend([2; 16]);
        body.push(6);
        let crc = crc32c::crc32c(&[JOURNAL.to_vec(), golden.clone(), body.clone()].concat());
        golden.extend(crc.to_le_bytes());
        golden.extend(body);
        assert_eq!(batch().encode(&JOURNAL), golden);
        assert_eq!(
            Batch::decode(&golden, &JOURNAL).unwrap(),
            (batch(), golden.len())
        );
    }

    #[test]
    fn a_batch_of_another_journal_is_none() {
        let bytes = batch().encode(&JOURNAL);
        assert!(Batch::decode(&bytes, &[9; 16]).is_err());
    }

    proptest! {
        #[test]
        fn any_single_change_is_noticed(at in 0..82usize, xor in 1..=255u8) {
            let mut bytes = batch().encode(&JOURNAL);
            prop_assert_eq!(bytes.len(), 82);
            bytes[at] ^= xor;
            prop_assert!(Batch::decode(&bytes, &JOURNAL).is_err());
        }

        #[test]
        fn a_part_of_a_batch_is_none(len in 0..82usize) {
            prop_assert!(Batch::decode(&batch().encode(&JOURNAL)[..len], &JOURNAL).is_err());
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes: Vec<u8>, magic: bool) {
            if magic { bytes.splice(0..0, MAGIC); }
            prop_assert!(Batch::decode(&bytes, &JOURNAL).is_err());
        }
    }
}
