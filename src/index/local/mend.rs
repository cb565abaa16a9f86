//! Giving the journal back what its end has lost.
//!
//! The end of the journal may be damaged so that it looks like a write that a crash cut off.
//! Two things contradict that: the copy of the last batch, and the lookup database, which takes
//! in nothing before it stands in the journal. What they know is appended again; nothing is
//! made up that neither has.

use std::sync::{Arc, OnceLock};

use super::compare::{Finding, compare};
use super::generations::{SCRATCH, make_anew};
use super::options::Options;
use super::replay::Replayed;
use crate::index::IndexError;
use crate::index::codec::{Entry, digest, encode_record};
use crate::index::journal::{self, Damage, End, Journal, Last, Segment, refuse};
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

/// Takes back into the journal what its end has lost, if anything is known of that; then the
/// journal has to be read again. Blocks.
pub(super) fn end(
    options: &Options,
    segments: &[Segment],
    replayed: &Replayed,
) -> Result<Option<By>, IndexError> {
    if end_by_copy(options, &replayed.end)? {
        return Ok(Some(By::Copy));
    }
    if !replayed.is_ahead {
        return Ok(None);
    }
    let journaled = make_anew(options, segments, SCRATCH, &mut refuse)?;
    check_fits(&journaled, replayed)?;
    let mut mending = Mending::begin(options, &replayed.end)?;
    let mut failed = Ok(());
    compare(&journaled.lookup, &replayed.lookup, &mut |finding| {
        let entry = match finding {
            Finding::Extra(record) => Entry::Added(record),
            Finding::Missing(record) => removed(&record),
            _ => return,
        };
        if failed.is_ok() {
            failed = mending.take(entry);
        }
    })?;
    failed?;
    if let Last::Beyond(batch) = journal::last(&options.journal().dir, &replayed.end)
        && batch.first_seq == replayed.progress.next_seq
    {
        batch
            .entries
            .into_iter()
            .try_for_each(|it| mending.take(it))?;
    }
    mending.finish("the lookup database")?;
    Ok(Some(By::Lookup))
}

/// Takes back the last batch from its copy, where the journal has lost just that. Blocks.
pub(super) fn end_by_copy(options: &Options, end: &End) -> Result<bool, IndexError> {
    let Last::Lost(batch) = journal::last(&options.journal().dir, end) else {
        return Ok(false);
    };
    let mut mending = Mending::begin(options, end)?;
    batch
        .entries
        .into_iter()
        .try_for_each(|it| mending.take(it))?;
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
            Finding::Extra(_) | Finding::Missing(_) => changes += 1,
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
    journal: Journal,
    waiting: Vec<Entry>,
    count: usize,
}

impl Mending {
    fn begin(options: &Options, end: &End) -> Result<Self, IndexError> {
        let journal = Journal::open(options.journal(), end, Arc::new(OnceLock::new()))?;
        Ok(Self {
            journal,
            waiting: Vec::new(),
            count: 0,
        })
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

/// Whether the journal's end shows damage that nothing was there to mend, with a line in the
/// log that says so. After a power cut the copy may be an old one, so that damage and a write
/// that was under way look the same; then it is what it was in nearly all cases, such a write.
pub(super) fn is_damaged(options: &Options, end: &End) -> bool {
    let Some((segment, offset)) = &end.last else {
        return false;
    };
    let path = segment.path.display();
    match journal::last(&options.journal().dir, end) {
        // Their sync was still to come when the power went.
        Last::Beyond(batch) if batch.relaxed => false,
        Last::Beyond(batch) => {
            let lost = batch.next_seq() - end.next_seq;
            tracing::error!(%path, offset, lost,
                "the journal has lost its last changes, and nothing has them; nothing is deleted \
                 until the next start");
            true
        }
        Last::Unknown if end.torn => {
            tracing::warn!(%path, offset,
                "the journal ends with bytes that are no change; they are cut off. A power cut \
                 leaves those of a change that nobody was told of");
            false
        }
        Last::Unknown | Last::Known | Last::Lost(_) => false,
    }
}

/// What is wrong with the journal's end, for who looks without mending it.
pub(super) fn problem(options: &Options, end: &End) -> Option<Damage> {
    let (segment, offset) = end.last.as_ref()?;
    let detail = match journal::last(&options.journal().dir, end) {
        Last::Lost(batch) => format!(
            "{} changes are damaged or cut off (the node takes them from their copy)",
            batch.entries.len()
        ),
        Last::Beyond(batch) if !batch.relaxed => end.falls_short_of(batch.next_seq()),
        Last::Unknown if end.torn => {
            "what follows is no change (the node cuts it off: a crash may have left it)".to_owned()
        }
        _ => return None,
    };
    Some(Damage {
        path: segment.path.clone(),
        offset: *offset,
        detail,
    })
}
