//! Bringing a lookup database up to the journal.

use std::collections::VecDeque;

use super::absence::gone;
use super::options::Options;
use super::room::check_room;
use super::sums::{JournalSums, disagreement};
use crate::index::IndexError;
use crate::index::codec::Entry;
use crate::index::journal::{self, Batch, End, Kind, OnDamage, Piece, Segment, Spot};
use crate::index::lookup::Lookup;
use crate::index::progress::Progress;
use crate::index::sums::Sums;
use crate::record::FileRecord;

/// How many entries are applied at once.
const STEP: usize = 1024;

/// How much a lookup database that is opened is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Its files are known to be as a clean stop left them.
    Trust,
    /// The caller compares it.
    Later,
    /// It is compared, record by record, with the journal.
    Full,
    /// It is new and empty.
    Fresh,
}

/// A lookup database that has come as far as the journal.
pub(super) struct Replayed {
    pub(super) lookup: Lookup,
    pub(super) progress: Progress,
    pub(super) end: End,
    /// Whether the database was durably beyond the journal's end, which has lost entries since.
    pub(super) is_ahead: bool,
    /// Up to which entry it had come before; that of the first after the snapshot for a new one.
    pub(super) began_at: u64,
    /// How many entries from there to where it has come now could not be read.
    pub(super) missing: u64,
    /// The files at the journal's end whose blobs may not have been durable.
    pub(super) unsettled: Vec<FileRecord>,
    /// Why there is no lookup database, where the journal answers in its place.
    pub(super) want: Option<IndexError>,
}

/// Opens the lookup database of a generation and brings it up to the journal.
/// [`IndexError::Lookup`] says that it has to be made anew, any other error that
/// the journal itself cannot be used.
pub(super) fn replay(
    options: &Options,
    segments: &[Segment],
    generation: u64,
    check: Check,
    on_damage: OnDamage<'_>,
) -> Result<Replayed, IndexError> {
    let opened = open(options, segments, generation, check)?;
    replay_into(options, segments, opened, check, on_damage)
}

/// What the journal says, read to be answered from it alone: nothing is written, and for each file
/// some 100 bytes are in memory, half of them by [`Lookup::in_journal`]. Blocks as long as reading
/// all of the journal does.
pub(super) fn read_in_journal(
    options: &Options,
    segments: &[Segment],
    on_damage: OnDamage<'_>,
) -> Result<Replayed, IndexError> {
    let opened = (Lookup::in_journal(segments)?, Sums::default());
    replay_into(options, segments, opened, Check::Fresh, on_damage)
}

fn replay_into(
    options: &Options,
    segments: &[Segment],
    (lookup, found): (Lookup, Sums),
    check: Check,
    on_damage: OnDamage<'_>,
) -> Result<Replayed, IndexError> {
    let mut progress = lookup.progress()?;
    let before = progress;
    if check != Check::Fresh {
        check_origin(&progress, segments)?;
        check_there(options, &progress, segments, on_damage)?;
    }
    if let Some(first) = segments.first() {
        progress.journal = first.header.journal;
    }
    let is_read_whole = check == Check::Full;
    let from = if is_read_whole { 0 } else { progress.next_seq };
    let mut replay = Replay::new(lookup, progress);
    let mut end = replay.read(options, (segments, from), on_damage)?;
    // A stop seals what has come as far as the journal. Where sled gives back less of it than was
    // sealed, it would lose the same again, and what is derived would count twice.
    if check == Check::Trust && before.next_seq < end.next_seq {
        let reason = "it has lost what it was sealed with".to_owned();
        return Err(IndexError::Lookup(reason));
    }
    let is_ahead = replay.finish(&end)?;
    if check == Check::Full {
        let reason = if is_ahead {
            (found != before.sums()).then(|| end.falls_short_of(before.next_seq))
        } else {
            disagreement(found, &before, &replay.progress, replay.sums)
        };
        reason.map_or(Ok(()), |it| Err(IndexError::Lookup(it)))?;
    }
    if replay.unsettled.is_empty() {
        end.durable_seq = end.next_seq - 1;
    }
    let Replay {
        lookup,
        progress,
        unsettled,
        taken,
        ..
    } = replay;
    let first = segments.first().map_or(1, Segment::first_change);
    let began_at = before.next_seq.max(first);
    let missing = progress.next_seq.saturating_sub(began_at);
    Ok(Replayed {
        lookup,
        progress,
        end,
        is_ahead,
        began_at,
        missing: missing.saturating_sub(taken),
        unsettled: unsettled.into_iter().map(|(_, record)| record).collect(),
        want: None,
    })
}

/// A database that has entries was made from a journal.
fn check_there(
    options: &Options,
    progress: &Progress,
    segments: &[Segment],
    on_damage: OnDamage<'_>,
) -> Result<(), IndexError> {
    if segments.is_empty() && progress.next_seq > 1 {
        let shown_by = "a lookup database that was made from them is";
        return on_damage(gone(options, shown_by));
    }
    Ok(())
}

/// Opens a database, and adds up what it holds unless it is trusted.
fn open(
    options: &Options,
    segments: &[Segment],
    generation: u64,
    check: Check,
) -> Result<(Lookup, Sums), IndexError> {
    let dir = &options.generation_dir(generation);
    if !segments.is_empty() && !dir.exists() {
        check_room(options)?;
    }
    let cache_bytes = options.cache_bytes;
    match check {
        Check::Trust => Ok((Lookup::open_unchanged(dir, cache_bytes)?, Sums::default())),
        Check::Later | Check::Full | Check::Fresh => Lookup::open(dir, cache_bytes),
    }
}

/// A database of another journal, or from before its snapshot, cannot be brought up.
fn check_origin(progress: &Progress, segments: &[Segment]) -> Result<(), IndexError> {
    let Some(Segment { header, .. }) = segments.first() else {
        return Ok(());
    };
    if progress.next_seq > 1 && progress.journal != header.journal {
        return Err(IndexError::Lookup(
            "it was made from another journal".into(),
        ));
    }
    if header.kind == Kind::Snapshot && progress.next_seq < header.seq {
        return Err(IndexError::Lookup(
            "it is older than the journal's snapshot".into(),
        ));
    }
    Ok(())
}

/// A replay under way.
struct Replay {
    lookup: Lookup,
    progress: Progress,
    sums: JournalSums,
    /// Entries to apply, and the sequence number after them.
    waiting: Vec<Entry>,
    reached: u64,
    /// How many changes behind a snapshot were taken.
    taken: u64,
    /// Files of relaxed batches with their sequence numbers.
    unsettled: VecDeque<(u64, FileRecord)>,
}

impl Replay {
    fn new(lookup: Lookup, progress: Progress) -> Self {
        Self {
            lookup,
            progress,
            sums: JournalSums::default(),
            waiting: Vec::new(),
            reached: progress.next_seq,
            taken: 0,
            unsettled: VecDeque::new(),
        }
    }

    /// Takes all of the journal from an entry on, and tells how many entries were read.
    fn read(
        &mut self,
        options: &Options,
        (segments, from): (&[Segment], u64),
        on_damage: OnDamage<'_>,
    ) -> Result<End, IndexError> {
        let mut read = 0;
        let visit = &mut |piece: Piece, spot| {
            read += piece.entries() as u64;
            if let Some(told) = &options.told {
                told(read);
            }
            self.take(piece, spot)
        };
        journal::read(segments, from, visit, on_damage)
    }

    /// Takes the next piece of the journal; what the database lacks of it waits to be applied.
    fn take(&mut self, piece: Piece, spot: Spot) -> Result<(), IndexError> {
        self.sums.count(&piece);
        match piece {
            // A database that has come beyond a snapshot has all of it.
            Piece::Snapshot(batch, seq) if self.progress.next_seq < seq => {
                for (at, entry) in batch.entries.into_iter().enumerate() {
                    self.await_turn(entry, spot.of_entry(at));
                }
            }
            Piece::Snapshot(..) => {}
            Piece::Log(batch) => {
                self.settle(batch.durable_seq);
                self.take_changes(batch, spot);
            }
        }
        if self.waiting.len() >= STEP {
            self.apply()
        } else {
            Ok(())
        }
    }

    /// Forgets files whose blobs a later batch says to be durable: all up to this entry.
    fn settle(&mut self, durable_seq: u64) {
        let is_settled = |it: &(u64, FileRecord)| it.0 <= durable_seq;
        while self.unsettled.front().is_some_and(is_settled) {
            self.unsettled.pop_front();
        }
    }

    /// Takes the changes of a batch behind a snapshot. One that the database has, or that stands
    /// in the journal twice, is not taken again.
    fn take_changes(&mut self, batch: Batch, spot: Spot) {
        let next_seq = batch.next_seq();
        let first_new = self.progress.next_seq.max(self.reached);
        for (at, (seq, entry)) in (batch.first_seq..).zip(batch.entries).enumerate() {
            if let (true, Entry::Added(record)) = (batch.relaxed, &entry) {
                self.unsettled.push_back((seq, record.clone()));
            }
            if seq >= first_new {
                self.await_turn(entry, spot.of_entry(at));
                self.taken += 1;
            }
        }
        self.reached = self.reached.max(next_seq);
    }

    fn await_turn(&mut self, entry: Entry, spot: Spot) {
        self.lookup.note(&entry, spot);
        self.waiting.push(entry);
    }

    fn apply(&mut self) -> Result<(), IndexError> {
        // All that can be read was made durable before the reading began.
        let progress = Progress {
            next_seq: self.reached,
            durable: true,
            ..self.progress
        };
        self.progress = self.lookup.apply(self.waiting.drain(..), progress)?;
        Ok(())
    }

    /// Applies what is left, unless the database is beyond the journal's end, and tells whether
    /// it durably was.
    fn finish(&mut self, end: &End) -> Result<bool, IndexError> {
        let Progress {
            next_seq, durable, ..
        } = self.progress;
        if next_seq <= end.next_seq {
            self.reached = end.next_seq;
            self.apply()?;
            return Ok(false);
        }
        if !durable {
            return Err(IndexError::Lookup(end.falls_short_of(next_seq)));
        }
        Ok(true)
    }
}
