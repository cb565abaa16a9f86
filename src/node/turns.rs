//! Turns at what takes much of a processor or of memory, whoever wants it: so many have one at a
//! time, and of each client one, so that a client that wants much stands beside one that wants
//! little in each round. They come in their order.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Lock, OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio::task::yield_now;

use crate::client_key::ClientKey;

/// How many clients are remembered before those without a turn are forgotten.
const MAX_IDLE: usize = 1024;

/// Turns at one kind of work.
pub struct Turns {
    free: Semaphore,
    /// Of each client one waits for a free one, and the others for this.
    clients: Mutex<HashMap<ClientKey, Weak<Lock<()>>>>,
}

/// Who wants turns.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// At what.
    pub turns: &'a Turns,
    /// To whose share they count; None where that is nobody's.
    pub client: Option<&'a ClientKey>,
}

/// The right to do some of the work, until it is dropped.
pub struct Turn<'a> {
    _permit: Option<SemaphorePermit<'a>>,
    _of_client: Option<OwnedMutexGuard<()>>,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").finish_non_exhaustive()
    }
}

impl<'a> Claimant<'a> {
    /// Waits for a turn.
    pub async fn turn(self) -> Turn<'a> {
        let of_client = match self.client {
            Some(client) => Some(self.turns.of(client).lock_owned().await),
            None => None,
        };
        let turn = Turn {
            // Never closed, so that it is never an error.
            _permit: self.turns.free.acquire().await.ok(),
            _of_client: of_client,
        };
        // Whoever has come meanwhile, perhaps to this very thread, gets in line now: what works on
        // what is in memory never waits, and would else have one turn after the other.
        yield_now().await;
        turn
    }
}

impl Turns {
    /// So many at a time.
    pub fn new(at_once: usize) -> Self {
        Self {
            free: Semaphore::new(at_once),
            clients: Mutex::default(),
        }
    }

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
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn client(number: u32) -> ClientKey {
        ClientKey::Address(Ipv4Addr::from(number).into())
    }

    #[tokio::test]
    async fn who_wants_much_lets_who_wants_little_have_every_other_turn() {
        let turns = Arc::new(Turns::new(1));
        let taken: Arc<AtomicUsize> = Arc::default();
        for _ in 0..100 {
            let (turns, taken) = (Arc::clone(&turns), Arc::clone(&taken));
            tokio::spawn(async move {
                let many = Claimant {
                    turns: &turns,
                    client: Some(&client(1)),
                };
                loop {
                    let _turn = many.turn().await;
                    taken.fetch_add(1, Ordering::Relaxed);
                    yield_now().await;
                }
            });
        }
        while taken.load(Ordering::Relaxed) < 10 {
            yield_now().await;
        }
        let few = client(2);
        let few = Claimant {
            turns: &turns,
            client: Some(&few),
        };
        let before = taken.load(Ordering::Relaxed);
        for _ in 0..20 {
            let _turn = few.turn().await;
            yield_now().await;
        }
        let meanwhile = taken.load(Ordering::Relaxed) - before;
        assert!(meanwhile <= 25, "{meanwhile}");
    }

    #[tokio::test]
    async fn clients_that_have_gone_are_forgotten() {
        let turns = Turns::new(1);
        let held = client(0);
        let held = Claimant {
            turns: &turns,
            client: Some(&held),
        };
        let turn = held.turn().await;
        for number in 1..5000 {
            drop(turns.of(&client(number)));
            assert!(turns.clients.lock().len() <= MAX_IDLE);
        }
        assert!(turns.clients.lock().contains_key(&client(0)));
        drop(turn);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_clients_have_one_at_a_time_and_each_no_more() {
        let turns = Turns::new(2);
        let clients = [client(1), client(1), client(2), client(3)];
        let mut claims = clients.each_ref().map(|client| {
            let claimant = Claimant {
                turns: &turns,
                client: Some(client),
            };
            Box::pin(claimant.turn())
        });
        let mut held = Vec::new();
        for (claim, has_one) in claims.iter_mut().zip([true, false, true, false]) {
            let turn = timeout(Duration::from_millis(20), claim).await;
            assert_eq!(turn.is_ok(), has_one);
            held.extend(turn);
        }
        // The next one of that client comes behind whoever has waited for longer.
        drop(held.swap_remove(0));
        held.push((&mut claims[3]).await);
        assert!(
            timeout(Duration::from_millis(20), &mut claims[1])
                .await
                .is_err()
        );
        held.clear();
        (&mut claims[1]).await;
    }
}
