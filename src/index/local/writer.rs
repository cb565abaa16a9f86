//! The writing thread: gathers the changes that wait, writes them down together,
//! syncs once, brings the lookup database up and then answers all (group commit).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::compact::Compaction;
use super::options::Options;
use super::seal;
use super::shared::{Current, Shared};
use super::unhealed::Unhealed;
use crate::disk::Durability;
use crate::health::Health;
use crate::index::codec::Entry;
use crate::index::journal::Journal;
use crate::index::lookup::{Lookup, Prepared};
use crate::index::progress::Progress;
use crate::index::{Given, IndexError, Intent, Put};
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// How many changes are written together at most; so many of the longest records
/// still fit into one batch.
const GROUP: usize = 128;
/// How long after a compaction the next one may come, where nobody waits and nothing is pressing.
const REST: Duration = Duration::from_secs(5);
/// How long a stop waits for whoever reads a page in the lookup database.
const LAST_READS: Duration = Duration::from_secs(5);

type Answer<T> = oneshot::Sender<Result<T, IndexError>>;

/// What can be asked of the writing thread.
pub(super) enum Request {
    Put {
        file: NewFile,
        /// Held until the record stands, also where nobody waits for the answer.
        intent: Intent,
        answer: Answer<Put>,
    },
    Remove {
        id: FileId,
        answer: Answer<Option<FileRecord>>,
    },
    /// Files as they are in another index, at most as many as are written together.
    Restore {
        files: Vec<(FileRecord, Intent)>,
        answer: Answer<()>,
    },
    Sync {
        mark: u64,
        answer: Answer<()>,
    },
    /// Is anything to be written now?
    Try {
        answer: Answer<()>,
    },
    /// The lookup database of this generation has failed.
    Heal {
        generation: u64,
        reason: String,
        answer: Answer<()>,
    },
    /// Give back what room is not needed, if nothing has changed for a while.
    Tidy {
        answer: Answer<()>,
    },
    /// The running compaction has ended.
    Compacted,
    Close {
        answer: Answer<()>,
    },
}

/// An answer that waits for its change to be written.
enum Pending {
    Put(Answer<Put>, FileRecord, Intent),
    Remove(Answer<Option<FileRecord>>, FileRecord),
}

impl Pending {
    fn answer(self, written: Result<(), IndexError>, shared: &Shared) {
        // Who asked may be gone; the change stands all the same.
        match self {
            Self::Put(answer, record, intent) => {
                // Before the answer: who was told of a failure finds what is to be collected.
                let put = match written {
                    Ok(()) => {
                        let hash = record.file.hash;
                        let mended = intent.mends() && shared.healths.note(&hash, Health::Whole);
                        intent.kept();
                        Ok(Put { record, mended })
                    }
                    Err(error) => {
                        drop(intent);
                        Err(error)
                    }
                };
                drop(answer.send(put));
            }
            Self::Remove(answer, record) => {
                shared.in_use.suspect(record.file.hash);
                drop(answer.send(written.map(|()| Some(record))));
            }
        }
    }
}

/// The writing thread's own state.
pub(super) struct Writer {
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) journal: Journal,
    pub(super) progress: Progress,
    /// How many entries the journal holds, dead ones included.
    pub(super) entries: u64,
    pub(super) compaction: Option<Compaction>,
    /// How many entries the journal must hold besides to be compacted, after a compaction that
    /// failed: trying again at every change would only make segments.
    pub(super) compact_from: u64,
    /// When the last compaction ended.
    pub(super) compacted_at: Option<Instant>,
    /// Before which entry it was when it was to be tidied the last time.
    pub(super) tidied_at: u64,
    /// Before which entry it was when a lookup database that was too long was made anew.
    pub(super) shrunk_at: Option<u64>,
    /// Whether a clean stop is sealed. Not after a start that found damage: the next one puts
    /// in order what this one leaves alone.
    pub(super) seals: bool,
    pub(super) requests: mpsc::WeakSender<Request>,
    /// Set while the lookup database has failed and a new one could not be made.
    pub(super) unhealed: Option<Unhealed>,
}

/// One round's changes.
#[derive(Default)]
struct Round {
    entries: Vec<Entry>,
    pending: Vec<Pending>,
    removed: HashSet<FileId>,
}

impl Round {
    fn takes_files(&self) -> bool {
        self.entries.len() > self.removed.len()
    }
}

impl Writer {
    /// Serves requests until it is told to close or nobody can ask any more.
    pub(super) fn run(mut self, requests: &mut mpsc::Receiver<Request>) {
        let mut waiting = Vec::with_capacity(GROUP);
        while requests.blocking_recv_many(&mut waiting, GROUP) > 0 {
            let (mut round, mut others) = (Round::default(), Vec::new());
            for request in waiting.drain(..) {
                match request {
                    Request::Put {
                        file,
                        intent,
                        answer,
                    } => self.put(&mut round, file, intent, answer),
                    Request::Remove { id, answer } => self.remove(&mut round, id, answer),
                    other => others.push(other),
                }
            }
            self.commit(round);
            for request in others {
                match request {
                    Request::Close { answer } => {
                        // Requests that still wait find the channel closed.
                        requests.close();
                        while requests.try_recv().is_ok() {}
                        let _ = answer.send(self.close());
                        return;
                    }
                    other => self.serve(other),
                }
            }
            self.compact_if_worthwhile(requests.is_empty());
        }
        // Nobody closed it, so the directory is left as after a crash.
        self.cancel_compaction();
    }

    fn put(&mut self, round: &mut Round, file: NewFile, intent: Intent, answer: Answer<Put>) {
        let last = FileId::from_bytes(self.progress.last_id);
        let id = FileId::next(Some(last));
        self.progress.last_id = *id.as_bytes();
        let record = FileRecord {
            id,
            uploaded_at: Timestamp::now(),
            file,
        };
        round.entries.push(Entry::Added(record.clone()));
        round.pending.push(Pending::Put(answer, record, intent));
    }

    fn remove(&mut self, round: &mut Round, id: FileId, answer: Answer<Option<FileRecord>>) {
        let found = self.with_lookup(|lookup, _| Ok(lookup.get(id)?.zip(lookup.digest_of(id)?)));
        match found {
            Ok(Some((record, digest))) if round.removed.insert(id) => {
                round.entries.push(Entry::Removed { id, digest });
                round.pending.push(Pending::Remove(answer, record));
            }
            Ok(_) => drop(answer.send(Ok(None))),
            Err(error) => drop(answer.send(Err(error))),
        }
    }

    fn restore(&mut self, files: Vec<(FileRecord, Intent)>) -> Result<(), IndexError> {
        self.heal_unhealed()?;
        let mut last = FileId::from_bytes(self.progress.last_id);
        for given in Given::of(&files) {
            if !given.follows(last) {
                return Err(IndexError::OutOfOrder);
            }
            last = given.id;
        }
        let entries = files.iter().map(|(record, _)| Entry::Added(record.clone()));
        let written = self.write(entries.collect());
        written.map_err(|error| self.report(&error))?;
        for (record, intent) in files {
            if intent.mends() {
                self.shared.healths.note(&record.file.hash, Health::Whole);
            }
            intent.kept();
        }
        Ok(())
    }

    fn commit(&mut self, mut round: Round) {
        if round.takes_files()
            && let Err(error) = self.heal_unhealed()
        {
            self.refuse_files(&mut round, &error);
        }
        let Round {
            entries,
            pending,
            removed,
        } = round;
        if entries.is_empty() {
            return;
        }
        if let Some(compaction) = &self.compaction {
            compaction.keep(removed);
        }
        let shared_error = self.write(entries).err().map(|error| self.report(&error));
        for pending in pending {
            let written = match &shared_error {
                None => Ok(()),
                Some(error) => Err(error.clone()),
            };
            pending.answer(written, &self.shared);
        }
    }

    /// While there is no lookup database no file is taken, and those that there are can be removed.
    fn refuse_files(&self, round: &mut Round, error: &IndexError) {
        round
            .entries
            .retain(|it| matches!(it, Entry::Removed { .. }));
        let pending = std::mem::take(&mut round.pending).into_iter();
        let (removals, refused): (_, Vec<_>) =
            pending.partition(|it| matches!(it, Pending::Remove(..)));
        round.pending = removals;
        for pending in refused {
            pending.answer(Err(error.clone()), &self.shared);
        }
    }

    fn report(&self, error: &IndexError) -> IndexError {
        // What a disk does not do is told where it is watched.
        if !matches!(error, IndexError::Disk(_)) {
            tracing::error!(%error, "changes were not written");
        }
        match self.shared.refusal.get() {
            Some(reason) => IndexError::Refused(reason.clone()),
            None => error.clone(),
        }
    }

    /// Appends entries to the journal and brings the lookup database up to them. Whatever that
    /// needs of the database is read before: behind the journal nothing can fail that would
    /// leave a change out of what lookups answer.
    fn write(&mut self, entries: Vec<Entry>) -> Result<(), IndexError> {
        let prepared =
            self.with_lookup(|lookup, progress| lookup.prepare(entries.iter().cloned(), progress))?;
        let count = entries.len() as u64;
        self.journal.append(entries)?;
        self.entries += count;
        self.remember(prepared)
    }

    fn remember(&mut self, prepared: Prepared) -> Result<(), IndexError> {
        let next_seq = self.journal.next_seq();
        let durable = self.journal.durable_seq() + 1 >= next_seq;
        let Current { lookup, generation } = self.shared.current();
        let lookup = lookup.ok_or(IndexError::Closed)?;
        self.progress = lookup.remember(prepared, next_seq, durable);
        self.shared.set_totals(self.progress.totals());
        self.shared.next_seq.store(next_seq, Ordering::Release);
        if let Err(error) = lookup.flush_if_many() {
            // The changes stand: they are in the journal, and answered from memory.
            let _ = self.replace(generation, &error.to_string());
        }
        Ok(())
    }

    fn serve(&mut self, request: Request) {
        match request {
            Request::Restore { files, answer } => drop(answer.send(self.restore(files))),
            Request::Sync { mark, answer } => drop(answer.send(self.journal.sync(mark))),
            Request::Try { answer } => {
                let tried = self.heal_unhealed();
                drop(answer.send(tried.and_then(|()| self.journal.try_to_write())));
            }
            Request::Heal {
                generation,
                reason,
                answer,
            } => {
                drop(answer.send(self.replace(generation, &reason)));
            }
            Request::Tidy { answer } => drop(answer.send(self.tidy())),
            Request::Compacted => self.compacted(),
            Request::Put { .. } | Request::Remove { .. } | Request::Close { .. } => {}
        }
    }

    fn compact_if_worthwhile(&mut self, is_calm: bool) {
        let live = self.progress.files;
        let dead = self.entries.saturating_sub(live);
        let least = if is_calm && self.may_compact_in_calm() {
            self.options.compact_in_calm
        } else {
            self.options.compact_entries
        };
        let worthwhile = self.entries >= least.max(self.compact_from) && dead > live;
        // A snapshot is of no use where there is no room to remember what it has, either.
        let busy = self.compaction.is_some()
            || self.unhealed.is_some()
            || self.shared.refusal.get().is_some();
        if !worthwhile || busy {
            return;
        }
        match self.begin_compaction() {
            Ok(compaction) => self.compaction = compaction,
            Err(error) => self.give_up_compaction(&error),
        }
    }

    /// Whether the last compaction is long enough ago. With relaxed durability each has all of the
    /// file system synced, and somebody looks again every second.
    fn may_compact_in_calm(&self) -> bool {
        let is_relaxed = self.options.durability == Durability::Relaxed;
        let is_soon = |at: Instant| at.elapsed() < REST;
        !(is_relaxed && self.compacted_at.is_some_and(is_soon))
    }

    fn give_up_compaction(&mut self, error: &IndexError) {
        if error.is_shortage() || matches!(error, IndexError::Lookup(_)) {
            // Once as much again was written, there may be what was missing, or a new database.
            self.compact_from = self.entries.saturating_mul(2);
            tracing::warn!(%error, "the journal is compacted later");
            return;
        }
        self.compact_from = u64::MAX;
        tracing::error!(%error, "the journal is not compacted until the next start");
    }

    fn begin_compaction(&mut self) -> Result<Option<Compaction>, IndexError> {
        let Some(lookup) = self.shared.current().lookup else {
            return Ok(None);
        };
        // What is left of the journal begins behind these changes.
        lookup.flush()?;
        let number = self.journal.active_number();
        self.journal.rotate()?;
        let requests = self.requests.clone();
        let target = (self.journal.id(), number, self.journal.next_seq());
        Compaction::begin(self.options.journal(), target, lookup, move || {
            // A closed channel means that the index is closing, which waits for the end itself.
            if let Some(requests) = requests.upgrade() {
                let _ = requests.blocking_send(Request::Compacted);
            }
        })
        .map(Some)
    }

    fn compacted(&mut self) {
        let Some(compaction) = self.compaction.take() else {
            return;
        };
        self.compacted_at = Some(Instant::now());
        match compaction.end() {
            Ok((count, seq)) => {
                self.entries = count + (self.journal.next_seq() - seq);
                self.compact_from = 0;
                tracing::info!(files = count, "the journal is compacted");
            }
            Err(error) => self.give_up_compaction(&error),
        }
    }

    pub(super) fn cancel_compaction(&mut self) {
        if let Some(compaction) = self.compaction.take() {
            compaction.cancel();
        }
    }

    fn close(mut self) -> Result<(), IndexError> {
        self.cancel_compaction();
        let synced = self.journal.sync(self.journal.next_seq());
        let Current { lookup, generation } = self.shared.current();
        self.shared.set_current(Current {
            lookup: None,
            generation,
        });
        // Without the sync the directory is left as after a crash, to be checked.
        synced?;
        if self.unhealed.is_some() {
            // Neither is a database that failed: the next start makes it anew.
            return Ok(());
        }
        let Some(lookup) = lookup else {
            return Ok(());
        };
        let until = Instant::now() + LAST_READS;
        let Some(lookup) = alone(lookup, || {
            thread::sleep(Duration::from_millis(1));
            Instant::now() < until
        }) else {
            tracing::warn!(
                "the lookup database is still read and not sealed; the next start \
                compares it with the journal"
            );
            return Ok(());
        };
        if let Err(error) = self.seal(lookup, generation) {
            // Nothing is lost by that, whatever failed, also some time ago behind sled's back: the
            // journal is durable.
            tracing::warn!(%error,
                "the lookup database is not sealed; the next start compares it with the journal");
        }
        Ok(())
    }

    fn seal(&self, lookup: Lookup, generation: u64) -> Result<(), IndexError> {
        lookup.close()?;
        if !self.seals {
            return Ok(());
        }
        seal::write(&self.options, generation, self.progress.next_seq)
    }
}

/// What others hold too, once they no longer do; None where they still do and `wait` says that it
/// has waited long enough.
fn alone<T>(mut held: Arc<T>, mut wait: impl FnMut() -> bool) -> Option<T> {
    loop {
        held = match Arc::try_unwrap(held) {
            Ok(alone) => return Some(alone),
            Err(held) if wait() => held,
            Err(_) => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_still_reads_is_waited_for() {
        let held = Arc::new(1);
        let mut reader = Some(Arc::clone(&held));
        assert_eq!(alone(held, || reader.take().is_some()), Some(1));
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        let held = Arc::new(1);
        let _reader = Arc::clone(&held);
        assert_eq!(alone(held, || false), None);
    }
}
