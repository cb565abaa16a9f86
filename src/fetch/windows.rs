//! Reading long content from all peers that hold it at once, in windows that go to whoever is
//! free and fast.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::{self, FuturesUnordered};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::fetcher::Provider;
use super::places::WINDOWS;
use super::proven::Proven;
use super::race::PATIENCE;
use super::{FetchError, PeerError, Pieces};
use crate::peer_id::PeerId;

/// How much is asked for at a time, in bytes: it is held in memory until it is whole.
const WINDOW: u64 = 1 << 20;
const WINDOW_BYTES: f64 = (1 << 20) as f64;
/// How often to look whether the window that all wait for comes soon.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many are asked at once for that one.
const ASKED_FOR_THE_FIRST: usize = 3;
/// How many windows are under way for each peer, so that none waits for a request.
const WINDOWS_OF_A_PEER: usize = 2;
/// A peer that is slower than the fastest by more than this gets no windows while that one
/// serves.
pub(super) const MUCH_SLOWER: f64 = 8.0;
/// The bytes of `range` in their order, from whoever may have them but those that sent something
/// `wrong`; holds `places` as long as they are read.
pub(super) fn read_from_all(
    content: Proven,
    range: Range<u64>,
    wrong: BTreeSet<PeerId>,
    places: Option<OwnedSemaphorePermit>,
) -> Pieces {
    let windows = Windows {
        content,
        _places: places,
        ahead: range.start,
        next: range.start,
        end: range.end,
        missing: BTreeSet::new(),
        done: BTreeMap::new(),
        under_way: Vec::new(),
        running: FuturesUnordered::new(),
        in_vain: BTreeSet::new(),
        wrong,
        failed: None,
    };
    let windows = stream::try_unfold(windows, |mut windows| async move {
        let window = windows.next_window().await?;
        Ok::<_, FetchError>(window.map(|pieces| (pieces, windows)))
    });
    let pieces = windows.map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok)));
    pieces.try_flatten().boxed()
}

type Running = BoxFuture<'static, (u64, PeerId, Result<Result<Vec<Bytes>, PeerError>, Aborted>)>;

/// Windows are called by where they begin.
struct Windows {
    content: Proven,
    _places: Option<OwnedSemaphorePermit>,
    /// The window that is to be given out next.
    ahead: u64,
    /// The first one that nobody was asked for.
    next: u64,
    end: u64,
    /// Those behind `ahead` that somebody was asked for in vain.
    missing: BTreeSet<u64>,
    done: BTreeMap<u64, Vec<Bytes>>,
    under_way: Vec<UnderWay>,
    running: FuturesUnordered<Running>,
    /// Who failed since the last window came.
    in_vain: BTreeSet<PeerId>,
    /// Who sent something else than the content.
    wrong: BTreeSet<PeerId>,
    failed: Option<FetchError>,
}

struct UnderWay {
    start: u64,
    peer: PeerId,
    since: Instant,
    /// How many bytes have come.
    brought: Arc<AtomicU64>,
    abort: AbortHandle,
}

impl Windows {
    async fn next_window(&mut self) -> Result<Option<Vec<Bytes>>, FetchError> {
        while self.ahead < self.end {
            if let Some(pieces) = self.done.remove(&self.ahead) {
                self.ahead = self.end.min(self.ahead + WINDOW);
                return Ok(Some(pieces));
            }
            self.assign();
            let ended = tokio::select! {
                ended = self.running.next() => ended,
                () = tokio::time::sleep(LOOK_EVERY), if !self.running.is_empty() => {
                    self.ask_another_for_the_first();
                    continue;
                }
            };
            match ended {
                Some((start, peer, Ok(ended))) => self.take(start, peer, ended),
                Some((.., Err(Aborted))) => {}
                None => return Err(self.failed.take().unwrap_or(FetchError::Gone)),
            }
        }
        Ok(None)
    }

    /// Asks whoever is free for what is to come.
    fn assign(&mut self) {
        let providers = self.providers();
        while let Some(start) = self.unassigned() {
            let Some(provider) = self.best(&providers, &[]) else {
                return;
            };
            if !self.missing.remove(&start) {
                self.next = self.end.min(start + WINDOW);
            }
            self.ask(start, provider);
        }
    }

    /// The first window that nobody is asked for, if there is room for it.
    fn unassigned(&self) -> Option<u64> {
        if let Some(start) = self.missing.first() {
            return Some(*start);
        }
        let room = self.next < self.ahead + u64::from(WINDOWS) * WINDOW;
        (room && self.next < self.end).then_some(self.next)
    }

    /// Those that may have it.
    fn providers(&self) -> Vec<Provider> {
        let mut providers = self.content.providers();
        let failed = |peer: &PeerId| self.in_vain.contains(peer) || self.wrong.contains(peer);
        providers.retain(|it| !failed(&it.claim.peer));
        providers
    }

    /// Who brings a window soonest, as far as is known; none of `but`. One that has not served
    /// yet is tried with one window, while another one is under way to who has.
    fn best(&self, providers: &[Provider], but: &[PeerId]) -> Option<Provider> {
        let experience = &self.content.fetcher.experience;
        let expected = |it: &Provider| experience.of(it.claim.peer);
        let rates = providers.iter().filter_map(|it| expected(it).rate);
        let fastest = rates.fold(0.0, f64::max);
        let busy = |peer| self.under_way.iter().filter(|it| it.peer == peer).count();
        let (mut best, mut untried) = (None::<(f64, &Provider)>, None);
        let (mut some_serve, mut on_trial) = (false, false);
        for provider in providers {
            let (expected, busy) = (expected(provider), busy(provider.claim.peer));
            if !expected.served {
                on_trial |= busy > 0;
                let free = busy == 0 && !but.contains(&provider.claim.peer);
                untried = untried.or_else(|| free.then_some(provider));
                continue;
            }
            let rate = expected.rate.unwrap_or(fastest);
            if rate * MUCH_SLOWER < fastest {
                continue;
            }
            some_serve = true;
            // Half of it, while it brings another one.
            let rate = if busy == 0 { rate } else { rate / 2.0 };
            let free = busy < WINDOWS_OF_A_PEER && !but.contains(&provider.claim.peer);
            // The first of equals: they come in the order in which they are asked.
            if free && best.is_none_or(|(other, _)| rate > other) {
                best = Some((rate, provider));
            }
        }
        let untried = untried.filter(|_| !(some_serve && on_trial));
        best.map(|(_, it)| it).or(untried).cloned()
    }

    fn ask(&mut self, start: u64, provider: Provider) {
        let peer = provider.claim.peer;
        let range = start..self.end.min(start + WINDOW);
        let brought = Arc::<AtomicU64>::default();
        let reading = read_window(self.content.clone(), provider, range, Arc::clone(&brought));
        let (reading, abort) = abortable(reading);
        self.running
            .push(reading.map(move |ended| (start, peer, ended)).boxed());
        self.under_way.push(UnderWay {
            start,
            peer,
            since: Instant::now(),
            brought,
            abort,
        });
    }

    /// Has another peer bring what all wait for, if there is one that is likely sooner.
    fn ask_another_for_the_first(&mut self) {
        let first = self.under_way.iter().filter(|it| it.start == self.ahead);
        let asked: Vec<_> = first.collect();
        let peers: Vec<_> = asked.iter().map(|it| it.peer).collect();
        let last = asked.iter().map(|it| it.since.elapsed()).min();
        let Some(waited) = last.filter(|_| asked.len() < ASKED_FOR_THE_FIRST) else {
            return;
        };
        let Some(provider) = self.best(&self.providers(), &peers) else {
            return;
        };
        let experience = &self.content.fetcher.experience;
        let rate = experience.of(provider.claim.peer).rate;
        let takes = rate.map_or(PATIENCE, |rate| {
            Duration::from_secs_f64(WINDOW_BYTES / rate.max(1.0))
        });
        if waited >= takes.saturating_mul(2).clamp(LOOK_EVERY, PATIENCE) {
            self.ask(self.ahead, provider);
        }
    }

    fn take(&mut self, start: u64, peer: PeerId, ended: Result<Vec<Bytes>, PeerError>) {
        let ours = |it: &UnderWay| it.start == start && it.peer == peer;
        let since = self.under_way.iter().find(|it| ours(it));
        let waited = since.map_or(Duration::ZERO, |it| it.since.elapsed());
        self.under_way.retain(|it| !ours(it));
        let experience = &self.content.fetcher.experience;
        match ended {
            Ok(pieces) => {
                let bytes = pieces.iter().map(|it| it.len() as u64).sum();
                experience.served(peer, bytes, waited);
                self.in_vain.clear();
                // Whoever else was asked for it is slower.
                for other in self.under_way.extract_if(.., |it| it.start == start) {
                    other.abort.abort();
                    let brought = other.brought.load(Ordering::Relaxed);
                    experience.outrun(other.peer, brought, other.since.elapsed());
                }
                self.done.insert(start, pieces);
            }
            Err(error) => {
                if matches!(error, PeerError::Wrong(_)) {
                    self.wrong.insert(peer);
                }
                self.in_vain.insert(peer);
                if !self.under_way.iter().any(|it| it.start == start) {
                    self.missing.insert(start);
                }
                self.failed = Some(self.content.fetcher.gave_up(peer, error));
            }
        }
    }
}

/// The verified bytes of a window.
async fn read_window(
    content: Proven,
    provider: Provider,
    range: Range<u64>,
    brought: Arc<AtomicU64>,
) -> Result<Vec<Bytes>, PeerError> {
    let mut answer = content.ask(provider, range).await?;
    let mut pieces = Vec::new();
    while let Some(piece) = answer.next().await? {
        brought.fetch_add(piece.len() as u64, Ordering::Relaxed);
        pieces.push(piece);
    }
    Ok(pieces)
}
