//! Making the best of a journal that is damaged for good: the lookup database and the copy of
//! the last batch may have what cannot be read of it any more.

use super::loss;
use super::mend::applicable;
use super::options::Options;
use super::replay::{Check, Replayed, replay};
use super::sums::inconsistency;
use crate::index::IndexError;
use crate::index::journal::{Damage, Segment, copy_of_last};
use crate::index::progress::Progress;

/// What there is of a damaged journal.
pub(super) struct Rescue<'a> {
    pub(super) options: &'a Options,
    /// Its segments, as far as they can be read.
    pub(super) segments: &'a [Segment],
    /// Up to which entry a seal says that it went; 0 where none says so.
    pub(super) sealed_at: u64,
    /// Up to which entry it is known to have gone, by a seal or by what is noted beside it.
    pub(super) reached: u64,
    /// Whether reading it gave anything up.
    pub(super) gives_up: bool,
}

/// The best that can be made of it.
pub(super) struct Rescued {
    pub(super) replayed: Replayed,
    /// The generation of that database.
    pub(super) generation: u64,
    /// How many changes are lost; None where nothing is.
    pub(super) lost: Option<u64>,
}

impl Rescue<'_> {
    /// Takes, beside what was `journaled` into generation `old + 1`, what the lookup database of
    /// generation `old` and the copy of the last batch have. What is lost is remembered. Blocks.
    pub(super) fn best(&self, old: u64, journaled: Replayed) -> Result<Rescued, IndexError> {
        let mut gives_up = self.gives_up;
        let mut rescued = Rescued {
            replayed: journaled,
            generation: old + 1,
            lost: None,
        };
        let mut is_of_lookup = false;
        if gives_up && let Some((replayed, missed)) = self.by_lookup(old)? {
            rescued.replayed = replayed;
            rescued.generation = old;
            is_of_lookup = true;
            gives_up = missed;
        }
        let replayed = &mut rescued.replayed;
        let within = replayed.missing;
        let (before_last, ends_there) = self.take_last(replayed)?;
        let behind = self.reached.saturating_sub(replayed.progress.next_seq);
        let lost = within + before_last + behind;
        // What the database had from the damaged part is not lost, if nothing came after.
        let is_complete = is_of_lookup && (ends_there || self.sealed_at > 0);
        if lost > 0 || (gives_up && !is_complete) {
            rescued.lost = Some(lost.max(1));
            loss::note(self.options, lost.max(1))?;
        }
        Ok(rescued)
    }

    /// The lookup database, brought up to what can be read of the journal, and whether reading
    /// that gave anything up. None where it is in itself not sound, or empty.
    fn by_lookup(&self, old: u64) -> Result<Option<(Replayed, bool)>, IndexError> {
        let mut missed = false;
        let mut note = |damage: Damage| {
            missed |= damage.gives_up;
            Ok(())
        };
        let replayed = replay(self.options, self.segments, old, Check::Later, &mut note);
        let replayed = match replayed {
            Err(IndexError::Lookup(reason)) => {
                tracing::warn!(reason, "the lookup database cannot help");
                return Ok(None);
            }
            replayed => replayed?,
        };
        let is_sound = match inconsistency(&replayed.lookup, &replayed.progress) {
            Err(IndexError::Lookup(_)) => false,
            reason => reason?.is_none(),
        };
        let has_any = replayed.began_at > 1;
        Ok((is_sound && has_any).then_some((replayed, missed)))
    }

    /// Applies the last batch from its copy, and tells how many changes before it are lost, and
    /// whether it is known as the end.
    fn take_last(&self, replayed: &mut Replayed) -> Result<(u64, bool), IndexError> {
        let Progress {
            next_seq, journal, ..
        } = replayed.progress;
        let dir = self.options.journal().dir;
        let copy = copy_of_last(&dir, &journal).filter(|batch| batch.next_seq() >= next_seq);
        let Some(batch) = copy else {
            return Ok((0, false));
        };
        let lost = batch.first_seq.saturating_sub(next_seq);
        let progress = Progress {
            next_seq: batch.next_seq(),
            durable: true,
            ..replayed.progress
        };
        let entries = applicable(batch, replayed)?;
        replayed.progress = replayed.lookup.apply(entries, progress)?;
        Ok((lost, true))
    }
}
