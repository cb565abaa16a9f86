//! The registry: the peers this node knows.
//!
//! Anybody can make peers up, and have them answer at as many addresses as he has. So there
//! are two tables: of those that have answered as themselves (proven), and a smaller one of
//! those that have not yet, from which newcomers push each other out and nobody else. In both
//! each set of addresses has a share ([`Prefix`]), and in the second each introducer; where
//! one is full, whoever is in the largest crowd gives way. Peers that this node's operator has
//! named are in neither, and stay.

use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::prefix::{Crowds, Key, Prefix};
use super::registration::{Checked, Registration};
use super::turns::in_turn;
use crate::base_url::BaseUrl;
use crate::peer_id::PeerId;
use crate::record::Timestamp;
use crate::revision::{Revision, TrackedMap};

mod comparing;
mod entry;
mod places;
mod room;

pub use entry::{Introducer, Peer};
pub use room::Options;

use entry::KnownPeer;
use parking_lot::Mutex;
use places::Places;

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
    /// There is no room for it.
    Full,
    /// It has said goodbye.
    Left,
}

/// How many peers may be asked at a time.
#[derive(Debug, Clone, Copy)]
pub struct Slots {
    /// How many in all.
    pub all: usize,
    /// How many of one wide set of addresses, the named ones apart: fewer, so that those who
    /// answer slowly or never leave some to others.
    pub together: usize,
}

/// What came of an answer of a peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// Whether it is known, and was not before as one that answers.
    pub anew: bool,
    /// Those that gave way to it; itself, if there is no room for it.
    pub given_way: Vec<PeerId>,
}

/// The peers this node knows, itself left out. Every method is short and does no I/O.
#[derive(Debug)]
pub struct Registry {
    myself: PeerId,
    options: Options,
    peers: Mutex<TrackedMap<PeerId, KnownPeer>>,
    revision: Arc<Revision>,
}

impl Registry {
    /// A registry of the node `myself`, which knows nobody yet.
    pub fn new(myself: PeerId, options: Options) -> Self {
        let peers = TrackedMap::default();
        Self {
            myself,
            options,
            revision: Arc::clone(peers.changes()),
            peers: Mutex::new(peers),
        }
    }

    /// That other peers are shown, or that one is elsewhere, answers or does no longer.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    fn change<T>(&self, id: PeerId, work: impl FnOnce(&mut KnownPeer) -> T) -> Option<T> {
        self.peers.lock().change(&id, KnownPeer::shows, work)
    }

    /// Takes a peer in, or a newer registration of one that is known.
    pub fn introduce(&self, told: Checked, by: Introducer) -> Introduced {
        let entry = KnownPeer {
            prefix: Prefix::of(&told.address),
            peer: Peer {
                told,
                last_seen: Timestamp::now(),
                answered: false,
                named: by == Introducer::Operator,
                returns: 0,
                read: None,
                doubted: None,
            },
            by,
            seen: Instant::now(),
            proven: false,
            in_vain: 0,
            tried: None,
            left_at: None,
            gone: false,
            places: Places::default(),
        };
        let id = entry.peer.id();
        if let Some(refusal) = self.refusal(&entry.peer) {
            return refusal;
        }
        let mut peers = self.peers.lock();
        if peers.contains_key(&id) {
            peers.change(&id, KnownPeer::shows, |known| {
                known.peer.named |= entry.peer.named;
                let now = Instant::now();
                known.places.note(&known.peer.told, &entry.peer.told, now);
                known.renew(entry);
                known.come(by);
            });
            return Introduced::Known;
        }
        let given_way = match room::for_unproven(&peers, &entry, &self.options) {
            Err(room::Full) => return Introduced::Full,
            Ok(given_way) => given_way,
        };
        peers.insert(id, entry);
        match given_way {
            Some(other) => {
                peers.remove(&other);
                Introduced::InsteadOf(other)
            }
            None => Introduced::New,
        }
    }

    /// Two addresses for which the key of a peer speaks by turns, as of two nodes; once.
    pub fn newly_double(&self, id: PeerId) -> Option<(String, String)> {
        self.change(id, |entry| entry.places.newly_double())?
    }

    /// Whether exactly this registration is that of a known peer that has not said goodbye since.
    pub fn knows(&self, registration: &Registration, by: Introducer) -> bool {
        let Ok(id) = registration.peer_id.parse() else {
            return false;
        };
        let known = self.change(id, |known| {
            let knows = !known.gone && known.peer.told.registration == *registration;
            if knows {
                known.come(by);
            }
            knows
        });
        known == Some(true)
    }

    /// Takes in a peer that has answered in an earlier run, when it was last seen at this
    /// time; it has to answer anew.
    pub fn restore(&self, told: Checked, last_seen: Timestamp) -> Introduced {
        let entry = KnownPeer {
            prefix: Prefix::of(&told.address),
            peer: Peer {
                told,
                last_seen,
                answered: false,
                named: false,
                returns: 0,
                read: None,
                doubted: None,
            },
            by: Introducer::Itself(None),
            seen: Instant::now(),
            proven: true,
            in_vain: 0,
            tried: None,
            left_at: None,
            gone: false,
            places: Places::default(),
        };
        if let Some(refusal) = self.refusal(&entry.peer) {
            return refusal;
        }
        let mut peers = self.peers.lock();
        let id = entry.peer.id();
        let known = peers.get(&id);
        if known.is_some_and(|it| !entry.is_remembered_better_than(it)) {
            return Introduced::Known;
        }
        if !room::is_for_proven(&peers, &entry, &self.options) {
            return Introduced::Full;
        }
        peers.insert(id, entry);
        Introduced::New
    }

    fn refusal(&self, peer: &Peer) -> Option<Introduced> {
        if peer.id() == self.myself {
            return Some(Introduced::Myself);
        }
        let unsigned = self.options.require_signed && !peer.verified();
        unsigned.then_some(Introduced::Unsigned)
    }

    /// Notes that a peer seems to be there.
    pub fn saw(&self, id: PeerId) {
        self.change(id, KnownPeer::see);
    }

    /// Notes that a peer has just answered as itself.
    pub fn answered(&self, id: PeerId) -> Answered {
        let mut peers = self.peers.lock();
        let answers = peers.change(&id, KnownPeer::shows, |entry| {
            entry.see();
            entry.in_vain = 0;
            entry.gone = false;
            entry.tried = Some(Instant::now());
            let anew = !std::mem::replace(&mut entry.peer.answered, true);
            (anew, std::mem::replace(&mut entry.proven, true))
        });
        let (anew, was_proven) = answers.unwrap_or((false, true));
        if was_proven {
            let given_way = Vec::new();
            return Answered { anew, given_way };
        }
        let given_way = room::made_by_proven(&mut peers, id, &self.options);
        let anew = !given_way.contains(&id);
        Answered { anew, given_way }
    }

    /// Notes that a peer was asked in vain since `began`, so that it has to show anew that it
    /// is there; whether it had before.
    pub fn asked_in_vain(&self, id: PeerId, began: Instant) -> bool {
        let was_there = self.change(id, |entry| {
            entry.tried = Some(began);
            entry.in_vain = entry.in_vain.saturating_add(1);
            entry.fall_silent(began)
        });
        was_there == Some(true)
    }

    /// Notes that a peer did not answer at once. One that has answered before only takes longer
    /// than that, as far as is known.
    pub fn waited_in_vain(&self, id: PeerId) {
        self.change(id, |entry| {
            entry.fall_silent(Instant::now());
            if !entry.proven {
                entry.in_vain = entry.in_vain.saturating_add(1);
            }
        });
    }

    /// Notes that a peer has said goodbye, and tells whether it did so after it last
    /// registered: one that is repeated by whoever, also later, is of an earlier run.
    pub fn left(&self, told: &Checked) -> bool {
        let leaves = self.change(told.id, |entry| {
            let at = told.registered_at();
            let leaves = at >= entry.peer.told.registered_at() && Some(at) > entry.left_at;
            if leaves {
                entry.left_at = Some(at);
                entry.gone = true;
                entry.in_vain = entry.in_vain.saturating_add(1);
            }
            leaves && entry.fall_silent(Instant::now())
        });
        leaves == Some(true)
    }

    /// Whether a peer has said goodbye and was not heard of since, or is not known.
    pub fn has_left(&self, id: PeerId) -> bool {
        self.peers.lock().get(&id).is_none_or(|it| it.gone)
    }

    /// Forgets a peer that has never answered.
    pub fn forget_unproven(&self, id: PeerId) {
        let mut peers = self.peers.lock();
        if peers
            .get(&id)
            .is_some_and(|it| !it.proven && !it.peer.named)
        {
            peers.remove(&id);
        }
    }

    /// Forgets a peer, whoever it is.
    pub fn forget(&self, id: PeerId) {
        self.peers.lock().remove(&id);
    }

    /// At most `limit` of the peers to be shown, in the order of their ids, from the first behind
    /// `after`: all but those whose address is a name that was not looked at yet, and may lead
    /// where no peer is.
    pub fn shown(&self, after: Option<PeerId>, limit: usize) -> Vec<(PeerId, Peer)> {
        let peers = self.peers.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = peers.range((from, Bound::Unbounded));
        let shown = behind.filter(|(_, it)| it.is_shown()).take(limit);
        shown.map(|(id, it)| (*id, it.peer.clone())).collect()
    }

    /// Whether a peer is reached where it says it is, and when the last try to began; None
    /// where it was not asked yet.
    pub fn reaches(&self, id: PeerId) -> Option<(bool, Instant)> {
        let peers = self.peers.lock();
        let entry = peers.get(&id)?;
        Some((entry.peer.answered, entry.tried?))
    }

    /// The peer with this id.
    pub fn get(&self, id: PeerId) -> Option<Peer> {
        self.peers.lock().get(&id).map(|it| it.peer.clone())
    }

    /// Whether there is such a peer.
    pub fn any(&self, is_such: impl Fn(&Peer) -> bool) -> bool {
        self.peers.lock().values().any(|it| is_such(&it.peer))
    }

    /// Who is to be asked next beside those who are `busy`: of those that `due` gives a value
    /// for the named ones first, then in turn those of each introducer and each set of
    /// addresses. The value tells whether one has cost time lately, and so comes after others.
    pub fn next(
        &self,
        slots: &Slots,
        busy: &[PeerId],
        due: impl Fn(&Peer) -> Option<bool>,
    ) -> Vec<Peer> {
        let peers = self.peers.lock();
        let busy: Vec<_> = busy.iter().filter_map(|id| peers.get(id)).collect();
        let strangers = busy.iter().filter(|it| !it.peer.named);
        let mut crowds = Crowds::of(strangers.map(|it| &it.prefix));
        let due = peers.values().filter_map(|it| Some((it, due(&it.peer)?)));
        let (named, others): (Vec<_>, Vec<_>) = due.partition(|(it, _)| it.peer.named);
        let others = others.into_iter().map(|(it, wary)| (it.claim(wary), it));
        let others = in_turn(
            others.collect(),
            busy.iter().map(|it| it.claim(false)),
            usize::MAX,
        );
        let free = slots.all.saturating_sub(busy.len());
        let ordered = named.into_iter().map(|(it, _)| it).chain(others);
        let fits = |it: &&KnownPeer| {
            let fits = it.peer.named || crowds.count(it.prefix.wide) < slots.together;
            if fits && !it.peer.named {
                crowds.add(&it.prefix);
            }
            fits
        };
        let next = ordered.filter(fits).take(free);
        next.map(|it| it.peer.clone()).collect()
    }

    /// At most so many of the peers that answer, any of them, in turn those of each introducer
    /// and each set of addresses.
    pub fn some_answering(&self, limit: usize) -> Vec<Peer> {
        if limit == 0 {
            return Vec::new();
        }
        let peers = self.peers.lock();
        let answering = peers.values().filter(|it| it.peer.answered);
        let claims = answering.map(|it| (it.claim(false), it));
        let some = in_turn(claims.collect(), [], limit).into_iter();
        some.map(|it| it.peer.clone()).collect()
    }

    /// Those that have answered once, at the address that they have now.
    pub fn proven(&self) -> Vec<Peer> {
        let peers = self.peers.lock();
        let proven = peers.values().filter(|it| it.proven);
        proven.map(|it| it.peer.clone()).collect()
    }

    /// Whether these are just those, and where they are.
    pub fn are_proven(&self, places: &[(PeerId, BaseUrl)]) -> bool {
        let peers = self.peers.lock();
        let proven = peers.values().filter(|it| it.proven);
        let proven = proven.map(|it| (it.peer.id(), it.peer.address()));
        proven.eq(places.iter().map(|(id, address)| (*id, address)))
    }

    /// After how long of silence those are forgotten that have answered.
    pub fn forget_after(&self) -> Duration {
        self.options.forget_after
    }

    /// The peers that have answered.
    pub fn answering(&self) -> Vec<PeerId> {
        let peers = self.peers.lock();
        let answering = peers.values().filter(|it| it.peer.answered);
        answering.map(|it| it.peer.id()).collect()
    }

    /// The same, and in which wide set of addresses each of them is.
    pub fn answering_in(&self) -> Vec<(PeerId, Key)> {
        let peers = self.peers.lock();
        let answering = peers.values().filter(|it| it.peer.answered);
        answering.map(|it| (it.peer.id(), it.prefix.wide)).collect()
    }

    /// How many peers are known.
    pub fn len(&self) -> usize {
        self.peers.lock().len()
    }

    /// Whether no peer is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the peers that were silent for long at `now`, and tells which. The system's
    /// clock, which may be set meanwhile, has no part in it.
    pub fn forget_silent(&self, now: Instant) -> Vec<PeerId> {
        let Options {
            forget_after,
            forget_unproven_after,
            ..
        } = self.options;
        let mut peers = self.peers.lock();
        let silent = peers.values().filter(|it| {
            let limit = if it.proven || it.peer.named {
                forget_after
            } else {
                forget_unproven_after.min(forget_after)
            };
            // Who answers is silent only once it was asked in vain.
            let is_there = it.peer.exchanges();
            !is_there && now.saturating_duration_since(it.seen) > limit
        });
        let silent: Vec<_> = silent.map(|it| it.peer.id()).collect();
        for id in &silent {
            peers.remove(id);
        }
        silent
    }
}

#[cfg(test)]
mod tests;
