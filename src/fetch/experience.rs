//! What this node has seen of peers that it asked for content: who brought what he claims to
//! hold, how fast, and who kept it waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::peer::lines::Lines;
use crate::peer_id::PeerId;

/// For how long a peer that failed is asked after the others.
const REMEMBER_FAILURE: Duration = Duration::from_mins(5);
/// For how long one that others were faster than by far.
const REMEMBER_OUTRUN: Duration = Duration::from_secs(30);
/// The most peers remembered, some 100 bytes each.
const MAX_PEERS: usize = 10_000;
/// How few bytes say nothing about how fast a peer is.
const MIN_BYTES: u64 = 64 << 10;
/// How much the last observation of a rate counts.
const WEIGHT: f64 = 0.5;

/// All that was seen. Every method is short.
#[derive(Debug, Default)]
pub(super) struct Experience {
    peers: Mutex<HashMap<PeerId, Seen>>,
    /// How many answers of each are under way.
    asked: Mutex<HashMap<PeerId, usize>>,
    slow: Lines,
}

/// An answer that is under way; over when it is dropped.
#[derive(Debug)]
pub(super) struct Asked {
    experience: Arc<Experience>,
    peer: PeerId,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut asked = self.experience.asked.lock();
        if let Some(count) = asked.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                asked.remove(&self.peer);
            }
        }
    }
}

/// What was seen of one peer.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Whether it has brought content that was right.
    served: bool,
    /// Bytes a second.
    rate: Option<f64>,
    /// Until when it is asked after others.
    behind_until: Option<Instant>,
    last: Instant,
}

/// What to expect of a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Expected {
    /// Whether it has brought content that was right.
    pub(super) served: bool,
    /// Bytes a second, where that is known.
    pub(super) rate: Option<f64>,
    /// Whether it has failed lately, or kept this node waiting.
    pub(super) behind: bool,
}

impl Experience {
    /// How many answers of a peer are under way.
    pub(super) fn asked(&self, peer: PeerId) -> usize {
        self.asked.lock().get(&peer).copied().unwrap_or(0)
    }

    /// Counts one more.
    pub(super) fn ask(self: &Arc<Self>, peer: PeerId) -> Asked {
        *self.asked.lock().entry(peer).or_default() += 1;
        Asked {
            experience: Arc::clone(self),
            peer,
        }
    }

    /// What to expect of a peer.
    pub(super) fn of(&self, peer: PeerId) -> Expected {
        let peers = self.peers.lock();
        let seen = peers.get(&peer);
        seen.map_or_else(Expected::default, |it| Expected {
            served: it.served,
            rate: it.rate,
            behind: it.behind_until.is_some_and(|until| Instant::now() < until),
        })
    }

    /// Notes that a peer brought so many bytes, and for how long they were waited for.
    pub(super) fn served(&self, peer: PeerId, bytes: u64, waited: Duration) {
        self.note(peer, |seen| {
            seen.served = true;
            seen.behind_until = None;
            if bytes >= MIN_BYTES {
                seen.observe(bytes, waited);
            }
        });
    }

    /// Notes that a peer has failed.
    pub(super) fn failed(&self, peer: PeerId) {
        let until = Instant::now() + REMEMBER_FAILURE;
        self.note(peer, |seen| seen.behind_until = Some(until));
    }

    /// Notes that another brought what this one was asked for before it did: so many bytes
    /// at most came of it in this time.
    pub(super) fn outrun(&self, peer: PeerId, bytes: u64, waited: Duration) {
        // Once in a while, however many pieces it was too slow for.
        if !self.of(peer).behind {
            self.slow.tell(|left_out| {
                tracing::info!(%peer, ?waited, left_out, "a slow peer is left for another");
            });
        }
        let until = Instant::now() + REMEMBER_OUTRUN;
        self.note(peer, |seen| {
            seen.observe(bytes, waited);
            seen.behind_until = seen.behind_until.max(Some(until));
        });
    }

    fn note(&self, peer: PeerId, change: impl FnOnce(&mut Seen)) {
        let mut peers = self.peers.lock();
        if peers.len() >= MAX_PEERS && !peers.contains_key(&peer) {
            let oldest = peers.iter().min_by_key(|(_, it)| (it.served, it.last));
            let oldest = oldest.map(|(peer, _)| *peer);
            oldest.map(|it| peers.remove(&it));
        }
        let seen = peers.entry(peer).or_insert(Seen {
            served: false,
            rate: None,
            behind_until: None,
            last: Instant::now(),
        });
        seen.last = Instant::now();
        change(seen);
    }
}

impl Seen {
    fn observe(&mut self, bytes: u64, waited: Duration) {
        let rate = rate(bytes, waited);
        self.rate = Some(match self.rate {
            Some(before) => before + WEIGHT * (rate - before),
            None => rate,
        });
    }
}

/// Bytes a second.
#[allow(clippy::cast_precision_loss)] // An estimate.
pub(super) fn rate(bytes: u64, took: Duration) -> f64 {
    bytes as f64 / took.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u32) -> PeerId {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        PeerId::of_public_key(&key)
    }

    #[test]
    fn who_failed_is_behind_until_it_serves() {
        let experience = Experience::default();
        assert_eq!(experience.of(peer(1)), Expected::default());
        experience.failed(peer(1));
        assert!(experience.of(peer(1)).behind);
        experience.served(peer(1), 1 << 20, Duration::from_secs(1));
        let expected = experience.of(peer(1));
        assert!(expected.served && !expected.behind);
        assert_eq!(expected.rate, Some(f64::from(1 << 20)));
        experience.outrun(peer(1), 0, Duration::from_secs(1));
        let expected = experience.of(peer(1));
        assert!(expected.served && expected.behind);
        assert_eq!(expected.rate, Some(f64::from(1 << 19)));
    }

    #[test]
    fn an_answer_counts_as_long_as_it_is_under_way() {
        let experience = Arc::new(Experience::default());
        let one = experience.ask(peer(1));
        let two = experience.ask(peer(1));
        assert_eq!(
            (experience.asked(peer(1)), experience.asked(peer(2))),
            (2, 0)
        );
        drop(one);
        assert_eq!(experience.asked(peer(1)), 1);
        drop(two);
        assert!(experience.asked.lock().is_empty());
    }

    #[test]
    fn who_has_served_is_remembered_before_others() {
        let experience = Experience::default();
        experience.served(peer(0), 1, Duration::ZERO);
        for number in 1..=u32::try_from(MAX_PEERS).unwrap() + 10 {
            experience.failed(peer(number));
        }
        assert!(experience.of(peer(0)).served);
        assert!(!experience.of(peer(1)).behind);
        assert_eq!(experience.peers.lock().len(), MAX_PEERS);
    }
}
