//! What all nodes have changed up to one moment, since another.

use super::link::Values;
use super::rows::{self, value};
use super::{FIRST, PostgresIndex};
use crate::index::{ChangedFiles, IndexError};
use crate::record::FileId;

/// How many changes are told at most.
const MOST: i64 = 1 << 20;
/// How many files that have come.
const FILES: i64 = 256;
/// All of one moment, which one statement sees. What was removed is with the first row.
const CHANGED: &str = concat!(
    "SELECT changes, forgotten, CASE WHEN row_number() OVER () = 1 AND changes - $1 <= $3 THEN \
         (SELECT array_agg(removed.id) FROM removed WHERE change > $1) END AS removed, ",
    "added.* FROM heads LEFT JOIN LATERAL (SELECT ",
    rows::record_columns!(),
    " FROM files WHERE id > $2 ORDER BY id LIMIT $4) AS added ON true"
);

impl PostgresIndex {
    /// What has changed since a mark, and which files are behind `last`; None where nobody knows
    /// all of it any more.
    pub(super) async fn changed(
        &self,
        since: u64,
        last: Option<FileId>,
    ) -> Result<Option<ChangedFiles>, IndexError> {
        let (since, last) = (rows::bytes(since), rows::uuid(last.unwrap_or(FIRST)));
        let values: Values<'_> = &[&since, &last, &MOST, &FILES];
        let rows = self
            .rows(CHANGED, values, |row| {
                let heads: (i64, i64) = (value(row, "changes")?, value(row, "forgotten")?);
                let removed: Option<Vec<uuid::Uuid>> = value(row, "removed")?;
                let id: Option<uuid::Uuid> = value(row, "id")?;
                let added = id.map(|_| rows::record(row)).transpose()?;
                Ok((heads, removed, added))
            })
            .await?;
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for ((changes, forgotten), ids, file) in rows {
            // A database that was brought back from a backup has fewer.
            if forgotten > since || changes < since || changes - since > MOST {
                return Ok(None);
            }
            removed.extend(ids.unwrap_or_default().into_iter().map(rows::id));
            added.extend(file);
        }
        let is_all = added.len() < usize::try_from(FILES).unwrap_or(usize::MAX);
        Ok(Some(ChangedFiles {
            added,
            removed,
            is_all,
        }))
    }
}
