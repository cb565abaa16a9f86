//! Whether servers take changes now, found out in the background: however silent one of them is,
//! whoever asks has an answer in a moment.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::error::StoreError;
use crate::blob::BlobError;
use crate::unavailable::Unavailable;

/// For how long what was found to work is taken to do so.
const EVERY: Duration = Duration::from_secs(2);
/// How long whoever asks waits for what is being found out.
const MOMENT: Duration = Duration::from_millis(500);
/// For how long what has worked is taken to do so while that is found out again: servers that have
/// much to do may take so long.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a trial is given up, so that another one finds out sooner that a server is back.
const LONGEST: Duration = Duration::from_secs(10);

/// What was found, of which there is one trial at a time.
#[derive(Default)]
pub(super) struct Probe {
    found: watch::Sender<Option<Found>>,
    running: Arc<Mutex<()>>,
}

/// What a trial has found.
struct Found {
    began: Instant,
    ended: Instant,
    outcome: Result<(), StoreError>,
}

impl Probe {
    /// Fails as `trial` does, or as one did that was made some seconds ago at most.
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
        match &*found.borrow() {
            Some(it) if it.ended >= asked => it.outcome.clone(),
            Some(it) if it.outcome.is_ok() && it.began.elapsed() < PATIENCE => Ok(()),
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
        let (trial, found) = (trial(), self.found.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let outcome = timeout(LONGEST, trial).await;
            let ended = Instant::now();
            found.send_replace(Some(Found {
                began,
                ended,
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
