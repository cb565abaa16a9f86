//! Who works on an upload: one at a time, and whoever comes makes those before stop.
//!
//! A client that reconnects may be there long before its old connection is known to be
//! dead. So it does not wait for that one: the old request is told to stop.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

/// The turns at one upload.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// How many have come.
    come: watch::Sender<u64>,
    lock: Arc<Mutex<()>>,
}

/// The right to work on an upload, until it is dropped.
pub(super) struct Turn {
    /// Its place among those who have come.
    place: u64,
    come: watch::Receiver<u64>,
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Stops all who came before and waits until they have.
    pub(super) async fn take(&self) -> Turn {
        let mut place = 0;
        self.come.send_modify(|come| {
            *come += 1;
            place = *come;
        });
        let come = self.come.subscribe();
        let guard = Arc::clone(&self.lock).lock_owned().await;
        Turn {
            place,
            come,
            _guard: guard,
        }
    }

    /// Takes a turn if nobody has it.
    pub(super) fn take_if_free(&self) -> Option<Turn> {
        let guard = Arc::clone(&self.lock).try_lock_owned().ok()?;
        let come = self.come.subscribe();
        let place = *come.borrow();
        Some(Turn {
            place,
            come,
            _guard: guard,
        })
    }
}

impl Turn {
    /// Returns when another one has come.
    pub(super) async fn stopped(&mut self) {
        let place = self.place;
        if self.come.wait_for(|come| *come > place).await.is_err() {
            // The upload is forgotten, so nobody will come.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_stops_those_before_and_waits_for_them() {
        let turns = Arc::new(Turns::default());
        let mut first = turns.take().await;
        assert!(tokio::time::timeout(SOON, first.stopped()).await.is_err());
        let later = Arc::clone(&turns);
        let second = tokio::spawn(async move { later.take().await });
        first.stopped().await;
        assert!(!second.is_finished());
        assert!(turns.take_if_free().is_none());
        drop(first);
        let mut second = second.await.unwrap();
        assert!(tokio::time::timeout(SOON, second.stopped()).await.is_err());
        drop(second);
        assert!(turns.take_if_free().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn of_several_who_wait_only_the_last_goes_on() {
        let turns = Arc::new(Turns::default());
        let first = turns.take().await;
        let wait = |turns: &Arc<Turns>| {
            let turns = Arc::clone(turns);
            tokio::spawn(async move { turns.take().await })
        };
        let second = wait(&turns);
        tokio::time::sleep(SOON).await;
        let third = wait(&turns);
        tokio::time::sleep(SOON).await;
        drop(first);
        let mut second = second.await.unwrap();
        second.stopped().await;
        drop(second);
        let mut third = third.await.unwrap();
        assert!(tokio::time::timeout(SOON, third.stopped()).await.is_err());
    }
}
