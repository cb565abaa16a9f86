//! What is wanted, how far it is, and what comes next.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::share::Share;
use super::wanted::{KeepId, Wanted};
use crate::client_key::ClientKey;
use crate::peer::prefix::Key;
use crate::peer_id::PeerId;
use crate::record::{FileId, FileRecord};
use crate::revision::{Revision, TrackedMap};

mod held;

pub(super) use held::{Held, TakenUp};

/// How long a peer is left alone after it failed for the first time, when no user asked; each
/// further time it is twice as long.
const FIRST_REST: Duration = Duration::from_secs(2);
/// The longest that a peer is left alone.
const LONGEST_REST: Duration = Duration::from_mins(5);
/// The most peers left alone that are remembered.
const MAX_RESTING: usize = 2000;
/// The most finished ones remembered.
pub(super) const MAX_FINISHED: usize = 1000;
/// How long to wait before the first new try; before each further one it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest to wait before a new try.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How far a wanted file is.
#[derive(Debug, Clone)]
pub struct KeepProgress {
    /// What is wanted.
    pub wanted: Wanted,
    /// Where it stands.
    pub stage: Stage,
    /// How many bytes are here.
    pub fetched: u64,
    /// Why the last try failed, if one did.
    pub error: Option<String>,
}

/// Where a wanted file stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It waits for its turn, or for a new try.
    Waiting,
    /// It is being fetched.
    Fetching,
    /// It is kept: as this file, or as one that was there before.
    Kept(Option<FileId>),
    /// It will not be tried again.
    Failed,
}

/// Everything wanted.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) jobs: TrackedMap<KeepId, Job>,
    /// Counts what was added, for the order.
    added: u64,
    /// Until when peers are left alone, and for how long that was.
    resting: BTreeMap<PeerId, (Instant, Duration)>,
    /// How many bytes of whom are kept that no user asked for.
    pub(super) taken: BTreeMap<Key, u64>,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) wanted: Wanted,
    /// What it is called by others who want it, too.
    pub(super) also: Vec<Wanted>,
    /// Whose share it takes; None where a user asked for it, and not the setting that everything
    /// is kept.
    pub(super) share: Option<Share>,
    /// Who asked for it, as far as that is known.
    client: Option<ClientKey>,
    /// The turn at it, where several nodes may fetch it.
    held: Option<Held>,
    /// The copy that was made when it was asked for before.
    pub(super) copy: Option<FileId>,
    pub(super) order: u64,
    pub(super) stage: Stage,
    pub(super) fetched: Arc<Fetched>,
    pub(super) size: Arc<AtomicU64>,
    /// When its fetch began, and how many bytes were here then.
    pub(super) begun: Option<(Instant, u64)>,
    given_up: Arc<Notify>,
    error: Option<String>,
    /// When to try next, and how long to wait after that.
    pub(super) due: Instant,
    pause: Duration,
}

/// One whose turn has come.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) wanted: Wanted,
    /// Whether no user asked for it.
    pub(super) unasked: bool,
    /// Who asked for it, as far as that is known.
    pub(super) client: Option<ClientKey>,
    /// The turn at it, where several nodes may fetch it.
    pub(super) held: Option<Held>,
    /// Takes the count of the bytes that are here.
    pub(super) fetched: Arc<Fetched>,
    /// Takes the length of the content, in bytes, once it is proven.
    pub(super) size: Arc<AtomicU64>,
    /// Tells when nobody wants it any longer.
    pub(super) given_up: Arc<Notify>,
}

/// How many bytes of a copy are here, which is told as they come.
#[derive(Debug)]
pub(super) struct Fetched {
    bytes: AtomicU64,
    changes: Arc<Revision>,
}

impl Fetched {
    fn of(changes: &Arc<Revision>) -> Self {
        Self {
            bytes: AtomicU64::new(0),
            changes: Arc::clone(changes),
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.changes.advance();
    }

    pub(super) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.changes.advance();
    }
}

impl Job {
    /// What a change of is told; the bytes that come are by themselves.
    fn shows(&self) -> (Stage, Option<String>, String) {
        let name = self.wanted.file.name.clone();
        (self.stage, self.error.clone(), name)
    }

    fn progress(&self) -> KeepProgress {
        let mut wanted = self.wanted.clone();
        wanted.file.size = self.size.load(Ordering::Relaxed);
        KeepProgress {
            wanted,
            stage: self.stage,
            fetched: self.fetched.get(),
            error: self.error.clone(),
        }
    }
}

impl Stage {
    /// Whether nothing more will happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Kept(_) | Self::Failed)
    }
}

impl Queue {
    /// Adds what is wanted; where it is in here and not at its end, the name that it shall have.
    pub(super) fn add(&mut self, wanted: Wanted, share: Option<Share>) {
        let id = wanted.id();
        if self.is_open(id) {
            if share.is_none() {
                self.change(id, |job| {
                    job.share = None;
                    job.want_as(wanted);
                });
            }
            return;
        }
        self.added += 1;
        let copy = self.jobs.get(&id).and_then(Job::copy);
        let job = Job {
            size: Arc::new(AtomicU64::new(wanted.file.size)),
            wanted,
            also: Vec::new(),
            share,
            client: None,
            held: None,
            copy,
            order: self.added,
            stage: Stage::Waiting,
            fetched: Arc::new(Fetched::of(self.jobs.changes())),
            begun: None,
            given_up: Arc::default(),
            error: None,
            due: Instant::now(),
            pause: FIRST_PAUSE,
        };
        self.jobs.insert(id, job);
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        let finished = self.jobs.iter().filter(|(_, job)| job.stage.is_final());
        let mut finished: Vec<_> = finished.map(|(id, job)| (job.order, *id)).collect();
        finished.sort_unstable();
        let surplus = finished.len().saturating_sub(MAX_FINISHED);
        for (_, id) in finished.into_iter().take(surplus) {
            self.jobs.remove(&id);
        }
    }

    /// Begins the next one that is due, if there is a turn for it.
    pub(super) fn begin_next(&mut self) -> Option<Begun> {
        let now = Instant::now();
        self.next_due().filter(|due| *due <= now)?;
        if !self.has_turn() {
            return None;
        }
        let under_way = self.under_way();
        let due = self.jobs.iter();
        let due = due.filter(|(_, job)| job.stage == Stage::Waiting && job.due <= now);
        let due = due.filter(|(_, job)| !under_way.is_busy(job));
        let (id, _) = due.min_by_key(|(_, job)| under_way.rank(job))?;
        let id = *id;
        self.change(id, |job| {
            job.stage = Stage::Fetching;
            job.begun = Some((now, job.fetched.get()));
            Begun {
                wanted: job.wanted.clone(),
                unasked: job.share.is_some(),
                client: job.client.clone(),
                held: job.held,
                fetched: Arc::clone(&job.fetched),
                size: Arc::clone(&job.size),
                given_up: Arc::clone(&job.given_up),
            }
        })
    }

    fn change<T>(&mut self, id: KeepId, work: impl FnOnce(&mut Job) -> T) -> Option<T> {
        self.jobs.change(&id, Job::shows, work)
    }

    /// Whether a peer is left alone now.
    pub(super) fn is_resting(&self, peer: PeerId) -> bool {
        let resting = self.resting.get(&peer);
        resting.is_some_and(|(until, _)| Instant::now() < *until)
    }

    /// Leaves a peer alone for a while, or no longer.
    pub(super) fn rest(&mut self, peer: PeerId, failed: bool) {
        if !failed {
            self.resting.remove(&peer);
            return;
        }
        let now = Instant::now();
        let last = self.resting.get(&peer).copied();
        // What was under way together failed together.
        if last.is_some_and(|(until, _)| now < until) {
            return;
        }
        let pause = last.map_or(FIRST_REST, |(_, pause)| (pause * 2).min(LONGEST_REST));
        if last.is_none() && self.resting.len() >= MAX_RESTING {
            self.resting.pop_first();
        }
        self.resting.insert(peer, (now + pause, pause));
        // The others of it are found anew.
        self.jobs.retain(|_, job| {
            let waits = job.share.is_some() && job.stage == Stage::Waiting;
            !(waits && job.wanted.peer == peer)
        });
    }

    /// Notes that one came to its end.
    pub(super) fn end(&mut self, id: KeepId, stage: Stage, error: Option<String>) {
        let ended = self.change(id, |job| {
            job.stage = stage;
            job.error = error;
            let place = job.share.and_then(|share| share.place);
            let size = job.size.load(Ordering::Relaxed);
            (job.wanted.peer, place, size)
        });
        let Some((peer, place, size)) = ended else {
            return;
        };
        if let Stage::Kept(copy) = stage {
            self.rest(peer, false);
            if let Some(place) = place.filter(|_| copy.is_some()) {
                self.take(place, size);
            }
        }
    }

    /// Notes how a copy is called.
    pub(super) fn name(&mut self, id: KeepId, name: String) {
        self.change(id, |job| job.wanted.file.name = name);
    }

    /// Notes the file that was made of one.
    pub(super) fn made(&mut self, id: KeepId, record: FileRecord) {
        self.change(id, |job| job.copy = Some(record.id));
        self.name(id, record.file.name);
    }

    /// Lets one wait for a new try. What nobody asked for is found anew instead, so that
    /// it holds up nothing.
    pub(super) fn retry(&mut self, id: KeepId, error: String) {
        let rests = self.change(id, |job| {
            let again = job.share.is_none();
            job.stage = if again { Stage::Waiting } else { Stage::Failed };
            job.error = Some(error);
            job.due = Instant::now() + job.pause;
            job.pause = (job.pause * 2).min(LONGEST_PAUSE);
            (!again).then_some(job.wanted.peer)
        });
        if let Some(peer) = rests.flatten() {
            self.rest(peer, true);
        }
    }

    /// Removes one, and stops whoever fetches it.
    pub(super) fn remove(&mut self, id: KeepId) -> Option<KeepProgress> {
        let job = self.jobs.remove(&id)?;
        job.given_up.notify_one();
        Some(job.progress())
    }

    /// Removes one that no user asked for.
    pub(super) fn give_up_unasked(&mut self, id: KeepId) {
        let job = self.jobs.get(&id);
        if job.is_some_and(|job| job.share.is_some() && !job.stage.is_final()) {
            self.remove(id);
        }
    }

    /// How far one is.
    pub(super) fn get(&self, id: KeepId) -> Option<KeepProgress> {
        Some(self.jobs.get(&id)?.progress())
    }

    /// How far at most `limit` are, the oldest first, from the first that was added behind the one
    /// with the number `after`; each with its own number.
    pub(super) fn page(&self, after: Option<u64>, limit: usize) -> Vec<(u64, KeepProgress)> {
        let jobs = self.jobs.values().filter(|job| Some(job.order) > after);
        let mut jobs: Vec<_> = jobs.collect();
        jobs.sort_unstable_by_key(|job| job.order);
        let jobs = jobs.into_iter().take(limit);
        jobs.map(|job| (job.order, job.progress())).collect()
    }

    /// What users asked for and have not got yet, the oldest first.
    pub(super) fn asked_for(&self) -> Vec<Wanted> {
        let jobs = self.jobs.values();
        let open = jobs.filter(|job| job.share.is_none() && !job.stage.is_final());
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|job| job.order);
        let all = open.into_iter().flat_map(Job::all_wanted);
        all.cloned().collect()
    }

    /// Forgets that something is wanted under this name, too, which nobody was promised.
    pub(super) fn want_no_more(&mut self, wanted: &Wanted) {
        let forget = |job: &mut Job| job.also.retain(|it| !it.is_called_as(wanted));
        self.change(wanted.id(), forget);
    }

    /// Whether one is in here and not at its end.
    pub(super) fn is_open(&self, id: KeepId) -> bool {
        self.jobs.get(&id).is_some_and(|job| !job.stage.is_final())
    }

    /// Notes who asked for one.
    pub(super) fn belongs_to(&mut self, id: KeepId, client: Option<ClientKey>) {
        self.change(id, |job| job.client = client);
    }

    /// How many of those that a client asked for are not at their end.
    pub(super) fn open_of(&self, client: Option<&ClientKey>) -> usize {
        let jobs = self.jobs.values();
        let own = jobs.filter(|job| job.client.as_ref() == client && job.share.is_none());
        own.map(Job::places).sum()
    }

    /// Gives up the oldest that was tried in vain so far and of which nothing is here: of a
    /// client, or of whoever asked for the most. False where there is none.
    pub(super) fn give_way(&mut self, client: Option<&ClientKey>, own: bool) -> bool {
        let jobs = self.jobs.iter();
        let vain = jobs.filter(|(_, job)| {
            let untouched = job.fetched.get() == 0;
            job.stage == Stage::Waiting && job.error.is_some() && untouched
        });
        let vain = vain.filter(|(_, job)| !own || job.client.as_ref() == client);
        let first = vain.max_by_key(|(_, job)| {
            let held = self.open_of(job.client.as_ref());
            (held, Reverse(job.order))
        });
        let first = first.map(|(id, _)| *id);
        first.is_some_and(|id| self.remove(id).is_some())
    }

    /// How many are not at their end, each as often as there are names for it.
    pub(super) fn open(&self) -> usize {
        self.jobs.values().map(Job::places).sum()
    }
}

#[cfg(test)]
mod tests;
