//! Whose turn it is to look through the bucket, and what becomes of what no row knows there.

use std::time::Duration;

use uuid::Uuid;

use super::PostgresIndex;
use super::rows::{self, value};
use crate::index::IndexError;
use crate::place::Place;

const OWNER: &str = "SELECT owner FROM sweeps";
const HAS_BUCKET: &str = "SELECT has_bucket FROM sweeps";
const CLAIM: &str = "UPDATE sweeps SET bucket = coalesce(bucket, $1) RETURNING bucket";
const LEAVE: &str = "UPDATE sweeps SET bucket = NULL WHERE bucket = $1 AND NOT has_bucket";
const CLAIMED: &str = "UPDATE sweeps SET has_bucket = true WHERE NOT has_bucket";
/// That it is made again where the answer was lost changes nothing.
const BEGIN: &str = "UPDATE sweeps SET sweeper = $1, until = now() + make_interval(secs => $2) \
     WHERE sweeper = $1 OR ended <= now() - make_interval(secs => $3) \
     AND (until IS NULL OR until < now()) RETURNING sweeper";
const GO_ON: &str = "UPDATE sweeps SET until = now() + make_interval(secs => $2) \
     WHERE sweeper = $1 RETURNING sweeper";
const END: &str =
    "UPDATE sweeps SET ended = now(), sweeper = NULL, until = NULL WHERE sweeper = $1";
/// What no row knows becomes garbage, and is deleted as all garbage is; what one knows stays as
/// that says.
const CONDEMN: &str = "INSERT INTO places (place, state, until, size) \
     SELECT it, 'g', now(), 0 FROM unnest($1::bytea[]) AS it ORDER BY it \
     ON CONFLICT (place) DO NOTHING RETURNING place";

impl PostgresIndex {
    /// By which a bucket is known as the one that these rows are about.
    pub async fn owner(&self) -> Result<Uuid, IndexError> {
        let found = self.rows(OWNER, &[], |row| value(row, "owner")).await?;
        let gone = || IndexError::Server("the row of who sweeps is gone".to_owned());
        found.into_iter().next().ok_or_else(gone)
    }

    /// Whether a bucket has become the one that these rows are about.
    pub async fn has_bucket(&self) -> Result<bool, IndexError> {
        let found = self.rows(HAS_BUCKET, &[], |row| value(row, "has_bucket"));
        Ok(found.await?.contains(&true))
    }

    /// Before the bucket with this URL becomes that one: tells whether it may, which it may not
    /// beside another.
    pub async fn claim_bucket(&self, url: &str) -> Result<bool, IndexError> {
        let read = |row: &_| value::<String>(row, "bucket");
        let claimed = self.rows(CLAIM, &[&url], read).await?;
        Ok(claimed.iter().any(|it| it == url))
    }

    /// It has not become that one, so another one may.
    pub async fn leave_bucket(&self, url: &str) -> Result<(), IndexError> {
        self.shared.links.query(LEAVE, &[&url]).await.map(drop)
    }

    /// Notes that a bucket has become that one.
    pub async fn note_bucket(&self) -> Result<(), IndexError> {
        self.shared.links.query(CLAIMED, &[]).await.map(drop)
    }

    /// Takes the turn at looking through the bucket, where nobody has been through with that for
    /// so long and nobody has it; tells whether it has.
    pub async fn begin_sweep(&self, sweeper: Uuid, every: Duration) -> Result<bool, IndexError> {
        let (lease, every) = (self.shared.lease.as_secs_f64(), every.as_secs_f64());
        let links = &self.shared.links;
        let begun = links.query(BEGIN, &[&sweeper, &lease, &every]).await?;
        Ok(!begun.is_empty())
    }

    /// Keeps the turn for as long as a lease is, and tells whether it has it still.
    pub async fn go_on_with_sweep(&self, sweeper: Uuid) -> Result<bool, IndexError> {
        let lease = self.shared.lease.as_secs_f64();
        let kept = self.shared.links.query(GO_ON, &[&sweeper, &lease]).await?;
        Ok(!kept.is_empty())
    }

    /// All of the bucket was looked through.
    pub async fn end_sweep(&self, sweeper: Uuid) -> Result<(), IndexError> {
        self.shared.links.query(END, &[&sweeper]).await.map(drop)
    }

    /// Has those of these places collected that no row knows, and tells how many those are.
    pub async fn condemn(&self, places: &[Place]) -> Result<usize, IndexError> {
        let bytes: Vec<_> = places.iter().map(|it| &it.as_bytes()[..]).collect();
        let condemned = self.rows(CONDEMN, &[&bytes], rows::place).await?;
        Ok(condemned.len())
    }
}
