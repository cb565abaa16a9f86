//! What becomes of a lookup database that has failed: a new one takes its place, and while none can
//! be made, as on a full disk, the journal itself answers.

use std::sync::Arc;
use std::time::Instant;

use super::generations::{make_anew, remove_generation};
use super::replay::{Replayed, read_in_journal};
use super::shared::Current;
use super::unhealed::Unhealed;
use super::writer::Writer;
use crate::index::IndexError;
use crate::index::guard::is_end;
use crate::index::journal::{self, Segment, refuse};
use crate::index::lookup::Lookup;
use crate::index::progress::Progress;
use crate::index::sled_files;

/// Up to how many files a lookup database is made anew only since it is longer than it has to be.
const SHORT: u64 = 10_000;
/// It is, beyond three of sled's segments, in bytes, and what a file may take.
const LONG: u64 = 3 * (512 << 10);
const A_FILE: u64 = 400;
/// Not before so many changes more, since each takes a segment with some more.
const CHANGES: u64 = 1000;

impl Writer {
    /// Does `work` with what answers, and once more with what takes its place if it fails.
    pub(super) fn with_lookup<T>(
        &mut self,
        work: impl Fn(&Lookup, Progress) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        let Current { lookup, generation } = self.shared.current();
        match work(&*lookup.ok_or(IndexError::Closed)?, self.progress) {
            Err(error) if is_end(&error) => {
                self.replace(generation, &error.to_string())?;
                let lookup = self.shared.current().lookup.ok_or(IndexError::Closed)?;
                work(&lookup, self.progress)
            }
            result => result,
        }
    }

    /// Makes a new lookup database where that is still to be done.
    pub(super) fn heal_unhealed(&mut self) -> Result<(), IndexError> {
        match &self.unhealed {
            None => Ok(()),
            Some(unhealed) => unhealed.check_due().and_then(|()| self.heal()),
        }
    }

    /// Has something else answer than the lookup database of this generation, which has failed,
    /// unless that was done meanwhile: a new one, or the journal. Where not even that can be, the
    /// old one goes on answering what it can, and it is tried again.
    pub(super) fn replace(&mut self, generation: u64, reason: &str) -> Result<(), IndexError> {
        if self.shared.current().generation != generation {
            return Ok(());
        }
        if let Some(unhealed) = &self.unhealed {
            unhealed.check_due()?;
        } else {
            tracing::warn!(
                reason,
                "the lookup database failed; making it anew from the journal"
            );
        }
        let lookup = self.shared.current().lookup;
        match self.heal() {
            Err(error) if lookup.as_ref().is_none_or(|it| it.is_in_journal()) => Err(error),
            Err(_) => self.stand_in(),
            healed => healed,
        }
    }

    /// Makes a lookup database that is short anew where churn has left it longer than it has to be,
    /// once nothing has changed since the last call.
    pub(super) fn tidy(&mut self) -> Result<(), IndexError> {
        let next_seq = self.journal.next_seq();
        let has_changed = std::mem::replace(&mut self.tidied_at, next_seq) != next_seq;
        let Current { lookup, generation } = self.shared.current();
        let is_short = self.progress.files <= SHORT && self.compaction.is_none();
        let is_whole = self.unhealed.is_none() && lookup.is_some_and(|it| !it.is_in_journal());
        let is_due = self.shrunk_at.is_none_or(|it| next_seq >= it + CHANGES);
        if has_changed || !is_short || !is_whole || !is_due {
            return Ok(());
        }
        let longest = LONG + A_FILE * self.progress.files;
        let dir = self.options.generation_dir(generation);
        if sled_files::len(&dir).map_err(|e| IndexError::io("list", dir, e))? > longest {
            let made = self.make_next()?;
            self.take(made);
            self.shrunk_at = Some(next_seq);
            tracing::debug!("the lookup database was longer than it has to be");
        }
        Ok(())
    }

    /// A lookup database from the journal, to take the place of the one that answers.
    fn make_next(&mut self) -> Result<Replayed, IndexError> {
        let generation = self.shared.current().generation + 1;
        let segments = self.segments()?;
        let made = make_anew(&self.options, &segments, generation, &mut refuse)?;
        made.end.check_reaches(self.journal.next_seq())?;
        Ok(made)
    }

    /// Makes a new lookup database from the journal.
    fn heal(&mut self) -> Result<(), IndexError> {
        let began = Instant::now();
        match self.make_next() {
            Ok(made) => {
                self.unhealed = None;
                self.take(made);
                tracing::warn!(
                    files = self.progress.files,
                    "the lookup database is made anew"
                );
                Ok(())
            }
            Err(error) => Err(self.note_unhealed(error, began)),
        }
    }

    /// Has the journal answer. The database that has failed is removed, so that there is its room.
    fn stand_in(&mut self) -> Result<(), IndexError> {
        // Segments must not go while they are opened.
        self.cancel_compaction();
        let segments = self.segments()?;
        let read = read_in_journal(&self.options, &segments, &mut refuse)?;
        read.end.check_reaches(self.journal.next_seq())?;
        self.take(read);
        tracing::warn!(
            files = self.progress.files,
            "the journal answers in place of the lookup database, and no upload is taken until \
             that can be made anew"
        );
        Ok(())
    }

    fn segments(&mut self) -> Result<Vec<Segment>, IndexError> {
        self.journal.check_place()?;
        Ok(journal::list(&self.options.journal().dir, &mut refuse)?.0)
    }

    /// Answers from now on with this, and removes what has answered until now.
    fn take(&mut self, made: Replayed) {
        let Replayed {
            lookup, progress, ..
        } = made;
        self.progress = Progress {
            last_id: self.progress.last_id,
            ..progress
        };
        let before = self.shared.current().generation;
        self.shared.set_current(Current {
            lookup: Some(Arc::new(lookup)),
            generation: before + 1,
        });
        self.shared.set_totals(self.progress.totals());
        if let Err(error) = remove_generation(&self.options, before) {
            tracing::warn!(%error, "the failed database is left for the next start to remove");
        }
    }

    fn note_unhealed(&mut self, error: IndexError, began: Instant) -> IndexError {
        if self.unhealed.is_none() {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            if error.is_shortage() {
                tracing::warn!(%error, cause, "the lookup database cannot be made anew yet");
            } else {
                tracing::error!(%error, cause, "the lookup database cannot be made anew yet");
            }
        }
        self.unhealed = Some(Unhealed::after(error.clone(), began.elapsed()));
        error
    }
}
