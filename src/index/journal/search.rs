//! Finding the next batch behind bytes that are none.
//!
//! Damage may make a segment as long as a file can be, so it is searched piece by piece, and what
//! takes no room on the disk is passed over.

use std::fs::File;
use std::io;

use memchr::memmem;

use super::batch::{Batch, HEADER, MAGIC, MAX_BODY, body_len};
use super::segment::Segment;
use crate::index::IndexError;
use crate::stored_file::{self, next_data, read_at};

/// How much is searched at once, in bytes.
const WINDOW: usize = 1 << 20;

/// The next batch that can be read somewhere behind `offset`, with its place. Takes as much
/// memory as a batch and a window of the search.
pub(super) fn next_readable(
    segment: &Segment,
    offset: u64,
) -> Result<Option<(u64, Batch)>, IndexError> {
    let search = || {
        let file = stored_file::open(&segment.path)?;
        let mut from = offset.saturating_add(1);
        while let Some(at) = next_data(&file, from)? {
            let window = read_at(&file, at, WINDOW)?;
            for place in memmem::find_iter(&window, &MAGIC) {
                let place = at + place as u64;
                if let Some(batch) = batch_at(&file, place, &segment.header.journal)? {
                    return Ok(Some((place, batch)));
                }
            }
            if window.len() < MAGIC.len() {
                break;
            }
            // The beginning of a batch may lie across the end of what was searched.
            from = at + (window.len() - (MAGIC.len() - 1)) as u64;
        }
        Ok(None)
    };
    search().map_err(|e| IndexError::io("read", &segment.path, e))
}

/// The batch that begins at `place`, if one does. Blocks.
pub(super) fn batch_at(file: &File, place: u64, journal: &[u8; 16]) -> io::Result<Option<Batch>> {
    let header = read_at(file, place, HEADER)?;
    let body = body_len(&header).filter(|len| *len <= MAX_BODY);
    let Some(body) = body else {
        return Ok(None);
    };
    let batch = read_at(file, place, HEADER + body)?;
    Ok(Batch::decode(&batch, journal).ok().map(|(batch, _)| batch))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::PathBuf;

    use super::super::segment::{Header, Kind};
    use super::*;

    const JOURNAL: [u8; 16] = [5; 16];

    fn segment(path: PathBuf) -> Segment {
        let header = Header {
            kind: Kind::Log,
            journal: JOURNAL,
            number: 1,
            seq: 1,
            count: 0,
        };
        Segment { path, header }
    }

    fn batch() -> Batch {
        Batch {
            first_seq: 9,
            durable_seq: 8,
            relaxed: false,
            entries: Vec::new(),
        }
    }

    #[test]
    fn a_batch_is_found_wherever_it_begins_behind_damage() {
        let dir = tempfile::tempdir().unwrap();
        let segment = segment(dir.path().join("segment"));
        let around = (WINDOW - HEADER - 2)..(WINDOW + 2);
        for place in [1, 2, 100].into_iter().chain(around) {
            let mut bytes = vec![b'L'; place];
            bytes.extend(batch().encode(&JOURNAL));
            std::fs::write(&segment.path, &bytes).unwrap();
            let found = next_readable(&segment, 0).unwrap();
            assert_eq!(found, Some((place as u64, batch())), "{place}");
            let behind = next_readable(&segment, place as u64).unwrap();
            assert_eq!(behind, None, "{place}");
        }
    }

    #[test]
    fn a_hole_that_is_longer_than_any_memory_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let segment = segment(dir.path().join("segment"));
        let file = File::create(&segment.path).unwrap();
        let place = 1 << 42;
        file.write_all_at(&batch().encode(&JOURNAL), place).unwrap();
        file.set_len(place + (1 << 40)).unwrap();
        let found = next_readable(&segment, 0).unwrap();
        assert_eq!(found, Some((place, batch())));
        assert_eq!(next_readable(&segment, place).unwrap(), None);
    }
}
