//! Writing a snapshot segment, which replaces all segments before it.

use std::path::PathBuf;

use super::batch::Batch;
use super::options::Options;
use super::segment::{self, HEADER, Header, Kind};
use super::writer::publish;
use crate::disk::{DiskFile, Durability, free_place};
use crate::index::IndexError;
use crate::index::codec::Entry;
use crate::record::FileRecord;

/// Under this name a snapshot is written before it gets its own.
pub(super) const UNFINISHED: &str = "unfinished-snapshot";
/// How many files go into one batch.
const BATCH: usize = 128;

/// A snapshot being written. Nothing is replaced before [`SnapshotWriter::finish`].
pub(in crate::index) struct SnapshotWriter {
    options: Options,
    header: Header,
    file: Box<dyn DiskFile>,
    path: PathBuf,
    offset: u64,
    waiting: Vec<Entry>,
}

impl SnapshotWriter {
    /// Begins the snapshot of what is there before the change `seq`, to be segment `number`.
    pub(in crate::index) fn begin(
        options: Options,
        journal: [u8; 16],
        number: u64,
        seq: u64,
    ) -> Result<Self, IndexError> {
        let place = options.dir.join(UNFINISHED);
        let create = || {
            let path = free_place(&*options.disk, &place)?;
            Ok((options.disk.create(&path)?, path))
        };
        let (file, path) = create().map_err(|e| IndexError::io("create", &place, e))?;
        let header = Header {
            kind: Kind::Snapshot,
            journal,
            number,
            seq,
            count: 0,
        };
        Ok(Self {
            options,
            header,
            file,
            path,
            offset: HEADER,
            waiting: Vec::new(),
        })
    }

    /// Adds a file.
    pub(in crate::index) fn add(&mut self, record: FileRecord) -> Result<(), IndexError> {
        self.waiting.push(Entry::Added(record));
        if self.waiting.len() < BATCH {
            Ok(())
        } else {
            self.write_waiting()
        }
    }

    /// Makes the snapshot durable, in the place of a segment of its number if there is
    /// one, and removes the segments it makes void.
    pub(in crate::index) fn finish(
        mut self,
        void: impl IntoIterator<Item = PathBuf>,
    ) -> Result<u64, IndexError> {
        self.write_waiting()?;
        let Self {
            options,
            header,
            file,
            path,
            ..
        } = self;
        let to = segment::path(&options.dir, header.number);
        let publish = || {
            if options.durability == Durability::Relaxed {
                // Its files count as settled, so their blobs must be durable, too.
                options.disk.sync_file_system(&options.dir)?;
            }
            file.write_all_at(&header.encode(), 0)?;
            file.sync()?;
            publish(&options, &path, &to)
        };
        publish().map_err(|e| IndexError::io("publish", &to, e))?;
        // A crash here leaves void segments, which the next start removes.
        for path in void {
            options
                .disk
                .remove_file(&path)
                .map_err(|e| IndexError::io("remove", &path, e))?;
        }
        Ok(header.count)
    }

    fn write_waiting(&mut self) -> Result<(), IndexError> {
        let entries = std::mem::take(&mut self.waiting);
        if entries.is_empty() {
            return Ok(());
        }
        let first_seq = self.header.count + 1;
        self.header.count += entries.len() as u64;
        let durable_seq = first_seq - 1;
        let bytes = Batch {
            first_seq,
            durable_seq,
            relaxed: false,
            entries,
        }
        .encode(&self.header.journal);
        self.file
            .write_all_at(&bytes, self.offset)
            .map_err(|e| IndexError::io("write", &self.path, e))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}
