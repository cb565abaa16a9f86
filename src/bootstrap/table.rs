//! Who has registered: bounded, each entry for a time.

use std::collections::HashMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::peer_id::PeerId;
use crate::record::Timestamp;

/// A registration with all its keys, as it came.
pub(super) type Registered = Map<String, Value>;

/// The table is full of peers that are still there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

/// The registered peers.
#[derive(Debug)]
pub(super) struct Table {
    max_peers: usize,
    ttl_millis: i64,
    peers: HashMap<PeerId, Entry>,
}

#[derive(Debug)]
struct Entry {
    registered: Registered,
    /// When the peer says that it registered.
    told_at: Timestamp,
    until: Timestamp,
}

impl Table {
    pub(super) fn new(max_peers: usize, ttl_millis: i64) -> Self {
        Self {
            max_peers,
            ttl_millis,
            peers: HashMap::new(),
        }
    }

    /// Takes a registration in at `now`; the newest of a peer stands, so that nobody
    /// brings an old address back by repeating what the peer once signed.
    pub(super) fn register(
        &mut self,
        id: PeerId,
        told_at: Timestamp,
        registered: Registered,
        now: Timestamp,
    ) -> Result<(), Full> {
        let known = self.peers.get(&id).filter(|entry| entry.until > now);
        if known.is_some_and(|entry| entry.told_at > told_at) {
            return Ok(());
        }
        if self.peers.len() >= self.max_peers && !self.peers.contains_key(&id) {
            self.peers.retain(|_, entry| entry.until > now);
            if self.peers.len() >= self.max_peers {
                return Err(Full);
            }
        }
        let until = Timestamp(now.0.saturating_add(self.ttl_millis));
        let entry = Entry {
            registered,
            told_at,
            until,
        };
        self.peers.insert(id, entry);
        Ok(())
    }

    /// Those whose time is not over at `now`: all, or `limit` of them drawn at random.
    pub(super) fn peers(&self, limit: Option<usize>, now: Timestamp) -> Vec<&Registered> {
        let alive = self.peers.values().filter(|entry| entry.until > now);
        let mut alive: Vec<_> = alive.map(|entry| &entry.registered).collect();
        if let Some(limit) = limit.filter(|limit| *limit < alive.len()) {
            // An order that nobody can foresee.
            alive.sort_by_cached_key(|_| Uuid::new_v4());
            alive.truncate(limit);
        }
        alive
    }

    /// Drops those whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.peers.retain(|_, entry| entry.until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> PeerId {
        PeerId::of_public_key(&[number; 32])
    }

    fn table() -> Table {
        let mut table = Table::new(3, 100);
        for number in 1..=3 {
            let at = Timestamp(number.into());
            table.register(id(number), at, Map::new(), at).unwrap();
        }
        table
    }

    #[test]
    fn a_registration_lives_for_its_time() {
        let table = table();
        for (now, alive) in [(3, 3), (100, 3), (101, 2), (102, 1), (103, 0)] {
            assert_eq!(table.peers(None, Timestamp(now)).len(), alive, "at {now}");
        }
    }

    #[test]
    fn only_the_dead_make_room() {
        let mut table = table();
        let mut register = |now| {
            let now = Timestamp(now);
            table.register(id(4), now, Map::new(), now)
        };
        assert_eq!(register(100), Err(Full));
        assert_eq!(register(101), Ok(()));
    }

    #[test]
    fn an_older_registration_changes_nothing() {
        let mut table = Table::new(3, 100);
        let named = |name: &str| Map::from_iter([(name.to_owned(), Value::Null)]);
        for (told_at, name) in [(2, "new"), (1, "old")] {
            let told_at = Timestamp(told_at);
            table
                .register(id(1), told_at, named(name), Timestamp(3))
                .unwrap();
        }
        assert_eq!(table.peers(None, Timestamp(3)), [&named("new")]);
    }

    #[test]
    fn a_sample_has_as_many_as_asked_for() {
        let table = table();
        for (limit, size) in [(0, 0), (2, 2), (3, 3), (9, 3)] {
            assert_eq!(table.peers(Some(limit), Timestamp(3)).len(), size);
        }
    }
}
