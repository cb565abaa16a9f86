//! The registry: the peers this node knows.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::registration::Checked;
use super::signature::Trust;
use crate::base_url::BaseUrl;
use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// A known peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// What it told of itself.
    pub told: Checked,
    /// When it last answered or was introduced anew.
    pub last_seen: Timestamp,
    /// Whether it has answered, as itself, at its address. Until then it may be made up.
    pub answered: bool,
}

impl Peer {
    /// The peer's id.
    pub fn id(&self) -> PeerId {
        self.told.id
    }

    /// Where it is reached.
    pub fn address(&self) -> &BaseUrl {
        &self.told.address
    }

    /// Whether its key has signed where it is reached.
    pub fn verified(&self) -> bool {
        self.told.trust == Trust::Verified
    }
}

/// How a registry is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most peers known; further ones are not taken.
    pub max_peers: usize,
    /// A peer that is silent for so long is forgotten.
    pub forget_after: Duration,
    /// Whether peers without a signature are refused.
    pub require_signed: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_peers: 10_000,
            forget_after: Duration::from_hours(1),
            require_signed: false,
        }
    }
}

/// What came of an introduction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Introduced {
    /// The peer was not known before.
    New,
    /// It was not known before, and took the place of this one.
    InsteadOf(PeerId),
    /// It was known; the newer of both registrations stands.
    Known,
    /// It is this node itself, or somebody who claims to be where this node is.
    Myself,
    /// It is not signed, and that is required.
    Unsigned,
    /// The registry is full.
    Full,
}

/// The peers this node knows, itself left out. Every method is short and does no I/O.
#[derive(Debug)]
pub struct Registry {
    myself: PeerId,
    options: Options,
    peers: Mutex<BTreeMap<PeerId, Peer>>,
}

impl Registry {
    /// A registry of the node `myself`, which knows nobody yet.
    pub fn new(myself: PeerId, options: Options) -> Self {
        Self {
            myself,
            options,
            peers: Mutex::default(),
        }
    }

    /// Takes a peer in, or a newer registration of one that is known.
    pub fn introduce(&self, told: Checked) -> Introduced {
        self.restore(told, Timestamp::now())
    }

    /// Takes in a peer that was last seen at some time. In a full registry it takes the
    /// place of one that never answered.
    pub fn restore(&self, told: Checked, last_seen: Timestamp) -> Introduced {
        let peer = Peer {
            told,
            last_seen,
            answered: false,
        };
        if peer.id() == self.myself {
            return Introduced::Myself;
        }
        if self.options.require_signed && !peer.verified() {
            return Introduced::Unsigned;
        }
        let mut peers = self.peers();
        if let Some(known) = peers.get_mut(&peer.id()) {
            known.renew(peer);
            return Introduced::Known;
        }
        let mut introduced = Introduced::New;
        if peers.len() >= self.options.max_peers {
            let Some(in_vain) = longest_in_vain(&peers) else {
                return Introduced::Full;
            };
            peers.remove(&in_vain);
            introduced = Introduced::InsteadOf(in_vain);
        }
        peers.insert(peer.id(), peer);
        introduced
    }

    /// Notes that a peer seems to be there.
    pub fn saw(&self, id: PeerId) {
        if let Some(peer) = self.peers().get_mut(&id) {
            peer.last_seen = Timestamp::now();
        }
    }

    /// Notes that a peer has just answered as itself.
    pub fn answered(&self, id: PeerId) {
        if let Some(peer) = self.peers().get_mut(&id) {
            peer.last_seen = Timestamp::now();
            peer.answered = true;
        }
    }

    /// Notes that a peer was asked in vain, so that it has to show anew that it is there.
    pub fn asked_in_vain(&self, id: PeerId) {
        if let Some(peer) = self.peers().get_mut(&id) {
            peer.answered = false;
        }
    }

    /// The peer with this id.
    pub fn get(&self, id: PeerId) -> Option<Peer> {
        self.peers().get(&id).cloned()
    }

    /// All peers, in the order of their ids.
    pub fn all(&self) -> Vec<Peer> {
        self.peers().values().cloned().collect()
    }

    /// Those of them that are wanted.
    pub fn select(&self, wanted: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        let peers = self.peers();
        peers
            .values()
            .filter(|peer| wanted(peer))
            .cloned()
            .collect()
    }

    /// The peers that have answered.
    pub fn answering(&self) -> Vec<PeerId> {
        let peers = self.peers();
        let answering = peers.values().filter(|peer| peer.answered);
        answering.map(Peer::id).collect()
    }

    /// A number that differs when other peers are known, or others of them have answered.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for peer in self.peers().values() {
            (peer.id(), peer.answered).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// How many peers are known.
    pub fn len(&self) -> usize {
        self.peers().len()
    }

    /// Whether no peer is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the peers that were silent for long at `now`, and tells which.
    pub fn forget_silent(&self, now: Timestamp) -> Vec<PeerId> {
        let limit = i64::try_from(self.options.forget_after.as_millis()).unwrap_or(i64::MAX);
        let mut peers = self.peers();
        let silent = peers
            .values()
            .filter(|peer| now.0 - peer.last_seen.0 > limit);
        let silent: Vec<PeerId> = silent.map(Peer::id).collect();
        for id in &silent {
            peers.remove(id);
        }
        silent
    }

    /// No method leaves the map half changed, so a panic elsewhere does not matter.
    fn peers(&self) -> MutexGuard<'_, BTreeMap<PeerId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The peer that never answered and was not heard of for longest.
fn longest_in_vain(peers: &BTreeMap<PeerId, Peer>) -> Option<PeerId> {
    let in_vain = peers.values().filter(|peer| !peer.answered);
    in_vain.min_by_key(|peer| peer.last_seen).map(Peer::id)
}

impl Peer {
    /// Takes over what is newer. An older registration, repeated by whoever, neither
    /// moves the peer back to an old address nor shows that it is still there.
    fn renew(&mut self, other: Peer) {
        if other.told.registered_at() > self.told.registered_at() {
            let moved = self.address() != other.address();
            *self = Self {
                answered: self.answered && !moved,
                ..other
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::identity::Identity;
    use crate::peer::registration::Registration;
    use crate::peer::signature::Proof;

    fn told(address: &str) -> Checked {
        let identity = Identity::generate().unwrap();
        let registration = Registration::of_self(&identity, &address.parse().unwrap());
        registration.check().unwrap()
    }

    fn old(timestamp: &str, address: &str) -> Checked {
        let registration = Registration {
            peer_id: "123e4567-e89b-42d3-a456-426614174000".to_owned(),
            address: address.to_owned(),
            timestamp: timestamp.to_owned(),
            proof: Proof::default(),
        };
        registration.check().unwrap()
    }

    fn registry(options: Options) -> Registry {
        Registry::new(told("http://me").id, options)
    }

    #[test]
    fn peers_are_known_by_id_and_never_oneself() {
        let myself = told("http://me");
        let registry = Registry::new(myself.id, Options::default());
        assert_eq!(registry.introduce(myself), Introduced::Myself);
        let peer = told("http://one");
        assert_eq!(registry.introduce(peer.clone()), Introduced::New);
        assert_eq!(registry.introduce(peer.clone()), Introduced::Known);
        assert_eq!(registry.len(), 1);
        let known = registry.get(peer.id).unwrap();
        assert_eq!(known.address().to_string(), "http://one");
        assert!(known.verified());
    }

    #[test]
    fn only_a_newer_registration_moves_a_peer() {
        let registry = registry(Options::default());
        registry.introduce(old("2026-01-21T10:00:01", "http://one"));
        registry.introduce(old("2026-01-21T10:00:00", "http://stale"));
        let address = || registry.all()[0].address().to_string();
        assert_eq!(address(), "http://one");
        registry.introduce(old("2026-01-21T10:00:02", "http://two"));
        assert_eq!(address(), "http://two");
    }

    #[test]
    fn there_is_room_for_so_many() {
        let registry = registry(Options {
            max_peers: 1,
            ..Options::default()
        });
        let first = told("http://one");
        assert_eq!(registry.introduce(first.clone()), Introduced::New);
        registry.answered(first.id);
        assert_eq!(registry.introduce(told("http://two")), Introduced::Full);
        assert_eq!(registry.introduce(first), Introduced::Known);
    }

    #[test]
    fn who_never_answered_makes_room() {
        let registry = registry(Options {
            max_peers: 2,
            ..Options::default()
        });
        let (first, second) = (told("http://one"), told("http://two"));
        registry.restore(first.clone(), Timestamp(2));
        registry.restore(second.clone(), Timestamp(1));
        let third = told("http://three");
        let instead = Introduced::InsteadOf(second.id);
        assert_eq!(registry.introduce(third.clone()), instead);
        registry.answered(first.id);
        registry.answered(third.id);
        assert_eq!(registry.introduce(second.clone()), Introduced::Full);
        registry.asked_in_vain(first.id);
        let instead = Introduced::InsteadOf(first.id);
        assert_eq!(registry.introduce(second), instead);
        assert!(registry.get(first.id).is_none());
    }

    #[test]
    fn who_moves_has_to_answer_anew() {
        let registry = registry(Options::default());
        let answered = || registry.all()[0].answered;
        registry.introduce(old("2026-01-21T10:00:00", "http://one"));
        assert!(!answered());
        registry.answered(registry.all()[0].id());
        registry.introduce(old("2026-01-21T10:00:01", "http://one"));
        assert!(answered());
        registry.introduce(old("2026-01-21T10:00:02", "http://two"));
        assert!(!answered());
    }

    #[test]
    fn unsigned_peers_are_refused_where_that_is_asked_for() {
        let peer = || old("2026-01-21T10:00:00", "http://one");
        let strict = Options {
            require_signed: true,
            ..Options::default()
        };
        assert_eq!(registry(strict).introduce(peer()), Introduced::Unsigned);
        assert_eq!(
            registry(Options::default()).introduce(peer()),
            Introduced::New
        );
    }

    #[test]
    fn silent_peers_are_forgotten() {
        let registry = registry(Options::default());
        let peer = told("http://one");
        registry.restore(peer.clone(), Timestamp(1));
        assert_eq!(registry.forget_silent(Timestamp(3_600_001)), []);
        assert_eq!(registry.forget_silent(Timestamp(3_600_002)), [peer.id]);
        assert!(registry.is_empty());
        registry.restore(peer.clone(), Timestamp(1));
        registry.saw(peer.id);
        assert_eq!(registry.forget_silent(Timestamp::now()), []);
    }
}
