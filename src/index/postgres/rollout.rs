//! Which larders may use the tables: none of before packs once they are written, and they are
//! written once no such larder is connected any more.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::failure::Failure;
use super::link::Session;
use super::rows::value;
use super::schema::{LOCK, PACKS};

/// As what connections of this larder are known to the server.
pub(super) const NAME: &str = "larder 10";
/// As what those of its commands are.
pub(super) const COMMAND: &str = "larder 10 command";

/// Whether one is connected of those that knew no packs, who are called so.
const OTHERS: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'larder') AS are_there";
/// Whoever starts takes the lock before it looks.
const TAKE: &str = "SELECT pg_try_advisory_xact_lock($1) AS is_taken";
const RAISE: &str = "UPDATE tables_version SET oldest = $1 WHERE oldest < $1";

/// What this node has heard of that.
pub(super) struct Rollout {
    /// No larder may use the tables that knows less than this version.
    oldest: AtomicI32,
    /// Since when no such larder was seen.
    alone: Mutex<Option<Instant>>,
    /// For how long none is to be seen.
    patience: Duration,
}

impl Rollout {
    /// Nothing was heard yet. One that is gone for as long as a lease is taken for dead.
    pub(super) fn new(lease: Duration) -> Self {
        Self {
            oldest: AtomicI32::new(0),
            alone: Mutex::default(),
            patience: lease,
        }
    }

    /// Whether all nodes read packs.
    pub(super) fn has_packs(&self) -> bool {
        self.oldest.load(Ordering::Relaxed) >= PACKS
    }

    /// Hears which the oldest is that may use the tables, and lets none of before packs where none
    /// is there.
    pub(super) async fn hear(&self, session: &Session, oldest: i32) -> Result<(), Failure> {
        self.oldest.store(oldest, Ordering::Relaxed);
        if self.has_packs() {
            return Ok(());
        }
        let is_alone = !are_there(session).await?;
        let since = {
            let mut alone = self.alone.lock();
            if !is_alone {
                *alone = None;
                return Ok(());
            }
            *alone.get_or_insert_with(Instant::now)
        };
        if since.elapsed() < self.patience {
            return Ok(());
        }
        session.prepare(&[TAKE, OTHERS, RAISE]).await?;
        session.batch("BEGIN").await?;
        let taken = session.query(TAKE, &[&LOCK]).await?;
        let is_taken = match taken.first() {
            Some(row) => value(row, "is_taken")?,
            None => false,
        };
        if is_taken && !are_there(session).await? {
            session.execute(RAISE, &[&PACKS]).await?;
            tracing::info!(
                "short contents go to packs from now on, which larders of before cannot read"
            );
        }
        session.batch("COMMIT").await
    }
}

async fn are_there(session: &Session) -> Result<bool, Failure> {
    let found = session.query(OTHERS, &[]).await?;
    match found.first() {
        Some(row) => value(row, "are_there"),
        None => Ok(true),
    }
}
