//! Whether servers take changes now, found out in the background: however silent one of them is,
//! whoever asks has an answer in a moment.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use super::{Store, StoreError};
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
    /// Fails as a change of this store would fail now, as it was found at most some seconds ago.
    pub(super) async fn ask(&self, store: &Store) -> Result<(), StoreError> {
        let asked = Instant::now();
        let counts = |found: &Option<Found>| {
            found.as_ref().is_some_and(|it| {
                it.ended >= asked || it.outcome.is_ok() && it.began.elapsed() < EVERY
            })
        };
        let mut found = self.found.subscribe();
        if !counts(&found.borrow()) {
            self.begin(store);
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
    fn begin(&self, store: &Store) {
        let Ok(running) = Arc::clone(&self.running).try_lock_owned() else {
            return;
        };
        let (store, found) = (store.clone(), self.found.clone());
        tokio::spawn(async move {
            let began = Instant::now();
            let outcome = timeout(LONGEST, store.try_all()).await;
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

impl Store {
    /// Does what an upload would need.
    async fn try_all(&self) -> Result<(), StoreError> {
        self.writable()?;
        self.check_quota(1).await?;
        self.blobs.try_to_write().await?;
        Ok(self.index.try_to_write().await?)
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
