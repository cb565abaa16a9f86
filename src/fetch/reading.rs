//! Reading a range of content from the peer that brings it, and going over to another one at
//! the same byte where that one fails, falls silent or is far slower; and to all that hold it where
//! much is to come.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::answer::Answer;
use super::deal::MUCH_SLOWER;
use super::experience::rate;
use super::fetcher::Provider;
use super::proven::Proven;
use super::race::{Outcome, PATIENCE, first_of};
use super::windows::read_from_all;
use super::{FetchError, PeerError, Pieces};
use crate::peer_id::PeerId;

/// How much a challenger brings before it is compared, in bytes.
const LEAD: u64 = 128 << 10;
/// For how long the first peer is waited for, in all, before another one is tried beside it.
const FIRST_TRIAL: Duration = Duration::from_secs(1);
/// By how much another one must be faster, as far as is known, to be tried.
const MUCH_FASTER: f64 = 2.0;
/// For how long one peer is waited for, in all, before others that hold it bring parts, too.
const ALONE: Duration = Duration::from_millis(250);
/// How long one peer would still take for that to be worth it.
const LONG: Duration = Duration::from_millis(500);

/// A range being read.
pub(super) struct Reading {
    content: Proven,
    /// What is still to come.
    ahead: Range<u64>,
    source: Option<Box<Source>>,
    /// One that is tried beside the source.
    challenger: Option<Challenger>,
    /// For how long the source is waited for before the next trial.
    next_trial: Duration,
    /// For how long it is waited for before others may bring parts, too.
    next_sharing: Duration,
    /// The rest, from all that hold it.
    from_all: Option<Pieces>,
    /// Who failed since the last byte came; whoever brought bytes may be asked again.
    in_vain: BTreeSet<PeerId>,
    /// Who sent something else than the content, and is not asked again.
    wrong: BTreeSet<PeerId>,
    failed: Option<FetchError>,
}

/// An answer and how it goes on.
struct Source {
    peer: PeerId,
    answer: Answer,
    /// What has come of it and was not given out.
    ready: VecDeque<Bytes>,
    /// Where the next byte of it stands, that which is ready included.
    at: u64,
    brought: u64,
    /// For how long it was waited for.
    waited: Duration,
}

struct Challenger {
    peer: PeerId,
    asking: BoxFuture<'static, Result<Box<Source>, PeerError>>,
}

/// What happened first.
enum Event {
    Brought(Result<Option<Bytes>, PeerError>),
    Tried(Result<Box<Source>, PeerError>),
    Silent,
}

impl Reading {
    pub(super) fn new(content: Proven, range: Range<u64>) -> Self {
        Self {
            content,
            ahead: range,
            source: None,
            challenger: None,
            next_trial: FIRST_TRIAL,
            next_sharing: ALONE,
            from_all: None,
            in_vain: BTreeSet::new(),
            wrong: BTreeSet::new(),
            failed: None,
        }
    }

    pub(super) fn into_pieces(self) -> Pieces {
        stream::try_unfold(self, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        while !self.ahead.is_empty() {
            if let Some(all) = &mut self.from_all {
                let piece = all.try_next().await?;
                self.ahead.start += piece.as_ref().map_or(0, |it| it.len() as u64);
                return Ok(piece);
            }
            match self.step().await? {
                Event::Brought(Ok(Some(piece))) => {
                    if let Some(piece) = self.take(&piece) {
                        if self.ahead.is_empty() {
                            self.leave_source();
                        } else {
                            self.share_out();
                        }
                        return Ok(Some(piece));
                    }
                }
                // Complete, though bytes are missing: the verifier lets that never happen.
                Event::Brought(Ok(None)) => self.lose_source(PeerError::OtherPart),
                Event::Brought(Err(error)) => self.lose_source(error),
                Event::Tried(tried) => self.end_trial(tried),
                Event::Silent => self.challenge(),
            }
        }
        Ok(None)
    }

    /// Waits for the source, and for who is tried beside it.
    async fn step(&mut self) -> Result<Event, FetchError> {
        let Some(source) = &mut self.source else {
            if let Some(challenger) = &mut self.challenger {
                return Ok(Event::Tried((&mut challenger.asking).await));
            }
            self.ask_another().await?;
            return Ok(Event::Brought(Ok(Some(Bytes::new()))));
        };
        if let Some(piece) = source.ready.pop_front() {
            return Ok(Event::Brought(Ok(Some(piece))));
        }
        let began = Instant::now();
        let until_trial = self.next_trial.saturating_sub(source.waited).min(PATIENCE);
        let event = if let Some(challenger) = &mut self.challenger {
            tokio::select! {
                biased;
                brought = source.next() => Event::Brought(brought),
                tried = &mut challenger.asking => Event::Tried(tried),
            }
        } else {
            tokio::select! {
                biased;
                brought = source.next() => Event::Brought(brought),
                () = tokio::time::sleep(until_trial) => Event::Silent,
            }
        };
        source.waited += began.elapsed();
        Ok(event)
    }

    /// What of a piece is still to come.
    fn take(&mut self, piece: &Bytes) -> Option<Bytes> {
        let source = self.source.as_mut()?;
        let start = source.at;
        source.at += piece.len() as u64;
        let known = self.ahead.start.saturating_sub(start);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        if known >= piece.len() {
            return None;
        }
        let piece = piece.slice(known..);
        self.ahead.start += piece.len() as u64;
        self.in_vain.clear();
        // Also one that is never silent may be far slower than another.
        if self.challenger.is_none() && source.waited >= self.next_trial {
            self.challenge();
        }
        Some(piece)
    }

    /// Asks the next peers that may have what is still to come.
    async fn ask_another(&mut self) -> Result<(), FetchError> {
        let mut providers = self.content.providers();
        let asked = |peer: &PeerId| self.in_vain.contains(peer) || self.wrong.contains(peer);
        providers.retain(|it| !asked(&it.claim.peer));
        if providers.is_empty() {
            return Err(self.failed.take().unwrap_or(FetchError::Gone));
        }
        let (content, range) = (self.content.clone(), self.ahead.clone());
        let fetcher = Arc::clone(&self.content.fetcher);
        let (experience, hedges) = (&fetcher.experience, &fetcher.hedges);
        let outcome = first_of(experience, hedges, providers, move |provider| {
            Source::begin(content.clone(), provider, range.clone(), 1)
        });
        let Outcome { won, failed } = outcome.await;
        for (provider, error) in failed {
            self.give_up(provider.claim.peer, error);
        }
        self.source = won.map(|(_, source)| source);
        self.next_sharing = ALONE;
        Ok(())
    }

    /// Has all that hold it bring parts of the rest, where it is the source that is waited for and
    /// that would go on for long.
    #[allow(clippy::cast_precision_loss)] // An estimate.
    fn share_out(&mut self) {
        let Some(source) = &self.source else {
            return;
        };
        if source.waited < self.next_sharing || self.challenger.is_some() {
            return;
        }
        self.next_sharing = source.waited.saturating_mul(2);
        let now = rate(source.brought, source.waited);
        if (self.ahead.end - self.ahead.start) as f64 <= now * LONG.as_secs_f64() {
            return;
        }
        let fetcher = &self.content.fetcher;
        let helps = |it: &Provider| {
            let peer = it.claim.peer;
            let known = fetcher.experience.of(peer).rate;
            peer != source.peer
                && !self.in_vain.contains(&peer)
                && !self.wrong.contains(&peer)
                && known.is_none_or(|known| known * MUCH_SLOWER > now)
        };
        if !self.content.providers().iter().any(helps) {
            return;
        }
        let Some(places) = fetcher.places.take() else {
            return;
        };
        self.leave_source();
        let (content, rest) = (self.content.clone(), self.ahead.clone());
        let wrong = std::mem::take(&mut self.wrong);
        self.from_all = Some(read_from_all(content, rest, wrong, places));
    }

    /// Tries another peer beside the source, if one may be much better.
    fn challenge(&mut self) {
        let Some(source) = &self.source else {
            return;
        };
        let now = rate(source.brought, source.waited);
        // The less often, the longer it has been in vain.
        self.next_trial = self.next_trial.max(source.waited).saturating_mul(2);
        if self.ahead.end - self.ahead.start <= LEAD {
            self.next_trial = Duration::MAX;
        }
        let experience = &self.content.fetcher.experience;
        let may_be_better = |it: &Provider| {
            let peer = it.claim.peer;
            let known = experience.of(peer).rate;
            peer != source.peer
                && !self.in_vain.contains(&peer)
                && !self.wrong.contains(&peer)
                && known.is_none_or(|known| known > now * MUCH_FASTER)
        };
        let provider = self.content.providers().into_iter().find(may_be_better);
        self.challenger = provider.map(|provider| Challenger {
            peer: provider.claim.peer,
            asking: Box::pin(Source::begin(
                self.content.clone(),
                provider,
                self.ahead.clone(),
                LEAD,
            )),
        });
    }

    /// Goes over to a challenger that is ahead, or has to be waited for no longer.
    fn end_trial(&mut self, tried: Result<Box<Source>, PeerError>) {
        let Some(challenger) = self.challenger.take() else {
            return;
        };
        match tried {
            Ok(better) => {
                let behind = better.at + better.brought <= self.ahead.start;
                if behind && self.source.is_some() {
                    better.tell(&self.content);
                    return;
                }
                if let Some(source) = self.source.take() {
                    let Source {
                        peer,
                        brought,
                        waited,
                        ..
                    } = *source;
                    let experience = &self.content.fetcher.experience;
                    experience.outrun(peer, brought, waited);
                }
                self.source = Some(better);
                self.next_sharing = ALONE;
            }
            Err(error) => self.give_up(challenger.peer, error),
        }
    }

    fn lose_source(&mut self, error: PeerError) {
        if let Some(source) = self.source.take() {
            self.give_up(source.peer, error);
        }
    }

    /// Notes how the last source was.
    fn leave_source(&mut self) {
        if let Some(source) = self.source.take() {
            source.tell(&self.content);
        }
    }

    fn give_up(&mut self, peer: PeerId, error: PeerError) {
        if matches!(error, PeerError::Wrong(_)) {
            self.wrong.insert(peer);
        }
        self.in_vain.insert(peer);
        self.failed = Some(self.content.fetcher.gave_up(peer, error));
    }
}

impl Source {
    /// Asks a peer for `range`, and waits for the first `lead` bytes of it, or all.
    async fn begin(
        content: Proven,
        provider: Provider,
        range: Range<u64>,
        lead: u64,
    ) -> Result<Box<Self>, PeerError> {
        let began = Instant::now();
        let lead = lead.min(range.end - range.start);
        let (peer, at) = (provider.claim.peer, range.start);
        let mut source = Self {
            peer,
            answer: content.ask(provider, range).await?,
            ready: VecDeque::new(),
            at,
            brought: 0,
            waited: Duration::ZERO,
        };
        while source.brought < lead {
            match source.next().await? {
                Some(piece) => source.ready.push_back(piece),
                None => break,
            }
        }
        source.waited = began.elapsed();
        Ok(Box::new(source))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, PeerError> {
        let piece = self.answer.next().await?;
        self.brought += piece.as_ref().map_or(0, |it| it.len() as u64);
        Ok(piece)
    }

    /// Notes how fast the peer was.
    fn tell(&self, content: &Proven) {
        let experience = &content.fetcher.experience;
        experience.served(self.peer, self.brought, self.waited);
    }
}
