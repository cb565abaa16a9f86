//! Searches, which look at many names for each answer, whoever wants it: one of them looks at a
//! time, so that a processor is free for whoever wants anything else. After some names the turn is
//! another's, and each client has one in each round, however many searches it has under way.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Lock, MutexGuard, OwnedMutexGuard};
use tokio::task::yield_now;

use crate::client_key::ClientKey;

/// How many clients are remembered before those without a search are forgotten.
const MAX_IDLE: usize = 1024;

/// The searches of a node.
#[derive(Default)]
pub struct Searches {
    /// Whoever holds it looks. Those who wait come in their order.
    looking: Lock<()>,
    /// Of each client one waits for that, and the others for this.
    clients: Mutex<HashMap<ClientKey, Weak<Lock<()>>>>,
}

/// Who searches.
#[derive(Debug, Clone, Copy)]
pub struct Searcher<'a> {
    /// Among whom.
    pub searches: &'a Searches,
    /// To whose share it counts; None where that is nobody's.
    pub client: Option<&'a ClientKey>,
}

/// The right to look at some names, until it is dropped.
pub struct Turn<'a> {
    _looking: MutexGuard<'a, ()>,
    _of_client: Option<OwnedMutexGuard<()>>,
}

impl fmt::Debug for Searches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searches").finish_non_exhaustive()
    }
}

impl<'a> Searcher<'a> {
    /// Waits for a turn.
    pub async fn turn(self) -> Turn<'a> {
        let of_client = match self.client {
            Some(client) => Some(self.searches.of(client).lock_owned().await),
            None => None,
        };
        let turn = Turn {
            _looking: self.searches.looking.lock().await,
            _of_client: of_client,
        };
        // Whoever has come meanwhile, perhaps to this very thread, gets in line now: what looks at
        // names in memory never waits, and would else have one turn after the other.
        yield_now().await;
        turn
    }
}

impl Searches {
    fn of(&self, client: &ClientKey) -> Arc<Lock<()>> {
        let mut clients = self.clients.lock();
        if let Some(lock) = clients.get(client).and_then(Weak::upgrade) {
            return lock;
        }
        if clients.len() >= MAX_IDLE {
            clients.retain(|_, it| it.strong_count() > 0);
        }
        let lock = Arc::default();
        clients.insert(client.clone(), Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn client(number: u32) -> ClientKey {
        ClientKey::Address(Ipv4Addr::from(number).into())
    }

    #[tokio::test]
    async fn who_searches_much_lets_who_searches_little_have_every_other_turn() {
        let searches: Arc<Searches> = Arc::default();
        let turns: Arc<AtomicUsize> = Arc::default();
        for _ in 0..100 {
            let (searches, turns) = (Arc::clone(&searches), Arc::clone(&turns));
            tokio::spawn(async move {
                let many = Searcher {
                    searches: &searches,
                    client: Some(&client(1)),
                };
                loop {
                    let _turn = many.turn().await;
                    turns.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            });
        }
        while turns.load(Ordering::Relaxed) < 10 {
            yield_now().await;
        }
        let few = client(2);
        let few = Searcher {
            searches: &searches,
            client: Some(&few),
        };
        let before = turns.load(Ordering::Relaxed);
        for _ in 0..20 {
            let _turn = few.turn().await;
            yield_now().await;
        }
        let meanwhile = turns.load(Ordering::Relaxed) - before;
        assert!(meanwhile <= 25, "{meanwhile}");
    }

    #[tokio::test]
    async fn clients_that_have_gone_are_forgotten() {
        let searches = Searches::default();
        let held = client(0);
        let held = Searcher {
            searches: &searches,
            client: Some(&held),
        };
        let turn = held.turn().await;
        for number in 1..5000 {
            drop(searches.of(&client(number)));
            assert!(searches.clients.lock().len() <= MAX_IDLE);
        }
        assert!(searches.clients.lock().contains_key(&client(0)));
        drop(turn);
    }
}
