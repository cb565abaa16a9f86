//! Giving the journal back what its end has lost.
//!
//! The end of the journal may be damaged so that it looks like a write that a crash cut off.
//! Two things contradict that: the copy of the last batch, and the lookup database, which takes
//! in nothing before it stands in the journal. What they know is appended again; nothing is
//! made up that neither has.

use std::collections::HashMap;

use super::compare::{IndexFinding, compare};
use super::loss;
use super::options::Options;
use super::replay::{Replayed, read_in_journal};
use crate::index::IndexError;
use crate::index::codec::{Entry, digest, encode_record};
use crate::index::journal::{
    self, Batch, Damage, End, Journal, Last, Segment, forget_last, refuse,
};
use crate::record::FileRecord;

/// How many entries are appended as one batch; so many of the longest fit into one.
const STEP: usize = 128;
/// How many entries are told one by one.
const TOLD: usize = 100;

/// By what the journal was mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The copy of its last batch.
    Copy,
    /// The lookup database, which does not fit the journal any more and has to be made anew.
    Lookup,
    /// Nothing: the lookup database does not fit the journal, and is to be made anew.
    Nothing,
}

/// What became of a journal whose end had lost something.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mended {
    pub(super) by: By,
    /// The number after the last entry that is there again, or noted as lost.
    pub(super) up_to: u64,
}

/// Takes back into the journal what its end has lost, if anything is known of that; then the
/// journal has to be read again. Where a seal says that it went to `sealed_at`, which it cannot
/// reach any more, nothing is touched. Blocks.
pub(super) fn end(
    options: &Options,
    segments: &[Segment],
    replayed: &Replayed,
    sealed_at: u64,
) -> Result<Option<Mended>, IndexError> {
    let (by, up_to) = (
        By::Copy,
        journal::last(&options.journal().dir, &replayed.end).next_seq(),
    );
    if end_by_copy(options, &replayed.end)? {
        return Ok(Some(Mended { by, up_to }));
    }
    let beyond = beyond(options, &replayed.end);
    if replayed.is_ahead {
        let up_to = up_to.max(replayed.progress.next_seq);
        by_lookup(options, segments, replayed, beyond)?;
        let by = By::Lookup;
        return Ok(Some(Mended { by, up_to }));
    }
    let Some(batch) = beyond.filter(|_| sealed_at <= replayed.end.next_seq) else {
        return Ok(None);
    };
    loss::note(options, batch.first_seq - replayed.end.next_seq)?;
    let mut mending = Mending::begin(options, &replayed.end)?;
    mending.take_all(applicable(batch, replayed)?)?;
    mending.finish("the copy of its last batch")?;
    Ok(Some(Mended { by, up_to }))
}

/// Takes back what the lookup database has, and the last batch where that is `beyond` it.
fn by_lookup(
    options: &Options,
    segments: &[Segment],
    replayed: &Replayed,
    beyond: Option<Batch>,
) -> Result<(), IndexError> {
    let journaled = read_in_journal(options, segments, &mut refuse)?;
    check_fits(&journaled, replayed)?;
    let known = replayed.progress.next_seq;
    let beyond = beyond.filter(|batch| batch.first_seq >= known);
    if let Some(lost) = beyond.as_ref().map(|batch| batch.first_seq - known)
        && lost > 0
    {
        loss::note(options, lost)?;
    }
    let mut mending = Mending::begin(options, &replayed.end)?;
    let mut failed = Ok(());
    compare(&journaled.lookup, &replayed.lookup, &mut |finding| {
        let entry = match finding {
            IndexFinding::Extra(record) => Entry::Added(record),
            IndexFinding::Missing(record) => removed(&record),
            _ => return,
        };
        if failed.is_ok() {
            failed = mending.take(entry);
        }
    })?;
    failed?;
    if let Some(batch) = beyond {
        mending.take_all(applicable(batch, replayed)?)?;
    }
    mending.finish("the lookup database")
}

/// The copy of the last batch, where the journal has lost entries before it, too. Under relaxed
/// durability a power cut may take them, those apart that were durable when it was written.
fn beyond(options: &Options, end: &End) -> Option<Batch> {
    match journal::last(&options.journal().dir, end) {
        Last::Beyond(batch) if !batch.relaxed || batch.durable_seq >= end.next_seq => Some(batch),
        _ => None,
    }
}

/// The entries of a batch that can follow on what is there, though some before it are lost: a
/// file that is there already does not come again, and none goes that never came.
pub(super) fn applicable(batch: Batch, replayed: &Replayed) -> Result<Vec<Entry>, IndexError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut there = HashMap::new();
    for entry in batch.entries {
        let (id, comes) = match &entry {
            Entry::Added(record) => (record.id, true),
            Entry::Removed { id, .. } => (*id, false),
        };
        let is_there = match there.get(&id) {
            Some(is_there) => *is_there,
            None => replayed.lookup.get(id)?.is_some(),
        };
        if is_there != comes {
            there.insert(id, comes);
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// Remembers how much is lost where the lookup database, which is beyond the journal's end,
/// cannot give it back, and no copy tells of it.
pub(super) fn note_unmended(options: &Options, replayed: &Replayed) -> Result<Mended, IndexError> {
    let (by, ends_at, known) = (
        By::Nothing,
        replayed.end.next_seq,
        replayed.progress.next_seq,
    );
    if beyond(options, &replayed.end).is_some() {
        let up_to = ends_at;
        return Ok(Mended { by, up_to });
    }
    loss::note(options, known - ends_at)?;
    Ok(Mended { by, up_to: known })
}

/// Remembers how much is lost where the journal in `dir` was durable up to `reached` once, as is
/// noted outside of it, and only what was before `known` is accounted for: then it is of an
/// earlier time. Whether that is so.
pub(super) fn note_earlier(
    options: &Options,
    known: u64,
    reached: u64,
) -> Result<bool, IndexError> {
    if reached <= known {
        return Ok(false);
    }
    let dir = options.journal().dir;
    tracing::error!(dir = %dir.display(), known, reached,
        "the journal is of an earlier time than what is stored");
    loss::note(options, reached - known)?;
    Ok(true)
}

/// Takes back the last batch from its copy, where the journal has lost just that. Blocks.
pub(super) fn end_by_copy(options: &Options, end: &End) -> Result<bool, IndexError> {
    let Last::Lost(batch) = journal::last(&options.journal().dir, end) else {
        return Ok(false);
    };
    let mut mending = Mending::begin(options, end)?;
    mending.take_all(batch.entries)?;
    mending.finish("the copy of its last batch")?;
    Ok(true)
}

fn removed(record: &FileRecord) -> Entry {
    Entry::Removed {
        id: record.id,
        digest: digest(&encode_record(record.clone())),
    }
}

/// Fails where the database cannot have come from the journal by as many entries as are lost.
fn check_fits(journaled: &Replayed, ahead: &Replayed) -> Result<(), IndexError> {
    let (mut changes, mut others) = (0, 0);
    compare(
        &journaled.lookup,
        &ahead.lookup,
        &mut |finding| match finding {
            IndexFinding::Extra(_) | IndexFinding::Missing(_) => changes += 1,
            _ => others += 1,
        },
    )?;
    let lost = ahead.progress.next_seq - ahead.end.next_seq;
    // A file that was added and removed again within what is lost left no trace.
    let pairs = lost.checked_sub(changes).filter(|rest| rest % 2 == 0);
    if others == 0 && pairs.is_some() {
        return Ok(());
    }
    let reason = ahead.end.falls_short_of(ahead.progress.next_seq);
    Err(IndexError::Lookup(reason))
}

/// Entries on their way back into the journal.
struct Mending {
    options: Options,
    journal: Journal,
    waiting: Vec<Entry>,
    count: usize,
}

impl Mending {
    fn begin(options: &Options, end: &End) -> Result<Self, IndexError> {
        let journal = Journal::open_to_mend(options.journal(), end)?;
        Ok(Self {
            options: options.clone(),
            journal,
            waiting: Vec::new(),
            count: 0,
        })
    }

    fn take_all(&mut self, entries: Vec<Entry>) -> Result<(), IndexError> {
        entries.into_iter().try_for_each(|entry| self.take(entry))
    }

    fn take(&mut self, entry: Entry) -> Result<(), IndexError> {
        self.count += 1;
        if self.count <= TOLD {
            tell(&entry);
        }
        self.waiting.push(entry);
        if self.waiting.len() < STEP {
            return Ok(());
        }
        self.journal.append(std::mem::take(&mut self.waiting))
    }

    fn finish(mut self, by: &str) -> Result<(), IndexError> {
        if !self.waiting.is_empty() {
            self.journal.append(self.waiting)?;
        }
        self.journal.sync(self.journal.next_seq())?;
        let changes = self.count;
        if changes == 0 {
            // It was kept for what it might have, and is not asked again.
            let dir = self.options.journal().dir;
            let forgotten = forget_last(&dir, &*self.options.disk);
            return forgotten.map_err(|e| IndexError::io("remove from", dir, e));
        }
        tracing::warn!(
            changes,
            "the journal's end was damaged; mended from {by}, nothing is deleted until the next \
             start"
        );
        Ok(())
    }
}

fn tell(entry: &Entry) {
    match entry {
        Entry::Added(FileRecord { id, file, .. }) => {
            tracing::warn!(%id, name = file.name, "the journal had lost this file; taken back");
        }
        Entry::Removed { id, .. } => {
            tracing::warn!(%id, "the journal had lost that this file was removed; taken back");
        }
    }
}

/// Tells in the log of bytes at the journal's end that are no change and that nothing explains.
/// After a power cut the copy may be an old one, so that damage and a write that was under way
/// look the same; then it is what it was in nearly all cases, such a write.
pub(super) fn tell_torn(options: &Options, end: &End) {
    let Some((segment, offset)) = &end.last else {
        return;
    };
    if end.torn && journal::last(&options.journal().dir, end) == Last::Unknown {
        tracing::warn!(path = %segment.path.display(), offset,
            "the journal ends with bytes that are no change; they are cut off. A power cut \
             leaves those of a change that nobody was told of");
    }
}

/// What is wrong with the journal's end, for who looks without mending it.
pub(super) fn problem(options: &Options, end: &End) -> Option<Damage> {
    let (segment, offset) = end.last.as_ref()?;
    let segments = std::slice::from_ref(segment);
    let reached = journal::reached(&options.journal(), segments);
    let detail = match journal::last(&options.journal().dir, end) {
        Last::Lost(batch) if batch.entries.len() == 1 => {
            "a change is damaged or cut off (the node takes it from its copy)".to_owned()
        }
        Last::Lost(batch) => format!(
            "{} changes are damaged or cut off (the node takes them from their copy)",
            batch.entries.len()
        ),
        Last::Beyond(batch) if !batch.relaxed || batch.durable_seq >= end.next_seq => {
            end.falls_short_of(batch.next_seq())
        }
        Last::Unknown | Last::Known if reached > end.next_seq => end.falls_short_of(reached),
        Last::Unknown if end.torn => {
            "what follows is no change (the node cuts it off: a crash may have left it)".to_owned()
        }
        _ => return None,
    };
    Some(Damage {
        path: segment.path.clone(),
        offset: *offset,
        detail,
        gives_up: true,
    })
}
