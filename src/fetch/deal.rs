//! Dealing windows of a content out to those that hold it: each goes to whoever is free and fast,
//! and one that takes too long to another as well.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::experience::{Expected, Experience, rate};
use super::fetcher::Provider;
use super::places::WINDOWS;
use super::proven::Proven;
use super::race::PATIENCE;
use super::{FetchError, PeerError};
use crate::peer_id::PeerId;

/// How much is asked for at a time, in bytes.
pub(super) const WINDOW: u64 = 1 << 20;
const WINDOW_BYTES: f64 = (1 << 20) as f64;
/// How often to look whether a window that is waited for comes soon.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How many are asked at once for one window.
const ASKED_FOR_ONE: usize = 3;
/// How many windows are under way for each peer at least, so that none waits for a request, and at
/// most, where few share them, so that a far one brings something while requests are on their way.
const WINDOWS_OF_A_PEER: (usize, usize) = (2, 4);
/// A peer that is slower than the fastest by more than this gets no windows while that one
/// serves.
pub(super) const MUCH_SLOWER: f64 = 8.0;
/// How much sooner another one has to be likely to bring a window to be asked for it, too.
const LATE: f64 = 2.0;

type Running<T> = BoxFuture<'static, (u64, PeerId, Result<Result<T, PeerError>, Aborted>)>;

/// Windows under way, each of which comes as a `T`. They are called by where they begin.
pub(super) struct Deal<T> {
    content: Proven,
    under_way: Vec<UnderWay>,
    running: FuturesUnordered<Running<T>>,
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
    /// How many others of that peer were under way then.
    beside: usize,
    /// How many bytes have come.
    brought: Arc<AtomicU64>,
    abort: AbortHandle,
}

/// What came of a window.
pub(super) enum Dealt<T> {
    /// It has come.
    Come(u64, T),
    /// Nobody is asked for it any longer.
    Missing(u64),
    /// Another one is asked for it, too, or it has come already.
    Nothing,
    /// Nothing is under way.
    Idle,
}

impl<T: Send + 'static> Deal<T> {
    /// Deals out windows of `content` to all but those that sent something `wrong`.
    pub(super) fn new(content: Proven, wrong: BTreeSet<PeerId>) -> Self {
        Self {
            content,
            under_way: Vec::new(),
            running: FuturesUnordered::new(),
            in_vain: BTreeSet::new(),
            wrong,
            failed: None,
        }
    }

    /// How many questions are under way.
    pub(super) fn len(&self) -> usize {
        self.under_way.len()
    }

    /// A window that another peer is likely to bring before whoever is asked for it, and who.
    #[allow(clippy::cast_precision_loss)] // An estimate.
    pub(super) fn late(&self) -> Option<(u64, Provider)> {
        self.under_way.iter().find_map(|it| {
            let other = self.other_for(it.start)?;
            let brought = it.brought.load(Ordering::Relaxed);
            let rest = WINDOW.saturating_sub(brought) as f64;
            let takes = rest / rate(brought, it.since.elapsed()).max(1.0);
            let sooner = self.takes(&other).as_secs_f64() * LATE;
            (takes > sooner).then_some((it.start, other))
        })
    }

    /// How long a peer is likely to take for a window.
    fn takes(&self, provider: &Provider) -> Duration {
        let experience = &self.content.fetcher.experience;
        let rate = experience.of(provider.claim.peer).rate;
        rate.map_or(PATIENCE, |rate| {
            Duration::from_secs_f64(WINDOW_BYTES / rate.max(1.0))
        })
    }

    /// Why the last one failed, if nobody is left.
    pub(super) fn error(&mut self) -> FetchError {
        self.failed.take().unwrap_or(FetchError::Gone)
    }

    /// Those that may have it.
    pub(super) fn providers(&self) -> Vec<Provider> {
        let mut providers = self.content.providers();
        let failed = |peer: &PeerId| self.in_vain.contains(peer) || self.wrong.contains(peer);
        providers.retain(|it| !failed(&it.claim.peer));
        providers
    }

    /// The windows that are under way from a peer.
    fn of(&self, peer: PeerId) -> impl Iterator<Item = &UnderWay> {
        self.under_way.iter().filter(move |it| it.peer == peer)
    }

    /// Who brings a window soonest, as far as is known; none of `but`.
    pub(super) fn best(&self, providers: &[Provider], but: &[PeerId]) -> Option<Provider> {
        let experience = &self.content.fetcher.experience;
        soonest(experience, providers, |it| self.of(it).count(), but)
    }

    /// Has a peer bring a window, as `read` does, which counts the bytes that have come.
    pub(super) fn ask<Reading>(
        &mut self,
        start: u64,
        provider: Provider,
        read: impl FnOnce(Proven, Provider, Arc<AtomicU64>) -> Reading,
    ) where
        Reading: Future<Output = Result<T, PeerError>> + Send + 'static,
    {
        let peer = provider.claim.peer;
        let brought = Arc::<AtomicU64>::default();
        let reading = read(self.content.clone(), provider, Arc::clone(&brought));
        let (reading, abort) = abortable(reading);
        let reading = reading.map(move |ended| (start, peer, ended));
        self.running.push(reading.boxed());
        let beside = self.of(peer).count();
        self.under_way.push(UnderWay {
            start,
            peer,
            since: Instant::now(),
            beside,
            brought,
            abort,
        });
    }

    /// Who else is to bring a window that is waited for, if there is one that is likely sooner.
    pub(super) fn other_for(&self, start: u64) -> Option<Provider> {
        let asked = self.under_way.iter().filter(|it| it.start == start);
        let peers: Vec<_> = asked.clone().map(|it| it.peer).collect();
        let last = asked.map(|it| it.since.elapsed()).min();
        let waited = last.filter(|_| peers.len() < ASKED_FOR_ONE)?;
        let provider = self.best(&self.providers(), &peers)?;
        let enough = self.takes(&provider).saturating_mul(2);
        let enough = enough.clamp(LOOK_EVERY, PATIENCE);
        (waited >= enough).then_some(provider)
    }

    /// Waits for the next answer. Nothing is lost where the caller stops waiting.
    pub(super) async fn next(&mut self) -> Dealt<T> {
        match self.running.next().await {
            Some((start, peer, Ok(ended))) => self.take(start, peer, ended),
            Some((.., Err(Aborted))) => Dealt::Nothing,
            None => Dealt::Idle,
        }
    }

    fn take(&mut self, start: u64, peer: PeerId, ended: Result<T, PeerError>) -> Dealt<T> {
        let ours = |it: &UnderWay| it.start == start && it.peer == peer;
        let own = self.under_way.iter().position(ours);
        let Some(own) = own.map(|at| self.under_way.swap_remove(at)) else {
            return Dealt::Nothing;
        };
        let experience = &self.content.fetcher.experience;
        match ended {
            Ok(come) => {
                let brought = own.brought.load(Ordering::Relaxed);
                // Those beside it had as much of what the peer brought.
                let beside = usize::midpoint(own.beside, self.of(peer).count());
                let beside = u32::try_from(beside).unwrap_or(u32::MAX);
                let took = own.since.elapsed() / beside.saturating_add(1);
                experience.served(peer, brought, took);
                self.in_vain.clear();
                // Whoever else was asked for it is slower.
                for other in self.under_way.extract_if(.., |it| it.start == start) {
                    other.abort.abort();
                    let brought = other.brought.load(Ordering::Relaxed);
                    experience.outrun(other.peer, brought, other.since.elapsed());
                }
                Dealt::Come(start, come)
            }
            Err(error) => {
                if matches!(error, PeerError::Wrong(_)) {
                    self.wrong.insert(peer);
                }
                self.in_vain.insert(peer);
                self.failed = Some(self.content.fetcher.gave_up(peer, error));
                if self.under_way.iter().any(|it| it.start == start) {
                    Dealt::Nothing
                } else {
                    Dealt::Missing(start)
                }
            }
        }
    }
}

/// Who brings a window soonest, as far as is known, of whom so many are under way; none of `but`.
/// One that has not served yet is tried with one window, while another one is under way to who has.
#[allow(clippy::cast_precision_loss)] // Small numbers.
fn soonest(
    experience: &Experience,
    providers: &[Provider],
    under_way: impl Fn(PeerId) -> usize,
    but: &[PeerId],
) -> Option<Provider> {
    let expected = providers.iter().map(|it| experience.of(it.claim.peer));
    let expected: Vec<_> = expected.collect();
    let rates = expected.iter().filter_map(|it| it.rate);
    let fastest = rates.fold(0.0, f64::max);
    let is_usable = |it: &Expected| it.rate.is_none_or(|rate| rate * MUCH_SLOWER >= fastest);
    let (least, most) = WINDOWS_OF_A_PEER;
    let usable = expected.iter().filter(|it| is_usable(it)).count();
    let share = (WINDOWS as usize / usable.max(1)).clamp(least, most);
    let (mut best, mut untried) = (None::<(f64, &Provider)>, None);
    let (mut some_serve, mut on_trial) = (false, false);
    for (provider, expected) in providers.iter().zip(&expected) {
        // Also of one that was given up before it had brought anything.
        if !is_usable(expected) {
            continue;
        }
        let peer = provider.claim.peer;
        let busy = under_way(peer);
        if !expected.served {
            on_trial |= busy > 0;
            let free = busy == 0 && !but.contains(&peer);
            untried = untried.or_else(|| free.then_some(provider));
            continue;
        }
        some_serve = true;
        let rate = expected.rate.unwrap_or(fastest);
        let most = if rate * 2.0 < fastest { least } else { share };
        let free = busy < most && !but.contains(&peer);
        // The windows that it brings share it.
        let rate = rate / (busy + 1) as f64;
        // The first of equals: they come in the order in which they are asked.
        if free && best.is_none_or(|(other, _)| rate > other) {
            best = Some((rate, provider));
        }
    }
    let untried = untried.filter(|_| !(some_serve && on_trial));
    best.map(|(_, it)| it).or(untried).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Claim;

    const SECOND: Duration = Duration::from_secs(1);

    fn provider(number: u16) -> Provider {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_le_bytes());
        let claim = Claim {
            peer: PeerId::of_public_key(&key),
            size: 1,
        };
        let address = format!("http://localhost:{number}").parse().unwrap();
        Provider { claim, address }
    }

    /// How many windows each of these gets, one after the other, none of which comes.
    fn dealt<const N: usize>(experience: &Experience, providers: &[Provider; N]) -> [usize; N] {
        let mut dealt = [0; N];
        let at = |peer| providers.iter().position(|it| it.claim.peer == peer);
        while let Some(next) = soonest(experience, providers, |it| dealt[at(it).unwrap()], &[]) {
            dealt[at(next.claim.peer).unwrap()] += 1;
        }
        dealt
    }

    #[test]
    fn all_have_a_share_of_the_windows_and_a_slow_one_no_more_than_the_least() {
        let (experience, providers) = (Experience::default(), [1, 2, 3].map(provider));
        let [fast, half, fifth] = providers.each_ref().map(|it| it.claim.peer);
        for (peer, bytes) in [(fast, 100), (half, 50), (fifth, 20)] {
            experience.served(peer, bytes << 20, SECOND);
        }
        assert_eq!(dealt(&experience, &providers), [2, 2, 2]);
        let [one, other, slow] = providers;
        assert_eq!(dealt(&experience, &[one.clone(), other]), [4, 4]);
        assert_eq!(dealt(&experience, &[one, slow]), [4, 2]);
    }

    #[test]
    fn one_that_is_far_slower_brings_none() {
        let (experience, providers) = (Experience::default(), [1, 2].map(provider));
        for (provider, bytes) in providers.iter().zip([100, 12]) {
            experience.served(provider.claim.peer, bytes << 20, SECOND);
        }
        assert_eq!(dealt(&experience, &providers), [4, 0]);
    }

    #[test]
    fn one_that_was_left_before_it_had_brought_anything_is_not_tried_again_at_once() {
        let (experience, providers) = (Experience::default(), [1, 2].map(provider));
        let [fast, slow] = providers.each_ref().map(|it| it.claim.peer);
        experience.served(fast, 100 << 20, SECOND);
        assert_eq!(dealt(&experience, &providers), [4, 1]);
        experience.outrun(slow, 64 << 10, SECOND);
        assert_eq!(dealt(&experience, &providers), [4, 0]);
    }
}
