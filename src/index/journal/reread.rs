//! Reading single entries of the journal once more, by where they stand.

use std::fs::File;
use std::path::PathBuf;

use super::batch::Batch;
use super::read::Spot;
use super::search::batch_at;
use super::segment::Segment;
use crate::index::IndexError;
use crate::index::codec::Entry;
use crate::stored_file;

/// Segments that stay open, so that what was found in them is there also when a snapshot has taken
/// their place since: a descriptor for each.
pub(in crate::index) struct Reread {
    segments: Vec<Open>,
}

struct Open {
    file: File,
    path: PathBuf,
    journal: [u8; 16],
}

/// The batch that was read last: entries that are asked for one after the other mostly share one.
#[derive(Default)]
pub(in crate::index) struct LastRead(Option<(Spot, Batch)>);

impl Reread {
    /// Opens segments, in the order in which they are read.
    pub(in crate::index) fn open(segments: &[Segment]) -> Result<Self, IndexError> {
        let opened = segments.iter().map(|segment| {
            let path = segment.path.clone();
            match stored_file::open(&path) {
                Ok(file) => Ok(Open {
                    file,
                    path,
                    journal: segment.header.journal,
                }),
                Err(e) => Err(IndexError::io("open", path, e)),
            }
        });
        Ok(Self {
            segments: opened.collect::<Result<_, _>>()?,
        })
    }

    /// The entry that stands there. Blocks.
    pub(in crate::index) fn entry(
        &self,
        spot: Spot,
        last: &mut LastRead,
    ) -> Result<Entry, IndexError> {
        let of_batch = spot.of_entry(0);
        if last.0.as_ref().is_none_or(|(read, _)| *read != of_batch) {
            last.0 = Some((of_batch, self.batch(of_batch)?));
        }
        let read = last.0.as_ref();
        let entry = read.and_then(|(_, batch)| batch.entries.get(spot.entry as usize));
        entry.cloned().ok_or_else(|| self.changed(spot))
    }

    fn batch(&self, spot: Spot) -> Result<Batch, IndexError> {
        let open = self.of(spot);
        let open = open.ok_or_else(|| self.changed(spot))?;
        let batch = batch_at(&open.file, spot.offset, &open.journal);
        let batch = batch.map_err(|e| IndexError::io("read", &open.path, e))?;
        batch.ok_or_else(|| self.changed(spot))
    }

    fn of(&self, spot: Spot) -> Option<&Open> {
        self.segments.get(spot.segment as usize)
    }

    /// That something else stands there now.
    fn changed(&self, spot: Spot) -> IndexError {
        IndexError::Damaged {
            path: self
                .of(spot)
                .map_or_else(PathBuf::new, |it| it.path.clone()),
            offset: spot.offset,
            detail: "a change that was read there before can no longer be read".into(),
        }
    }
}
