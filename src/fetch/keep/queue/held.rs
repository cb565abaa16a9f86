//! The copies at which this node has the turn, where several nodes fetch them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use uuid::Uuid;

use super::{Job, LONGEST_PAUSE, Queue, Stage};
use crate::client_key::ClientKey;
use crate::fetch::keep::wanted::{KeepId, Wanted};
use crate::keep_rows::HeldRow;
use crate::record::FileId;
use crate::turn::Turn;

/// The turn at a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fetch::keep) struct Held {
    pub(in crate::fetch::keep) turn: Turn,
    /// The version whose names are known here.
    pub(in crate::fetch::keep) version: i64,
}

/// A copy that this node takes up.
pub(in crate::fetch::keep) struct TakenUp {
    pub(in crate::fetch::keep) names: Vec<Wanted>,
    pub(in crate::fetch::keep) client: Option<ClientKey>,
    pub(in crate::fetch::keep) copy: Option<FileId>,
    pub(in crate::fetch::keep) pause: Duration,
    pub(in crate::fetch::keep) held: Held,
}

/// What is known of a copy at its end.
pub(in crate::fetch::keep) struct AtEnd {
    pub(in crate::fetch::keep) held: Held,
    pub(in crate::fetch::keep) row: HeldRow,
    pub(in crate::fetch::keep) names: Vec<Wanted>,
    pub(in crate::fetch::keep) is_unasked: bool,
}

impl Job {
    fn row(&self) -> Option<HeldRow> {
        Some(HeldRow {
            turn: self.held?.turn,
            is_fetching: self.stage == Stage::Fetching,
            size: self.size.load(Ordering::Relaxed),
            fetched: self.fetched.get(),
            error: self.error.clone(),
        })
    }
}

impl Queue {
    /// Adds a copy at which this node has taken the turn.
    pub(in crate::fetch::keep) fn take_up(&mut self, taken: TakenUp) {
        let mut names = taken.names.into_iter();
        let Some(first) = names.next() else {
            return;
        };
        let id = first.id();
        // What was found by itself, or is of a turn that is over.
        self.remove(id);
        self.add(first, None);
        self.change(id, |job| {
            job.also = names.collect();
            job.client = taken.client;
            job.copy = taken.copy;
            job.pause = taken.pause;
            job.held = Some(taken.held);
        });
    }

    /// Notes the turn at one that no user has asked for.
    pub(in crate::fetch::keep) fn hold(&mut self, id: KeepId, held: Held) {
        self.change(id, |job| job.held = Some(held));
    }

    /// The turn that this node has at one.
    pub(in crate::fetch::keep) fn held(&self, id: KeepId) -> Option<Held> {
        self.jobs.get(&id)?.held
    }

    /// How far those are at which this node has the turn.
    pub(in crate::fetch::keep) fn all_held(&self) -> Vec<HeldRow> {
        self.jobs.values().filter_map(Job::row).collect()
    }

    /// Gives up those of these turns that are not this node's any more, and tells which they are.
    pub(in crate::fetch::keep) fn lose(&mut self, held: &[HeldRow], kept: &[Uuid]) -> Vec<KeepId> {
        let lost = |job: &Job| {
            let turn = job.held.map(|it| it.turn);
            let is_asked = held.iter().any(|it| Some(it.turn) == turn);
            is_asked && turn.is_some_and(|it| !kept.contains(&it.of))
        };
        let lost = self.jobs.iter().filter(|(_, job)| lost(job));
        let lost: Vec<_> = lost.map(|(id, _)| *id).collect();
        for id in &lost {
            self.remove(*id);
        }
        lost
    }

    /// Gives up what waits and no user has asked for.
    pub(in crate::fetch::keep) fn give_up_waiting(&mut self) {
        self.jobs
            .retain(|_, job| job.share.is_none() || job.stage != Stage::Waiting);
    }

    /// What is to be written down of one that comes to its end.
    pub(in crate::fetch::keep) fn at_end(&self, id: KeepId) -> Option<AtEnd> {
        let job = self.jobs.get(&id)?;
        Some(AtEnd {
            held: job.held?,
            row: job.row()?,
            names: job.all_wanted().cloned().collect(),
            is_unasked: job.share.is_some(),
        })
    }

    /// Notes what it is wanted by now, and that a user has asked for it.
    pub(in crate::fetch::keep) fn rename(&mut self, id: KeepId, names: Vec<Wanted>, held: Held) {
        self.change(id, |job| {
            let mut names = names.into_iter();
            if let Some(first) = names.next() {
                job.wanted = first;
                job.also = names.collect();
            }
            job.held = Some(held);
            job.share = None;
        });
    }

    /// How long to wait for the next try of one that others may as well try, and how long for the
    /// one after that; None where what has come of it is of use here.
    pub(in crate::fetch::keep) fn pauses(&self, id: KeepId) -> Option<(Duration, Duration)> {
        let job = self.jobs.get(&id)?;
        let is_anybodys = job.fetched.get() == 0 || job.pause >= LONGEST_PAUSE;
        is_anybodys.then(|| (job.pause / 2, job.pause))
    }
}
