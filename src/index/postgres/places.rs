//! Leases and garbage: what becomes of places that no file needs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::time::{MissedTickBehavior, interval};

use super::rows;
use super::shared::Shared;
use crate::index::{Garbage, IndexError};
use crate::place::Place;

/// How often to look for garbage at most, where there was none.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often leases are renewed at most.
const LEAST: Duration = Duration::from_millis(10);

const RENEW: &str = "UPDATE places SET until = now() + make_interval(secs => $2) \
     WHERE place IN (SELECT place FROM places WHERE place = ANY($1) AND state = 'w' \
     ORDER BY place FOR UPDATE)";
const GIVE_UP: &str = "UPDATE places SET state = 'g', until = now() + make_interval(secs => $2) \
     WHERE place IN (SELECT place FROM places WHERE place = ANY($1) AND state = 'w' \
     ORDER BY place FOR UPDATE)";
const UNCLAIM: &str = "UPDATE places SET until = now() WHERE place = ANY($1) AND state = 'd'";
/// What nobody has renewed the lease of.
const EXPIRE: &str = "WITH over AS MATERIALIZED ( \
     SELECT place FROM places WHERE state = 'w' AND until < now() \
     ORDER BY until LIMIT 256 FOR UPDATE SKIP LOCKED) \
     UPDATE places SET state = 'g', until = now() + make_interval(secs => $1) \
     FROM over WHERE places.place = over.place";
/// Whoever claims has as long as a lease before another may; that both delete what is there does no
/// harm, since nothing comes there again.
const CLAIM: &str = "WITH due AS MATERIALIZED ( \
     SELECT place FROM places WHERE state IN ('g', 'd') AND until <= now() \
     AND NOT place = ANY($1) ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED) \
     UPDATE places SET state = 'd', until = now() + make_interval(secs => $3) \
     FROM due WHERE places.place = due.place RETURNING places.place";
const COLLECTED: &str = "DELETE FROM places WHERE place = ANY($1) AND state = 'd'";
const SIFT: &str = "INSERT INTO places (place, state, until, size) \
     SELECT it, 'g', now() + make_interval(secs => $2), 0 FROM unnest($1::bytea[]) AS it \
     ON CONFLICT (place) DO NOTHING";

/// Tells what becomes of places.
pub(super) struct Places {
    shared: Arc<Shared>,
    /// Held while ends are told, so that whoever waits for it knows that they are.
    telling: Mutex<()>,
    /// When garbage may be looked for again.
    next: Mutex<Option<Instant>>,
}

fn bytes(places: &[Place]) -> Vec<&[u8]> {
    places.iter().map(|it| &it.as_bytes()[..]).collect()
}

impl Places {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            telling: Mutex::default(),
            next: Mutex::default(),
        }
    }

    /// Renews leases as long as those live who have them, and tells what ends.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut ticks = interval((self.shared.lease / 3).max(LEAST));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                () = self.shared.holds.ended.notified() => self.tell().await,
                _ = ticks.tick() => self.renew().await,
            };
            if let Err(error) = done {
                // What it was about ends by itself.
                tracing::debug!(%error, "leases were not renewed or ended");
            }
        }
    }

    async fn renew(&self) -> Result<(), IndexError> {
        let (shared, leased) = (&self.shared, self.shared.holds.leased());
        if leased.is_empty() {
            return Ok(());
        }
        let lease = shared.lease.as_secs_f64();
        shared
            .links
            .query(RENEW, &[&bytes(&leased), &lease])
            .await
            .map(drop)
    }

    /// Tells of what this node holds no longer.
    pub(super) async fn tell(&self) -> Result<(), IndexError> {
        let _telling = self.telling.lock().await;
        let (shared, ends) = (&self.shared, self.shared.holds.ends());
        if !ends.given_up.is_empty() {
            let (places, grace) = (bytes(&ends.given_up), shared.grace.as_secs_f64());
            shared.links.query(GIVE_UP, &[&places, &grace]).await?;
        }
        if !ends.unclaimed.is_empty() {
            let places = bytes(&ends.unclaimed);
            shared.links.query(UNCLAIM, &[&places]).await?;
        }
        Ok(())
    }

    pub(super) async fn garbage(&self, limit: usize) -> Result<Vec<Garbage>, IndexError> {
        self.tell().await?;
        let mut next = self.next.lock().await;
        if next.is_some_and(|it| it > Instant::now()) {
            return Ok(Vec::new());
        }
        let Shared {
            links,
            holds,
            grace,
            lease,
            ..
        } = &*self.shared;
        links.query(EXPIRE, &[&grace.as_secs_f64()]).await?;
        let (held, limit) = (holds.held(), i64::try_from(limit).unwrap_or(i64::MAX));
        let claimed = links
            .query(CLAIM, &[&bytes(&held), &limit, &lease.as_secs_f64()])
            .await?;
        *next = claimed
            .is_empty()
            .then(|| Instant::now() + LOOK_EVERY.min(*grace));
        let garbage = claimed.iter().map(|row| Ok(holds.claim(rows::place(row)?)));
        garbage
            .collect::<Result<_, _>>()
            .map_err(|it| links.told(it))
    }

    pub(super) async fn collected(&self, garbage: Vec<Garbage>) -> Result<(), IndexError> {
        let places: Vec<_> = garbage.iter().map(Garbage::place).collect();
        if places.is_empty() {
            return Ok(());
        }
        let links = &self.shared.links;
        links.query(COLLECTED, &[&bytes(&places)]).await?;
        garbage.into_iter().for_each(Garbage::collected);
        Ok(())
    }

    pub(super) async fn sift(&self, stored: &[Place]) -> Result<(), IndexError> {
        let grace = self.shared.grace.as_secs_f64();
        let links = &self.shared.links;
        links.query(SIFT, &[&bytes(stored), &grace]).await.map(drop)
    }
}
