//! Reading the whole journal, and telling a torn tail from damage.

use std::path::PathBuf;

use super::batch::Batch;
use super::damage::Damage;
use super::search::next_readable;
use super::segment::{Batches, Kind, Segment, Stop};
use crate::index::IndexError;

/// Where the journal ends.
#[derive(Debug, Default)]
pub(in crate::index) struct End {
    /// The sequence number of the next entry.
    pub(in crate::index) next_seq: u64,
    /// Entries up to this one were durable when the last batch was written.
    pub(in crate::index) durable_seq: u64,
    /// The last segment and where in it the last whole batch ends, in bytes.
    pub(in crate::index) last: Option<(Segment, u64)>,
    /// Whether an unfinished write follows there.
    pub(in crate::index) torn: bool,
    /// How many entries the segments hold.
    pub(in crate::index) entries: u64,
}

impl End {
    /// Fails where the journal ends before the entry `next_seq`, which was durable once.
    pub(in crate::index) fn check_reaches(&self, next_seq: u64) -> Result<(), IndexError> {
        if self.next_seq >= next_seq {
            return Ok(());
        }
        Err(self.damage(next_seq).into())
    }

    /// That the journal ends before the entries up to `next_seq`, which were there once.
    pub(in crate::index) fn damage(&self, next_seq: u64) -> Damage {
        let detail = self.falls_short_of(next_seq);
        let (path, offset) = match &self.last {
            Some((segment, offset)) => (segment.path.clone(), *offset),
            None => (PathBuf::from("journal"), 0),
        };
        Damage {
            path,
            offset,
            detail,
            gives_up: true,
        }
    }

    /// How it shows that the entries before `next_seq` were there.
    pub(in crate::index) fn falls_short_of(&self, next_seq: u64) -> String {
        format!(
            "it ends before entry {}, and {next_seq} was reached once",
            self.next_seq
        )
    }
}

/// Where an entry stands in the segments that were read, to be read once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::index) struct Spot {
    /// Where its batch begins in the segment, in bytes.
    pub(super) offset: u64,
    /// Which of the segments it is.
    pub(super) segment: u32,
    /// Which entry of the batch it is.
    pub(super) entry: u32,
}

impl Spot {
    /// That of another entry of the same batch.
    pub(in crate::index) fn of_entry(self, entry: usize) -> Self {
        // A batch is shorter than 4 MiB.
        let entry = u32::try_from(entry).unwrap_or(u32::MAX);
        Self { entry, ..self }
    }
}

/// Hears of each piece, and where its first entry stands.
pub(in crate::index) type Visit<'a> = &'a mut dyn FnMut(Piece, Spot) -> Result<(), IndexError>;

/// What [`read`] hands out.
pub(in crate::index) enum Piece {
    /// Files that were there before `seq`, the sequence number of the first change after.
    Snapshot(Batch, u64),
    /// Changes.
    Log(Batch),
}

impl Piece {
    /// How many entries it has.
    pub(in crate::index) fn entries(&self) -> usize {
        let (Self::Snapshot(batch, _) | Self::Log(batch)) = self;
        batch.entries.len()
    }
}

/// Reads the segments from the entry `from` on; earlier ones are skipped where
/// whole segments of them can be. Damage goes to `on_damage`, which stops the
/// reading with an error or has it go on behind.
pub(in crate::index) fn read(
    segments: &[Segment],
    from: u64,
    visit: Visit<'_>,
    on_damage: &mut dyn FnMut(Damage) -> Result<(), IndexError>,
) -> Result<End, IndexError> {
    let mut end = End {
        next_seq: 1,
        ..End::default()
    };
    for (at, segment) in segments.iter().enumerate() {
        let next = segments.get(at + 1);
        if let Some(next) = next.filter(|next| next.header.seq <= from) {
            end.entries += entries_of(segment, next.header.seq);
            end.next_seq = next.header.seq;
            continue;
        }
        let mut reader = Reader {
            segment,
            number: u32::try_from(at).unwrap_or(u32::MAX),
            is_last: next.is_none(),
            end: &mut end,
        };
        reader.read(visit, on_damage)?;
    }
    Ok(end)
}

fn entries_of(segment: &Segment, next_seq: u64) -> u64 {
    match segment.header.kind {
        Kind::Snapshot => segment.header.count,
        Kind::Log => next_seq.saturating_sub(segment.header.seq),
    }
}

/// Reads one segment.
struct Reader<'a> {
    segment: &'a Segment,
    /// Which of all it is.
    number: u32,
    is_last: bool,
    end: &'a mut End,
}

/// What is said of a segment that does not follow upon what was read before it.
fn missing_from(next: u64) -> String {
    match next {
        0 | 1 => "all changes before it are missing".to_owned(),
        next => format!("changes before it are missing, from number {next} on"),
    }
}

impl Reader<'_> {
    fn read(
        &mut self,
        visit: Visit<'_>,
        on_damage: &mut dyn FnMut(Damage) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let header = self.segment.header;
        let is_log = header.kind == Kind::Log;
        if is_log && header.seq != self.end.next_seq {
            on_damage(self.damage(0, missing_from(self.end.next_seq)))?;
        }
        // Entries of a snapshot are counted from 1, whatever changes came before it.
        let mut expected = if is_log { header.seq } else { 1 };
        let mut batches = Batches::of(self.segment)?;
        loop {
            let spot = Spot {
                offset: batches.offset,
                segment: self.number,
                entry: 0,
            };
            match batches.next()? {
                Ok(batch) if batch.first_seq == expected => {
                    expected = batch.next_seq();
                    self.end.entries += batch.entries.len() as u64;
                    visit(self.piece(batch), spot)?;
                }
                Ok(batch) => {
                    let detail =
                        format!("entry {} follows where {expected} should", batch.first_seq);
                    on_damage(self.damage(batches.offset, detail))?;
                    expected = batch.next_seq();
                    visit(self.piece(batch), spot)?;
                }
                Err(Stop::End) => break,
                Err(Stop::Bad(detail)) => {
                    let later = next_readable(self.segment, batches.offset)?;
                    if self.is_torn(expected, later.as_ref().map(|(_, batch)| batch)) {
                        self.end.torn = true;
                        break;
                    }
                    on_damage(self.damage(batches.offset, detail))?;
                    let Some((offset, batch)) = later else { break };
                    batches.skip_to(offset)?;
                    expected = batch.first_seq;
                }
            }
        }
        self.close(expected, batches.offset, on_damage)
    }

    fn piece(&mut self, batch: Batch) -> Piece {
        match self.segment.header.kind {
            Kind::Snapshot => Piece::Snapshot(batch, self.segment.header.seq),
            Kind::Log => {
                self.end.durable_seq = batch.durable_seq;
                Piece::Log(batch)
            }
        }
    }

    /// Unreadable bytes are a write that a crash cut off, unless they were durable
    /// once: the segment was finished, or a later batch says so.
    fn is_torn(&self, expected: u64, later: Option<&Batch>) -> bool {
        let is_open = self.is_last && self.segment.header.kind == Kind::Log;
        is_open && later.is_none_or(|batch| batch.durable_seq < expected)
    }

    fn close(
        &mut self,
        expected: u64,
        offset: u64,
        on_damage: &mut dyn FnMut(Damage) -> Result<(), IndexError>,
    ) -> Result<(), IndexError> {
        let header = self.segment.header;
        if header.kind == Kind::Snapshot {
            if expected != header.count + 1 {
                on_damage(self.damage(offset, format!("{} files should be there", header.count)))?;
            }
            self.end.next_seq = header.seq;
        } else {
            self.end.next_seq = expected;
        }
        self.end.last = Some((self.segment.clone(), offset));
        Ok(())
    }

    fn damage(&self, offset: u64, detail: String) -> Damage {
        Damage {
            path: self.segment.path.clone(),
            offset,
            detail,
            gives_up: true,
        }
    }
}
