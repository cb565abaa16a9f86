//! Whether servers take changes now, found out in the background: however silent one of them is,
//! whoever asks has an answer in a moment.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout};

use super::error::StoreError;
use crate::blob::BlobError;
use crate::unavailable::Unavailable;

/// For how long what was found to work is taken to do so.
const EVERY: Duration = Duration::from_secs(2);
/// How long whoever asks waits for what is being found out.
const MOMENT: Duration = Duration::from_millis(500);
/// For how long what has worked is taken to do so while a trial finds it out again: servers that
/// have much to do may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a trial is given up, so that another one finds out sooner that a server is back.
const LONGEST: Duration = Duration::from_secs(10);

/// What was found, of which there is one trial at a time.
#[derive(Default)]
pub(super) struct Probe {
    found: watch::Sender<Option<Found>>,
    running: Arc<Mutex<()>>,
    /// When the last trial began.
    begun: parking_lot::Mutex<Option<Instant>>,
}

/// What a trial has found.
struct Found {
    began: Instant,
    ended: Instant,
    outcome: Result<(), StoreError>,
}

impl Probe {
    /// Fails as `trial` does, or as the last one did, for some seconds at most if that was well.
    pub(super) async fn ask<T>(&self, trial: impl FnOnce() -> T) -> Result<(), StoreError>
    where
        T: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let asked = Instant::now();
        let counts = |found: &Option<Found>| {
            found.as_ref().is_some_and(|it| {
                it.ended >= asked || it.outcome.is_ok() && it.began.elapsed() < EVERY
            })
        };
        let mut found = self.found.subscribe();
        if !counts(&found.borrow()) {
            self.begin(trial);
        }
        // Its sender lives as long as this.
        let _ = timeout(MOMENT, found.wait_for(counts)).await;
        let begun = *self.begun.lock();
        let is_new = begun.is_some_and(|it| it.elapsed() < PATIENCE);
        match &*found.borrow() {
            Some(it) if it.ended >= asked => it.outcome.clone(),
            // However long ago it was: nobody may have asked since.
            None
            | Some(Found {
                outcome: Ok(()), ..
            }) if is_new => Ok(()),
            _ => Err(silent()),
        }
    }

    /// Begins a trial where none runs, whoever waits for it.
    fn begin<T>(&self, trial: impl FnOnce() -> T)
    where
        T: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let Ok(running) = Arc::clone(&self.running).try_lock_owned() else {
            return;
        };
        let (trial, found, began) = (trial(), self.found.clone(), Instant::now());
        *self.begun.lock() = Some(began);
        tokio::spawn(async move {
            // One that ends by a panic has found that nothing works, too.
            let trial = AssertUnwindSafe(trial).catch_unwind();
            let outcome = timeout(LONGEST, trial).await;
            let outcome = outcome.unwrap_or_else(|_| Ok(Err(silent())));
            found.send_replace(Some(Found {
                began,
                ended: Instant::now(),
                outcome: outcome.unwrap_or_else(|_| Err(silent())),
            }));
            drop(running);
        });
    }
}

fn silent() -> StoreError {
    let away = Unavailable {
        what: "the database or the store".to_owned(),
        retry: PATIENCE,
        source: Arc::new(io::Error::from(io::ErrorKind::TimedOut)),
    };
    BlobError::Unavailable(away).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn slow(seconds: u64) -> Result<(), StoreError> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_seldom_is_told_that_slow_servers_are_well_and_soon_that_silent_ones_are_not()
    {
        let probe = Probe::default();
        for _ in 0..5 {
            probe.ask(|| slow(2)).await.unwrap();
            tokio::time::advance(Duration::from_mins(1)).await;
            tokio::task::yield_now().await;
        }
        let silent = tokio::time::Instant::now();
        while probe.ask(|| slow(3600)).await.is_ok() {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert!(
            silent.elapsed() < PATIENCE + 2 * EVERY,
            "{:?}",
            silent.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_panics_has_found_that_nothing_works() {
        let probe = Probe::default();
        for _ in 0..3 {
            let asked = probe.ask(|| async { panic!("as some library does") }).await;
            assert!(asked.is_err());
        }
    }
}
