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

/// What `read` makes of each row that a statement gives.
pub(super) async fn ask<T>(
    shared: &Shared,
    sql: &'static str,
    values: Values<'_>,
    read: fn(&Row) -> Result<T, Failure>,
) -> Result<Vec<T>, Unavailable> {
    let rows = shared.links.query(sql, values).await.map_err(unavailable)?;
    let read: Result<Vec<T>, _> = rows.iter().map(read).collect();
    read.map_err(|it| unavailable(shared.links.told(it)))
}

/// Whoever asks comes again, whatever it is that fails.
fn unavailable(error: IndexError) -> Unavailable {
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
