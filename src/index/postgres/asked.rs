//! What is asked of the rows that are no files.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::failure::Failure;
use super::link::Values;
use super::shared::Shared;
use crate::index::IndexError;
use crate::unavailable::Unavailable;

/// After how long whoever looks after the database may have mended it.
const MENDED: Duration = Duration::from_mins(1);

impl Shared {
    /// What `read` makes of each row that a statement gives.
    pub(super) async fn rows<T>(
        &self,
        sql: &'static str,
        values: Values<'_>,
        read: fn(&Row) -> Result<T, Failure>,
    ) -> Result<Vec<T>, Unavailable> {
        let rows = self.links.query(sql, values).await.map_err(unavailable)?;
        let read: Result<Vec<T>, _> = rows.iter().map(read).collect();
        read.map_err(|it| unavailable(self.links.told(it)))
    }

    /// The same of the one row that there is, if any.
    pub(super) async fn row<T>(
        &self,
        sql: &'static str,
        values: Values<'_>,
        read: fn(&Row) -> Result<T, Failure>,
    ) -> Result<Option<T>, Unavailable> {
        Ok(self.rows(sql, values, read).await?.pop())
    }

    /// Whether a statement gives any row.
    pub(super) async fn is_any(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<bool, Unavailable> {
        Ok(self.row(sql, values, |_| Ok(())).await?.is_some())
    }

    /// Carries a statement out, whatever rows it gives.
    pub(super) async fn carry_out(
        &self,
        sql: &'static str,
        values: Values<'_>,
    ) -> Result<(), Unavailable> {
        self.rows(sql, values, |_| Ok(())).await.map(drop)
    }
}

/// Whoever asks comes again, whatever it is that fails.
pub(crate) fn unavailable(error: IndexError) -> Unavailable {
    match error {
        IndexError::Unavailable(error) => error,
        error => {
            tracing::error!(%error, "what several nodes share cannot be told");
            Unavailable {
                what: "the database".to_owned(),
                retry: MENDED,
                source: Arc::new(error),
            }
        }
    }
}
