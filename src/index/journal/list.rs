//! Listing the segments, and reading what is behind a damaged header.
//!
//! The batches have checksums of their own, which begin with the journal's id: whichever id makes
//! them whole is the journal's. Only who goes on behind damage uses that.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::damage::Damage;
use super::search::next_readable;
use super::segment::{HEADER, Header, Kind, Segment, check_chain, number, open, paths};
use crate::index::IndexError;
use crate::stored_file;

/// Where the journal's id is in a header, in bytes.
const ID: std::ops::Range<usize> = 16..32;

/// The segments of the directory in order; those that a snapshot made void come second.
/// Damage goes to `on_damage`, which stops with an error or has the segment read without its
/// header, or left out where that cannot be. Blocks.
pub(in crate::index) fn list(
    dir: &Path,
    on_damage: &mut dyn FnMut(Damage) -> Result<(), IndexError>,
) -> Result<(Vec<Segment>, Vec<PathBuf>), IndexError> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut void = Vec::new();
    let mut damaged = Vec::new();
    // From the newest back to the newest snapshot; what is older is not even opened.
    for path in paths(dir)?.into_iter().rev() {
        if segments
            .last()
            .is_some_and(|s| s.header.kind == Kind::Snapshot)
        {
            void.push(path);
        } else {
            match open(path)? {
                Ok(segment) => segments.push(segment),
                Err(mut damage) => match salvage(&mut damage, &[])? {
                    Some(segment) => {
                        on_damage(damage)?;
                        segments.push(segment);
                    }
                    None => damaged.push(damage),
                },
            }
        }
    }
    let ids: Vec<_> = segments.iter().map(|it| it.header.journal).collect();
    for mut damage in damaged {
        let segment = salvage(&mut damage, &ids)?;
        on_damage(damage)?;
        segments.extend(segment);
    }
    segments.sort_by_key(|segment| segment.header.number);
    check_chain(&segments).map_or(Ok(()), on_damage)?;
    Ok((segments, void))
}

/// The segment with the damaged header that `damage` tells of, where that can be made out, from
/// the bytes of the header or, with one of `ids`, from the batches behind it. `damage` then says
/// whether anything is given up. Blocks.
pub(super) fn salvage(
    damage: &mut Damage,
    ids: &[[u8; 16]],
) -> Result<Option<Segment>, IndexError> {
    let path = damage.path.clone();
    let mut bytes = Vec::new();
    let read = stored_file::open(&path).and_then(|file| file.take(HEADER).read_to_end(&mut bytes));
    if read.is_err() {
        return Ok(None);
    }
    let number = number(&path);
    let whole = <[u8; 64]>::try_from(bytes.as_slice()).ok();
    if let Some(header) = whole.and_then(without_one_flip)
        && Some(header.number) == number
    {
        damage.gives_up = false;
        return Ok(Some(Segment { path, header }));
    }
    let own = bytes.get(ID).and_then(|id| id.first_chunk::<16>()).copied();
    for journal in ids.iter().copied().chain(own) {
        let header = Header {
            kind: Kind::Log,
            journal,
            number: number.unwrap_or(0),
            seq: 1,
            count: 0,
        };
        let mut segment = Segment {
            path: path.clone(),
            header,
        };
        if let Some((offset, batch)) = next_readable(&segment, HEADER - 1)? {
            // What is missing before it shows by its number.
            segment.header.seq = batch.first_seq;
            damage.gives_up = offset != HEADER;
            return Ok(Some(segment));
        }
    }
    Ok(None)
}

/// The header in which one bit flipped, its checksum's included.
fn without_one_flip(bytes: [u8; 64]) -> Option<Header> {
    (0..bytes.len() * 8).find_map(|bit| {
        let mut bytes = bytes;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
        Header::decode(&bytes).ok()
    })
}
