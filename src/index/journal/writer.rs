//! Appending to the journal.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::batch::{Batch, MAX_BODY};
use super::last::LastBatch;
use super::options::Options;
use super::reached::ReachedNotes;
use super::read::End;
use super::segment::{self, HEADER, Header, Kind, Segment};
use crate::append_file::AppendFile;
use crate::disk::{Disk, Durability, free_place, open_own};
use crate::index::IndexError;
use crate::index::codec::Entry;

/// The journal, open for appending. It has one owner, the index's writing thread.
pub(in crate::index) struct Journal {
    options: Options,
    /// What all segments of this journal share.
    id: [u8; 16],
    active: Active,
    last: LastBatch,
    /// None while the journal is mended: what is lost beyond that is still to be told.
    reached: Option<ReachedNotes>,
    next_seq: u64,
    durable_seq: u64,
    refusal: Arc<OnceLock<String>>,
}

/// The segment that is written.
struct Active {
    file: AppendFile,
    number: u64,
}

impl Journal {
    /// Opens the journal behind `end`, where reading it ended; an unfinished write
    /// there is cut off. A journal without segments is begun.
    ///
    /// `refusal` is set when a write or sync has failed in a way that leaves unknown
    /// what is on disk; nothing is written after that. It is noted whether it `keeps` contents
    /// that no record needs.
    pub(in crate::index) fn open(
        options: Options,
        end: &End,
        refusal: Arc<OnceLock<String>>,
        keeps: bool,
    ) -> Result<Self, IndexError> {
        Self::open_with(options, (end, false), refusal, keeps)
    }

    /// The same, to append first what the copy of the last batch has and the journal has lost.
    pub(in crate::index) fn open_to_mend(options: Options, end: &End) -> Result<Self, IndexError> {
        Self::open_with(options, (end, true), Arc::default(), true)
    }

    fn open_with(
        options: Options,
        (end, mends): (&End, bool),
        refusal: Arc<OnceLock<String>>,
        keeps: bool,
    ) -> Result<Self, IndexError> {
        let id = match &end.last {
            Some((segment, _)) => segment.header.journal,
            None => *uuid::Uuid::new_v4().as_bytes(),
        };
        let active = match &end.last {
            Some((segment, offset)) if segment.header.kind == Kind::Log => {
                reopen(&*options.disk, segment, *offset)?
            }
            last => {
                let number = last
                    .as_ref()
                    .map_or(1, |(segment, _)| segment.header.number + 1);
                begin(&options, id, number, end.next_seq, &refusal)?
            }
        };
        let (next_seq, durable_seq) = (end.next_seq, end.durable_seq);
        let place = (&*options.dir, &*options.disk);
        let reached = (!mends).then(|| ReachedNotes::open(&options, &id, durable_seq + 1, keeps));
        Ok(Self {
            last: LastBatch::open(place, &id, (end, mends))?,
            reached: reached.transpose()?,
            options,
            id,
            active,
            next_seq,
            durable_seq,
            refusal,
        })
    }

    /// What all segments of this journal share.
    pub(in crate::index) fn id(&self) -> [u8; 16] {
        self.id
    }

    /// The sequence number of the next entry.
    pub(in crate::index) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Entries up to this one are durable.
    pub(in crate::index) fn durable_seq(&self) -> u64 {
        self.durable_seq
    }

    /// Appends entries as one batch, durable on return unless durability is
    /// relaxed and no file is removed. After an error none of them is there, or the journal refuses
    /// further writes.
    pub(in crate::index) fn append(&mut self, entries: Vec<Entry>) -> Result<(), IndexError> {
        self.writable()?;
        if self.active.file.end() >= self.options.segment_bytes {
            self.rotate()?;
        }
        let relaxed = self.options.durability == Durability::Relaxed;
        // The blobs of removed files are deleted next: a power cut must not bring
        // the files back without them.
        let removes = entries.iter().any(|e| matches!(e, Entry::Removed { .. }));
        let batch = Batch {
            first_seq: self.next_seq,
            durable_seq: self.durable_seq,
            relaxed,
            entries,
        };
        let next_seq = batch.next_seq();
        if let Some(reached) = &mut self.reached {
            reached.take(batch.first_seq, &batch.entries);
        }
        let bytes = batch.encode(&self.id);
        if bytes.len() > MAX_BODY {
            let error = io::ErrorKind::FileTooLarge.into();
            let path = self.active.file.path();
            return Err(IndexError::io("write into one batch of", path, error));
        }
        self.active.file.write(&bytes)?;
        if removes || !relaxed {
            self.sync_active()?;
        }
        if !relaxed {
            self.durable_seq = next_seq - 1;
        }
        self.last.write(&bytes);
        self.note_reached();
        self.active.file.take(bytes.len() as u64);
        self.next_seq = next_seq;
        Ok(())
    }

    /// With relaxed durability: makes every entry below `mark` durable.
    pub(in crate::index) fn sync(&mut self, mark: u64) -> Result<(), IndexError> {
        self.writable()?;
        if mark > self.durable_seq + 1 {
            self.sync_active()?;
            self.durable_seq = mark - 1;
            self.note_reached();
        }
        Ok(())
    }

    /// Notes outside of the journal how much of it is durable.
    fn note_reached(&mut self) {
        if let Some(reached) = &mut self.reached {
            reached.note(&self.options, self.durable_seq + 1);
        }
    }

    /// Fails as an append would fail now: writes something behind the end, as a crash may leave
    /// it there, and cuts it off.
    pub(in crate::index) fn try_to_write(&mut self) -> Result<(), IndexError> {
        self.writable()?;
        Ok(self.active.file.try_to_write()?)
    }

    /// Fails where the segment that is written is no longer at its place: then what is found there
    /// is not this journal.
    pub(in crate::index) fn check_place(&mut self) -> Result<(), IndexError> {
        Ok(self.active.file.prepare()?)
    }

    /// Finishes the active segment and begins the next.
    pub(in crate::index) fn rotate(&mut self) -> Result<(), IndexError> {
        self.active.file.prepare()?;
        // A finished segment is durable, so whatever is unreadable in it is damage.
        self.sync_active()?;
        let number = self.active.number + 1;
        let (id, seq) = (self.id, self.next_seq);
        self.active = begin(&self.options, id, number, seq, &self.refusal)?;
        Ok(())
    }

    /// The number of the segment that is written.
    pub(in crate::index) fn active_number(&self) -> u64 {
        self.active.number
    }

    fn writable(&self) -> Result<(), IndexError> {
        match self.refusal.get() {
            Some(reason) => Err(IndexError::Refused(reason.clone())),
            None => Ok(()),
        }
    }

    fn sync_active(&mut self) -> Result<(), IndexError> {
        self.active.file.sync().map_err(|error| {
            let _ = self
                .refusal
                .set(format!("a sync of the journal failed: {error}"));
            IndexError::io("sync", self.active.file.path(), error)
        })
    }
}

fn reopen(disk: &dyn Disk, segment: &Segment, offset: u64) -> Result<Active, IndexError> {
    let path = segment.path.clone();
    let open = || {
        let file = open_own(disk, &path)?;
        file.set_len(offset)?;
        file.sync()?;
        Ok(file)
    };
    let file = open().map_err(|e| IndexError::io("reopen", &path, e))?;
    Ok(Active {
        file: AppendFile::new(path, file, offset),
        number: segment.header.number,
    })
}

/// Makes a segment whose name appears only when its header is durable. Where nobody can tell
/// whether the next start will find it, `refusal` is set.
fn begin(
    options: &Options,
    id: [u8; 16],
    number: u64,
    seq: u64,
    refusal: &OnceLock<String>,
) -> Result<Active, IndexError> {
    let header = Header {
        kind: Kind::Log,
        journal: id,
        number,
        seq,
        count: 0,
    };
    let path = segment::path(&options.dir, number);
    let unfinished = options.dir.join(segment::UNFINISHED);
    let refuse = |error: &io::Error| {
        let reason = format!("beginning a journal segment failed: {error}");
        let _ = refusal.set(reason);
    };
    let create = || {
        let unfinished = free_place(&*options.disk, &unfinished)?;
        let file = options.disk.create(&unfinished)?;
        file.write_all_at(&header.encode(), 0)?;
        file.sync().inspect_err(refuse)?;
        // Opened before the rename: who cannot open it has changed nothing.
        let dir = options.disk.open_dir(&options.dir)?;
        let renamed = options.disk.rename(&unfinished, &path);
        renamed.inspect_err(|error| {
            if !is_absent(&path) {
                refuse(error);
            }
        })?;
        dir.sync().inspect_err(refuse)?;
        Ok(file)
    };
    let file = create().map_err(|e| IndexError::io("begin", &path, e))?;
    Ok(Active {
        file: AppendFile::new(path, file, HEADER),
        number,
    })
}

/// Whether there is surely nothing at `path`.
fn is_absent(path: &Path) -> bool {
    let look = std::fs::symlink_metadata(path);
    look.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Gives a finished file its name, durably.
pub(super) fn publish(options: &Options, from: &Path, to: &Path) -> io::Result<()> {
    let dir = options.disk.open_dir(&options.dir)?;
    options.disk.rename(from, to)?;
    dir.sync()
}
