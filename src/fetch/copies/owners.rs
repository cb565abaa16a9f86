//! Owners of copies that this member has never met: those that were gone before it came.
//!
//! Whoever holds copies tells what their owners have signed, also to those who know nothing of the
//! owners. So a member that joins later takes its part in what a lost owner's files need. That an
//! owner was a member is on the word of whoever tells of its files, who could have the same held as
//! files of its own; so of each only so many are remembered, and each is asked only for the files
//! of those that it has told of.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::peer_id::PeerId;

/// The most owners that are remembered, and the most of whom one member has told.
const MOST: usize = 4096;
const MOST_OF_ONE: usize = 1024;
/// Of how many members it is remembered that they have told of the same owner: more than hold a
/// file of it.
const MOST_TELLERS: usize = 32;

/// The owners that are no members that were met, with those who hold copies of their files.
#[derive(Default)]
pub(super) struct Owners {
    of: BTreeMap<PeerId, Owner>,
    told_by: BTreeMap<PeerId, usize>,
}

struct Owner {
    /// When it was heard of last, or told of first.
    heard: Instant,
    /// How long it may be silent.
    patience: Duration,
    is_gone: bool,
    tellers: BTreeSet<PeerId>,
}

impl Owners {
    /// Whether nothing is to be noted where this member tells of a file of an owner: it is known,
    /// or there is no room for more.
    pub(super) fn is_noted(&self, owner: PeerId, teller: PeerId) -> bool {
        let told = self.told_by.get(&teller).copied().unwrap_or(0);
        match self.of.get(&owner) {
            Some(it) if it.tellers.contains(&teller) => true,
            Some(it) => told >= MOST_OF_ONE || it.tellers.len() >= MOST_TELLERS,
            None => told >= MOST_OF_ONE || self.of.len() >= MOST,
        }
    }

    /// A member holds a file that this owner has signed, which may be silent for so long.
    pub(super) fn note(&mut self, owner: PeerId, teller: PeerId, patience: Duration) {
        if self.is_noted(owner, teller) {
            return;
        }
        let known = self.of.entry(owner).or_insert_with(|| Owner {
            heard: Instant::now(),
            patience,
            is_gone: false,
            tellers: BTreeSet::new(),
        });
        known.tellers.insert(teller);
        *self.told_by.entry(teller).or_default() += 1;
    }

    /// The network has it be a member no longer, so nobody waits for it.
    pub(super) fn end(&mut self, owner: PeerId) -> bool {
        let known = self.of.get_mut(&owner);
        known.is_some_and(|it| !std::mem::replace(&mut it.is_gone, true))
    }

    /// It has answered, and is a member as others are.
    pub(super) fn forget(&mut self, owner: PeerId) {
        let tellers = self.of.remove(&owner).map(|it| it.tellers);
        for teller in tellers.unwrap_or_default() {
            if let Some(told) = self.told_by.get_mut(&teller) {
                *told -= 1;
            }
        }
        self.told_by.retain(|_, told| *told > 0);
    }

    /// Somebody has heard of it then; whether it is one of these.
    pub(super) fn heard(&mut self, owner: PeerId, at: Instant) -> bool {
        let Some(known) = self.of.get_mut(&owner) else {
            return false;
        };
        known.heard = known.heard.max(at);
        true
    }

    /// Whether any is newly gone.
    pub(super) fn look(&mut self) -> bool {
        let mut has_left = false;
        for it in self.of.values_mut() {
            if !it.is_gone && it.heard.elapsed() > it.patience {
                (it.is_gone, has_left) = (true, true);
            }
        }
        has_left
    }

    /// Those that are gone, with who holds copies of their files.
    pub(super) fn gone(&self) -> Vec<(PeerId, Vec<PeerId>)> {
        let gone = self.of.iter().filter(|(_, it)| it.is_gone);
        let told = gone.map(|(id, it)| (*id, it.tellers.iter().copied().collect()));
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_hours(1);

    fn peer(number: usize) -> PeerId {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        PeerId::of_public_key(&key)
    }

    #[test]
    fn who_makes_up_owners_keeps_nobody_else_from_telling_of_them() {
        let mut owners = Owners::default();
        let (liar, honest, lost) = (peer(1), peer(2), peer(3));
        for number in 10..10 + 2 * MOST_OF_ONE {
            owners.note(peer(number), liar, PATIENCE);
        }
        assert_eq!(owners.of.len(), MOST_OF_ONE);
        owners.note(lost, honest, PATIENCE);
        assert!(owners.is_noted(lost, honest) && owners.gone().is_empty());
        assert!(owners.end(lost) && !owners.end(lost));
        assert_eq!(owners.gone(), [(lost, vec![honest])]);
        owners.forget(lost);
        owners.forget(peer(10));
        assert!(!owners.is_noted(lost, honest) && !owners.is_noted(lost, liar));
        assert_eq!(owners.told_by.len(), 1);
    }

    #[test]
    fn an_owner_is_gone_once_nobody_has_heard_of_it_for_long_enough() {
        let mut owners = Owners::default();
        owners.note(peer(1), peer(9), Duration::ZERO);
        owners.note(peer(2), peer(9), Duration::ZERO);
        assert!(owners.heard(peer(1), Instant::now() + PATIENCE));
        assert!(owners.look() && !owners.look());
        assert_eq!(owners.gone(), [(peer(2), vec![peer(9)])]);
        assert!(!owners.heard(peer(3), Instant::now()));
    }
}
