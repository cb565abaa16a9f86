//! Whose turn it is where everything is kept: no stranger has all places, keeps others waiting,
//! or fills the disk.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::queue::{Job, Queue, Stage};
use super::share::{Crowd, Share};
use super::wanted::{KeepId, Wanted};
use crate::open_files;
use crate::peer::prefix::Key;
use crate::peer_id::PeerId;

/// How many are fetched at once, those left out that are slow.
const AT_ONCE: usize = 4;
/// How many files of one peer are fetched at once that no user asked for.
const MAX_FETCHED_OF_A_PEER: usize = 2;
/// How many files wait or are fetched that no user asked for.
const MAX_PLACES: usize = 512;
/// How many of those may be of one peer that has served content or is named.
const MAX_OF_A_PEER: usize = 256;
/// How many of those may be of any other peer.
const MAX_OF_A_STRANGER: usize = 32;
/// After how long it is known whether a fetch is slow.
const PATIENCE: Duration = Duration::from_secs(1);
/// A fetch is slow that brings fewer bytes a second than this.
const SLOW: u64 = 256 << 10;
/// After how long without a byte a fetch gives way to others that wait.
const SILENCE: Duration = Duration::from_secs(3);
/// Which part of the free room one peer may fill that is not named.
const PART: u64 = 4;
/// The most peers of which it is remembered how much was taken.
const MAX_TAKEN: usize = 4096;

impl Crowd {
    fn most(self) -> usize {
        match self {
            Self::Known(_) => MAX_OF_A_PEER,
            Self::Strangers(_) => MAX_OF_A_STRANGER,
        }
    }
}

/// Whether one more may be fetched.
enum FetchTurn {
    Free,
    /// Where this one, of this peer, is given up.
    InPlaceOf(KeepId, PeerId),
    None,
}

/// How many of each crowd, and of each peer.
#[derive(Default)]
pub(super) struct Counts {
    crowds: BTreeMap<Crowd, usize>,
    peers: BTreeMap<PeerId, usize>,
}

impl Counts {
    fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Self {
        let mut counts = Self::default();
        for job in jobs {
            if let Some(share) = job.share {
                *counts.crowds.entry(share.crowd).or_default() += 1;
                *counts.peers.entry(job.wanted.peer).or_default() += 1;
            }
        }
        counts
    }

    fn get(&self, crowd: Crowd, peer: PeerId) -> (usize, usize) {
        let crowd = self.crowds.get(&crowd).copied().unwrap_or(0);
        (crowd, self.peers.get(&peer).copied().unwrap_or(0))
    }

    /// Whether no more of this one may be fetched now. What a user asked for always may.
    pub(super) fn is_busy(&self, job: &Job) -> bool {
        let share = job.share.map(|it| self.get(it.crowd, job.wanted.peer).1);
        share.is_some_and(|many| many >= MAX_FETCHED_OF_A_PEER)
    }

    /// What comes first: what users asked for, then those of whom the least is under way.
    pub(super) fn rank(&self, job: &Job) -> (usize, usize, u64) {
        let counts = job.share.map(|it| self.get(it.crowd, job.wanted.peer));
        let (crowd, peer) = counts.map_or((0, 0), |(crowd, peer)| (crowd + 1, peer));
        (crowd, peer, job.order)
    }
}

impl Job {
    /// How many bytes have come, and in which time, since its fetch began.
    fn speed(&self) -> Option<(u64, Duration)> {
        let (begun, before) = self.begun.filter(|_| self.stage == Stage::Fetching)?;
        let fetched = self.fetched.get();
        Some((fetched.saturating_sub(before), begun.elapsed()))
    }

    /// Whether it is so slow that others need not wait for it.
    fn is_slow(&self) -> bool {
        self.speed().is_some_and(|(bytes, time)| {
            time >= PATIENCE && bytes < SLOW.saturating_mul(time.as_secs())
        })
    }

    fn is_silent(&self) -> bool {
        let speed = self.speed();
        speed.is_some_and(|(bytes, time)| time >= SILENCE && bytes == 0)
    }
}

impl Queue {
    /// How many of each are being fetched.
    pub(super) fn under_way(&self) -> Counts {
        let jobs = self.jobs.values();
        Counts::of(jobs.filter(|job| job.stage == Stage::Fetching))
    }

    /// Whether one more may be fetched: slow ones hold nobody up, and where there are too many
    /// of them, one that is silent gives way.
    pub(super) fn has_turn(&mut self) -> bool {
        match self.turn() {
            FetchTurn::Free => true,
            FetchTurn::None => false,
            FetchTurn::InPlaceOf(id, peer) => {
                self.remove(id);
                self.rest(peer, true);
                true
            }
        }
    }

    /// Whether one more could be fetched that another node may fetch as well: none waits here.
    pub(super) fn may_take_up(&self) -> bool {
        let now = Instant::now();
        let is_due = |job: &Job| job.stage == Stage::Waiting && job.due <= now;
        let waits = self
            .jobs
            .values()
            .any(|it| it.share.is_none() && is_due(it));
        !waits && matches!(self.turn(), FetchTurn::Free | FetchTurn::InPlaceOf(..))
    }

    fn turn(&self) -> FetchTurn {
        let fetching = self.jobs.values().filter(|it| it.stage == Stage::Fetching);
        let (slow, fast): (Vec<_>, Vec<_>) = fetching.partition(|job| job.is_slow());
        // Slow ones too, each with open files.
        let most = open_files::shares().copies;
        if fast.len() >= AT_ONCE.min(most) {
            return FetchTurn::None;
        }
        if slow.len() + fast.len() < most {
            return FetchTurn::Free;
        }
        let silent = self.jobs.iter().filter(|(_, job)| job.is_silent());
        let silent = silent.filter(|(_, job)| job.share.is_some());
        let first = silent.min_by_key(|(_, job)| job.begun);
        first.map_or(FetchTurn::None, |(id, job)| {
            FetchTurn::InPlaceOf(*id, job.wanted.peer)
        })
    }

    /// Adds a file that no user asked for. False where there is no place for it now; a place is
    /// made by one of whoever has the most, if that is more than this peer has.
    pub(super) fn add_unasked(&mut self, wanted: Wanted, share: Share) -> bool {
        if self
            .jobs
            .get(&wanted.id())
            .is_some_and(|it| !it.stage.is_final())
        {
            return true;
        }
        let open = self.jobs.iter().filter(|(_, job)| !job.stage.is_final());
        let open: Vec<_> = open.filter(|(_, job)| job.share.is_some()).collect();
        let counts = Counts::of(open.iter().map(|(_, job)| *job));
        let own = counts.get(share.crowd, wanted.peer);
        if self.is_resting(wanted.peer) || own.1 >= share.crowd.most() {
            return false;
        }
        if open.len() >= MAX_PLACES {
            let waiting = open.iter().filter(|(_, job)| job.stage == Stage::Waiting);
            let largest = waiting.max_by_key(|(_, job)| {
                let crowd = job.share.map_or(share.crowd, |it| it.crowd);
                (counts.get(crowd, job.wanted.peer), job.order)
            });
            let Some((id, job)) = largest else {
                return false;
            };
            let crowd = job.share.map_or(share.crowd, |it| it.crowd);
            let theirs = counts.get(crowd, job.wanted.peer);
            let larger = if crowd == share.crowd {
                theirs.1 > own.1 + 1
            } else {
                theirs.0 > own.0 + 1
            };
            if !larger {
                return false;
            }
            let id: KeepId = **id;
            self.remove(id);
        }
        self.add(wanted, Some(share));
        true
    }

    /// Whether so many bytes more are within what one peer may have kept here, where so much
    /// room is left: a quarter of it. What is on its way counts.
    pub(super) fn is_within_share(&self, share: Share, bytes: u64, room: u64) -> bool {
        let Some(place) = share.place else {
            return true;
        };
        let open = self.jobs.values().filter(|job| !job.stage.is_final());
        let open = open.filter(|job| job.share.is_some_and(|it| it.place == Some(place)));
        let open = open.map(|job| job.size.load(Ordering::Relaxed));
        let taken = self.taken.get(&place).copied().unwrap_or(0);
        let all = open.fold(taken.saturating_add(bytes), u64::saturating_add);
        all <= room / PART
    }

    /// Notes that so many bytes of a peer are kept here.
    pub(super) fn take(&mut self, place: Key, bytes: u64) {
        let taken = self.taken.entry(place).or_default();
        *taken = taken.saturating_add(bytes);
        if self.taken.len() > MAX_TAKEN {
            let least = self.taken.iter().min_by_key(|(_, bytes)| **bytes);
            let least = least.map(|(place, _)| *place);
            least.map(|place| self.taken.remove(&place));
        }
    }

    /// When one that waits may be begun, whether or not there is a turn for it.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let under_way = self.under_way();
        let waiting = self.jobs.values().filter(|job| job.stage == Stage::Waiting);
        let waiting = waiting.filter(|job| !under_way.is_busy(job));
        waiting.map(|job| job.due).min()
    }
}
