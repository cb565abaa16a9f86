//! What is known of a storage directory whose files are moved into these tables.

use super::PostgresIndex;
use super::rows::{self, value};
use crate::index::IndexError;

/// Where nothing is.
const BEGIN: &str = "INSERT INTO moved (source) SELECT $1 FROM heads \
     WHERE NOT EXISTS (SELECT FROM files) AND NOT EXISTS (SELECT FROM blobs) \
     ON CONFLICT DO NOTHING";
const BEGUN: &str = "SELECT source, ended IS NOT NULL AS has_ended FROM moved";
const END: &str = "UPDATE moved SET ended = now()";
const MOVING: &str = "SELECT EXISTS (SELECT FROM moved WHERE ended IS NULL) AS is_moving";
/// Commands are called so with a word behind it.
const NODES: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name ~ '^larder( [0-9]+)?$') AS are_there";
const UNFINISHED: &str = "SELECT \
     (SELECT count(*) FROM uploads WHERE file IS NULL AND removed IS NULL) + \
     (SELECT count(*) FROM wanted WHERE stage = 'o') AS unfinished";

/// What comes of beginning to move files into an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveBegun {
    /// It may be gone on with.
    Begun,
    /// It has come to its end before.
    HasEnded,
    /// Files are there that have come otherwise.
    HasOthers,
}

impl PostgresIndex {
    /// Begins to move the files of the node with this public key here, or goes on with that.
    pub async fn begin_move(&self, source: [u8; 32]) -> Result<MoveBegun, IndexError> {
        let links = &self.shared.links;
        links.query(BEGIN, &[&&source[..]]).await?;
        let begun = self
            .rows(BEGUN, &[], |row| {
                let from: &[u8] = value(row, "source")?;
                Ok((from.to_vec(), value::<bool>(row, "has_ended")?))
            })
            .await?;
        Ok(match begun.first() {
            Some((from, false)) if from[..] == source => MoveBegun::Begun,
            Some((from, true)) if from[..] == source => MoveBegun::HasEnded,
            _ => MoveBegun::HasOthers,
        })
    }

    /// All files are there.
    pub async fn end_move(&self) -> Result<(), IndexError> {
        self.shared.links.query(END, &[]).await.map(drop)
    }

    /// Whether files are being moved here, and are not all there yet.
    pub async fn is_moving(&self) -> Result<bool, IndexError> {
        let found = self.rows(MOVING, &[], |row| value(row, "is_moving"));
        Ok(found.await?.contains(&true))
    }

    /// Whether nodes are connected to the database, which take files at any time.
    pub async fn has_nodes(&self) -> Result<bool, IndexError> {
        let found = self.rows(NODES, &[], |row| value(row, "are_there"));
        Ok(found.await?.contains(&true))
    }

    /// How many uploads in parts, and copies, have not come to their end.
    pub async fn unfinished(&self) -> Result<u64, IndexError> {
        let count = |row: &_| value::<i64>(row, "unfinished");
        let found = self.rows(UNFINISHED, &[], count).await?;
        Ok(found.first().map_or(0, |it| rows::count(*it)))
    }
}
