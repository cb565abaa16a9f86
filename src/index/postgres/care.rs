//! Whose turn it is to look after what all nodes share, and how far that is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use uuid::Uuid;

use super::link::Values;
use super::rows::value;
use super::shared::Shared;
use crate::care_rows::{Care, CareRows};
use crate::unavailable::Unavailable;

/// Made again where the answer was lost, each of these changes nothing, or is taken for a change by
/// others.
const TAKE: &str = "UPDATE care SET node = $2, until = now() + make_interval(secs => $3) \
     WHERE care = $1 AND (node IS NULL OR node = $2 OR until < now()) RETURNING care";
const LEAVE: &str = "UPDATE care SET node = NULL, until = NULL WHERE care = $1 AND node = $2";
const SCRUB: &str = "SELECT version, state FROM care WHERE care = 'scrub'";
const NOTE: &str = "UPDATE care SET state = $2, version = version + 1 \
     WHERE care = 'scrub' AND version = $1 RETURNING care";

/// What all nodes know of that.
pub(super) struct Cares(pub(super) Arc<Shared>);

fn name(care: Care) -> &'static str {
    match care {
        Care::Scrub => "scrub",
        Care::Repair => "repair",
    }
}

#[async_trait]
impl CareRows for Cares {
    fn lease(&self) -> Duration {
        self.0.lease
    }

    async fn take(&self, care: Care, node: Uuid) -> Result<bool, Unavailable> {
        let values: Values<'_> = &[&name(care), &node, &self.0.lease.as_secs_f64()];
        let taken = self.0.row(TAKE, values, |_| Ok(())).await?;
        Ok(taken.is_some())
    }

    async fn leave(&self, care: Care, node: Uuid) -> Result<(), Unavailable> {
        self.0.carry_out(LEAVE, &[&name(care), &node]).await
    }

    async fn scrub(&self) -> Result<(i64, Vec<u8>), Unavailable> {
        let read = |row: &Row| Ok((value(row, "version")?, value(row, "state")?));
        Ok(self.0.row(SCRUB, &[], read).await?.unwrap_or_default())
    }

    async fn note_scrub(&self, found: i64, rounds: &[u8]) -> Result<bool, Unavailable> {
        let noted = self.0.row(NOTE, &[&found, &rounds], |_| Ok(())).await?;
        Ok(noted.is_some())
    }
}
