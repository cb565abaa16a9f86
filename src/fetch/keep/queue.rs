//! What is wanted, how far it is, and what comes next.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::wanted::{KeepId, Wanted};
use crate::client_key::ClientKey;
use crate::peer_id::PeerId;
use crate::record::FileId;

/// How many files of one peer wait or are fetched that no user asked for,
const MAX_OF_A_PEER: usize = 32;
/// and how many of them are fetched at once, so that others have their turn.
const MAX_FETCHED_OF_A_PEER: usize = 2;
/// How long a peer is left alone after it failed, when no user asked: twice as long each time,
const FIRST_REST: Duration = Duration::from_secs(2);
/// and at most so long.
const LONGEST_REST: Duration = Duration::from_mins(5);
/// The most peers left alone that are remembered.
const MAX_RESTING: usize = 2000;
/// The most finished ones remembered.
const MAX_FINISHED: usize = 1000;
/// How long to wait before the first new try,
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// and before any later one at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How far a wanted file is.
#[derive(Debug, Clone)]
pub struct Progress {
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
    jobs: BTreeMap<KeepId, Job>,
    /// Counts what was added, for the order.
    added: u64,
    /// Until when peers are left alone, and for how long that was.
    resting: BTreeMap<PeerId, (Instant, Duration)>,
}

#[derive(Debug)]
struct Job {
    wanted: Wanted,
    /// Whether a user asked for it, and not the setting that everything is kept.
    asked_for: bool,
    /// Who asked for it, as far as that is known.
    client: Option<ClientKey>,
    order: u64,
    stage: Stage,
    fetched: Arc<AtomicU64>,
    size: Arc<AtomicU64>,
    given_up: Arc<Notify>,
    error: Option<String>,
    /// When to try next, and how long to wait after that.
    due: Instant,
    pause: Duration,
}

/// One whose turn has come.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) wanted: Wanted,
    /// Takes the count of the bytes that are here.
    pub(super) fetched: Arc<AtomicU64>,
    /// Takes the length of the content, in bytes, once it is proven.
    pub(super) size: Arc<AtomicU64>,
    /// Tells when nobody wants it any longer.
    pub(super) given_up: Arc<Notify>,
}

impl Job {
    fn progress(&self) -> Progress {
        let mut wanted = self.wanted.clone();
        wanted.file.size = self.size.load(Ordering::Relaxed);
        Progress {
            wanted,
            stage: self.stage,
            fetched: self.fetched.load(Ordering::Relaxed),
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
    /// Adds what is wanted, unless it is in here and not at its end.
    pub(super) fn add(&mut self, wanted: Wanted, asked_for: bool) {
        let id = wanted.id();
        let known = self.jobs.get_mut(&id);
        if let Some(job) = known.filter(|job| !job.stage.is_final()) {
            job.asked_for |= asked_for;
            return;
        }
        self.added += 1;
        let job = Job {
            size: Arc::new(AtomicU64::new(wanted.file.size)),
            wanted,
            asked_for,
            client: None,
            order: self.added,
            stage: Stage::Waiting,
            fetched: Arc::default(),
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

    /// Begins the oldest one that is due.
    pub(super) fn begin_next(&mut self) -> Option<Begun> {
        let now = Instant::now();
        let busy = self.busy_peers();
        let due = self.jobs.values_mut();
        let due = due.filter(|job| {
            let peer = job.wanted.peer;
            let fair = job.asked_for || !busy.contains(&peer);
            job.stage == Stage::Waiting && job.due <= now && fair
        });
        let job = due.min_by_key(|job| job.order)?;
        job.stage = Stage::Fetching;
        Some(Begun {
            wanted: job.wanted.clone(),
            fetched: Arc::clone(&job.fetched),
            size: Arc::clone(&job.size),
            given_up: Arc::clone(&job.given_up),
        })
    }

    /// The peers of which as much is fetched as may be, where no user asked.
    fn busy_peers(&self) -> Vec<PeerId> {
        let unasked = self.jobs.values().filter(|job| !job.asked_for);
        let fetching = unasked.filter(|job| job.stage == Stage::Fetching);
        let mut counts = BTreeMap::<_, usize>::new();
        for job in fetching {
            *counts.entry(job.wanted.peer).or_default() += 1;
        }
        let busy = counts
            .into_iter()
            .filter(|(_, many)| *many >= MAX_FETCHED_OF_A_PEER);
        busy.map(|(peer, _)| peer).collect()
    }

    /// Whether one more file of a peer may wait that no user asked for.
    pub(super) fn has_place_for(&self, peer: PeerId) -> bool {
        if self.is_resting(peer) {
            return false;
        }
        let unasked = self.jobs.values().filter(|job| !job.asked_for);
        let open = unasked.filter(|job| job.wanted.peer == peer && !job.stage.is_final());
        open.count() < MAX_OF_A_PEER
    }

    /// Whether a peer is left alone now.
    pub(super) fn is_resting(&self, peer: PeerId) -> bool {
        let resting = self.resting.get(&peer);
        resting.is_some_and(|(until, _)| Instant::now() < *until)
    }

    /// Leaves a peer alone for a while, or no longer.
    fn rest(&mut self, peer: PeerId, failed: bool) {
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
            let waits = !job.asked_for && job.stage == Stage::Waiting;
            !(waits && job.wanted.peer == peer)
        });
    }

    /// When the next try is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let busy = self.busy_peers();
        let waiting = self.jobs.values().filter(|job| {
            let fair = job.asked_for || !busy.contains(&job.wanted.peer);
            job.stage == Stage::Waiting && fair
        });
        waiting.map(|job| job.due).min()
    }

    /// Notes that one came to its end.
    pub(super) fn end(&mut self, id: KeepId, stage: Stage, error: Option<String>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.stage = stage;
        job.error = error;
        let peer = job.wanted.peer;
        if matches!(stage, Stage::Kept(_)) {
            self.rest(peer, false);
        }
    }

    /// Notes how a copy is called.
    pub(super) fn name(&mut self, id: KeepId, name: String) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.wanted.file.name = name;
        }
    }

    /// Lets one wait for a new try. What nobody asked for is found anew instead, so that
    /// it holds up nothing.
    pub(super) fn retry(&mut self, id: KeepId, error: String) {
        if let Some(job) = self.jobs.get_mut(&id) {
            let again = job.asked_for;
            job.stage = if again { Stage::Waiting } else { Stage::Failed };
            job.error = Some(error);
            job.due = Instant::now() + job.pause;
            job.pause = (job.pause * 2).min(LONGEST_PAUSE);
            let peer = job.wanted.peer;
            if !again {
                self.rest(peer, true);
            }
        }
    }

    /// Removes one, and stops whoever fetches it.
    pub(super) fn remove(&mut self, id: KeepId) -> Option<Progress> {
        let job = self.jobs.remove(&id)?;
        job.given_up.notify_one();
        Some(job.progress())
    }

    /// How far one is.
    pub(super) fn get(&self, id: KeepId) -> Option<Progress> {
        Some(self.jobs.get(&id)?.progress())
    }

    /// How far all are, the oldest first.
    pub(super) fn all(&self) -> Vec<Progress> {
        let mut jobs: Vec<_> = self.jobs.values().collect();
        jobs.sort_unstable_by_key(|job| job.order);
        jobs.into_iter().map(Job::progress).collect()
    }

    /// A number that differs when other ones are wanted, or when they are farther.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for job in self.jobs.values() {
            let fetched = job.fetched.load(Ordering::Relaxed);
            (job.order, job.stage, fetched, &job.error).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What users asked for and have not got yet, the oldest first.
    pub(super) fn asked_for(&self) -> Vec<Wanted> {
        let jobs = self.jobs.values();
        let open = jobs.filter(|job| job.asked_for && !job.stage.is_final());
        let mut open: Vec<_> = open.collect();
        open.sort_unstable_by_key(|job| job.order);
        open.into_iter().map(|job| job.wanted.clone()).collect()
    }

    /// Notes who asked for one.
    pub(super) fn belongs_to(&mut self, id: KeepId, client: Option<ClientKey>) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.client = client;
        }
    }

    /// How many of those that a client asked for are not at their end.
    pub(super) fn open_of(&self, client: Option<&ClientKey>) -> usize {
        let jobs = self.jobs.values();
        let own = jobs.filter(|job| job.client.as_ref() == client && job.asked_for);
        own.filter(|job| !job.stage.is_final()).count()
    }

    /// Gives up the oldest that was tried in vain so far and of which nothing is here: of a
    /// client, or of whoever asked for the most. False where there is none.
    pub(super) fn give_way(&mut self, client: Option<&ClientKey>, own: bool) -> bool {
        let jobs = self.jobs.iter();
        let vain = jobs.filter(|(_, job)| {
            let untouched = job.fetched.load(Ordering::Relaxed) == 0;
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

    /// How many are not at their end.
    pub(super) fn open(&self) -> usize {
        let jobs = self.jobs.values();
        jobs.filter(|job| !job.stage.is_final()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::keep::Naming;
    use crate::hash::BlobHash;
    use crate::peer::directory::NetworkFile;

    fn wanted(number: u32) -> Wanted {
        Wanted {
            peer: PeerId::of_public_key(&[1; 32]),
            naming: Naming::Content,
            file: NetworkFile {
                id: FileId::from_bytes([1; 16]),
                hash: Some(BlobHash::of(&number.to_le_bytes())),
                name: String::new(),
                size: 1,
                content_type: None,
                uploaded_at: String::new(),
            },
        }
    }

    #[test]
    fn each_is_begun_once_and_in_order() {
        let mut queue = Queue::default();
        for number in [2, 1, 2] {
            queue.add(wanted(number), number == 1);
        }
        let mut begun = || queue.begin_next().map(|begun| begun.wanted);
        assert_eq!(begun(), Some(wanted(2)));
        assert_eq!(begun(), Some(wanted(1)));
        assert_eq!(begun(), None);
        assert_eq!(queue.asked_for(), [wanted(1)]);
        queue.end(wanted(1).id(), Stage::Kept(None), None);
        assert_eq!((queue.asked_for(), queue.open()), (vec![], 1));
    }

    #[test]
    fn a_peer_has_its_share_of_what_nobody_asked_for() {
        let of = |peer, number| Wanted {
            peer: PeerId::of_public_key(&[peer; 32]),
            ..wanted(number)
        };
        let mut queue = Queue::default();
        for number in 0..32 {
            queue.add(of(1, number), false);
        }
        assert!(!queue.has_place_for(of(1, 0).peer) && queue.has_place_for(of(2, 0).peer));
        queue.add(of(2, 100), false);
        let begun = [(); 4].map(|()| queue.begin_next().map(|it| it.wanted.peer));
        let [one, two] = [1, 2].map(|it| Some(of(it, 0).peer));
        assert_eq!(begun, [one, one, two, None]);
        // Who keeps this node waiting waits himself.
        queue.retry(of(1, 0).id(), "silent".to_owned());
        assert!(!queue.has_place_for(of(1, 0).peer));
        assert_eq!(queue.open(), 2);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn what_failed_waits_longer_each_time() {
        let mut queue = Queue::default();
        queue.add(wanted(1), true);
        let mut last = Duration::ZERO;
        for _ in 0..3 {
            queue.retry(wanted(1).id(), "why".to_owned());
            let pause = queue.next_due().unwrap() - Instant::now();
            assert!(pause > last, "{pause:?}");
            last = pause;
        }
        assert!(queue.begin_next().is_none());
        assert_eq!(queue.get(wanted(1).id()).unwrap().error.unwrap(), "why");
    }

    #[test]
    fn the_finished_are_forgotten_in_time() {
        let mut queue = Queue::default();
        let many = u32::try_from(MAX_FINISHED).unwrap() + 1;
        for number in 0..=many {
            queue.add(wanted(number), true);
            queue.end(wanted(number).id(), Stage::Kept(None), None);
        }
        assert!(queue.get(wanted(0).id()).is_none());
        assert!(queue.get(wanted(many).id()).is_some());
    }
}
