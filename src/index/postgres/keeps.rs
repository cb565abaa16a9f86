//! What all nodes know of the copies that they are to have. Each statement does no harm where it is
//! carried out twice, since its answer was lost: a turn that was taken in vain ends by itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Failure;
use super::keep_statements as sql;
use super::link::Values;
use super::rows::{self, most, value};
use super::shared::Shared;
use crate::hash::BlobHash;
use crate::keep_rows::{Asked, AskedRow, Ended, EndedRow, HeldRow, KeepRow, KeepRows, RowStage};
use crate::record::FileId;
use crate::turn::Turn;
use crate::unavailable::Unavailable;

/// After how long a removal that was noted is over, whatever came of it.
const REMOVED: Duration = Duration::from_mins(1);

/// The copies of a database.
pub(super) struct Keeps(pub(super) Arc<Shared>);

impl Keeps {
    fn lease_seconds(&self) -> f64 {
        self.0.lease.as_secs_f64()
    }
}

fn text(row: &Row, column: &str) -> Result<String, Failure> {
    let bytes: Vec<u8> = value(row, column)?;
    String::from_utf8(bytes).map_err(|_| Failure::Odd(format!("the column {column} is no text")))
}

fn keep(row: &Row) -> Result<KeepRow, Failure> {
    let is_fetching: Option<bool> = value(row, "is_fetching")?;
    let error: Option<&[u8]> = value(row, "error")?;
    Ok(KeepRow {
        id: text(row, "id")?,
        turn: turn(row)?,
        number: value(row, "number")?,
        names: value(row, "names")?,
        version: value(row, "version")?,
        client: text(row, "client")?,
        is_asked: value(row, "is_asked")?,
        stage: match value(row, "stage")? {
            "k" => RowStage::Kept,
            "f" => RowStage::Failed,
            _ if is_fetching == Some(true) => RowStage::Fetching,
            _ => RowStage::Waiting,
        },
        copy: value::<Option<Uuid>>(row, "copy")?.map(rows::id),
        size: rows::count(value(row, "size")?),
        fetched: rows::count(value(row, "fetched")?),
        error: error.map(|_| text(row, "error")).transpose()?,
        pause: rows::seconds(row, "pause")?,
    })
}

fn turn(row: &Row) -> Result<Turn, Failure> {
    Ok(Turn {
        of: value(row, "turn")?,
        epoch: value(row, "epoch")?,
    })
}

fn asked(row: &Row) -> Result<Asked, Failure> {
    Ok(if !value(row, "own_fit")? {
        Asked::FullOfOne
    } else if !value(row, "all_fit")? {
        Asked::Full
    } else if value(row, "is_done")? {
        Asked::Done
    } else {
        Asked::Changed
    })
}

#[async_trait]
impl KeepRows for Keeps {
    fn lease(&self) -> Duration {
        self.0.lease
    }

    async fn look(&self, id: &str) -> Result<Option<KeepRow>, Unavailable> {
        self.0.row(sql::LOOK, &[&id.as_bytes()], keep).await
    }

    async fn page(&self, after: Option<i64>, limit: usize) -> Result<Vec<KeepRow>, Unavailable> {
        let values: Values<'_> = &[&after.unwrap_or(i64::MIN), &most(limit)];
        self.0.rows(sql::PAGE, values, keep).await
    }

    async fn changes(&self) -> Result<(i64, i64), Unavailable> {
        let read = |row: &Row| Ok((value(row, "all")?, value(row, "last")?));
        Ok(self
            .0
            .row(sql::CHANGES, &[], read)
            .await?
            .unwrap_or_default())
    }

    async fn ask(&self, row: &AskedRow<'_>) -> Result<Asked, Unavailable> {
        let (names, places) = row.names;
        let values: Values<'_> = &[
            &row.id.as_bytes(),
            &names,
            &most(places),
            &row.client.as_bytes(),
            &most(row.most.0),
            &most(row.most.1),
            &rows::bytes(row.size),
            &row.found,
        ];
        let told = self.0.row(sql::ASK, values, asked).await?;
        Ok(told.unwrap_or(Asked::Changed))
    }

    async fn note(
        &self,
        id: &str,
        names: &[u8],
        size: u64,
        copy: Option<FileId>,
    ) -> Result<(), Unavailable> {
        let (size, copy) = (rows::bytes(size), copy.map(rows::uuid));
        let values: Values<'_> = &[&id.as_bytes(), &names, &size, &copy];
        self.0.carry_out(sql::NOTE, values).await
    }

    async fn give_way(&self, client: &str) -> Result<bool, Unavailable> {
        self.0.is_any(sql::GIVE_WAY, &[&client.as_bytes()]).await
    }

    async fn remove(&self, id: &str) -> Result<Option<KeepRow>, Unavailable> {
        self.0.row(sql::REMOVE, &[&id.as_bytes()], keep).await
    }

    async fn remove_unasked(&self, id: &str) -> Result<(), Unavailable> {
        self.0
            .carry_out(sql::REMOVE_UNASKED, &[&id.as_bytes()])
            .await
    }

    async fn claim(&self, node: Uuid) -> Result<Option<KeepRow>, Unavailable> {
        let values: Values<'_> = &[&node, &self.lease_seconds()];
        self.0.row(sql::CLAIM, values, keep).await
    }

    async fn reclaim(&self, node: Uuid) -> Result<Vec<KeepRow>, Unavailable> {
        self.0.carry_out(sql::DROP_UNASKED, &[&node]).await?;
        let values: Values<'_> = &[&node, &self.lease_seconds()];
        self.0.rows(sql::RECLAIM, values, keep).await
    }

    async fn claim_unasked(
        &self,
        node: Uuid,
        (id, names): (&str, &[u8]),
        size: u64,
    ) -> Result<Option<KeepRow>, Unavailable> {
        let (size, lease) = (rows::bytes(size), self.lease_seconds());
        let values: Values<'_> = &[&node, &lease, &id.as_bytes(), &names, &size];
        self.0.row(sql::CLAIM_UNASKED, values, keep).await
    }

    async fn renew(&self, held: &[HeldRow]) -> Result<Vec<Uuid>, Unavailable> {
        let turns: Vec<_> = held.iter().map(|it| it.turn.of).collect();
        let epochs: Vec<_> = held.iter().map(|it| it.turn.epoch).collect();
        let fetching: Vec<_> = held.iter().map(|it| it.is_fetching).collect();
        let sizes: Vec<_> = held.iter().map(|it| rows::bytes(it.size)).collect();
        let fetched: Vec<_> = held.iter().map(|it| rows::bytes(it.fetched)).collect();
        let errors = held.iter().map(|it| it.error.as_deref());
        let errors: Vec<_> = errors.map(|it| it.map(str::as_bytes)).collect();
        let lease = self.lease_seconds();
        let values: Values<'_> = &[
            &lease, &turns, &epochs, &fetching, &sizes, &fetched, &errors,
        ];
        self.0
            .rows(sql::RENEW, values, |row| value(row, "turn"))
            .await
    }

    async fn let_go(
        &self,
        turn: Turn,
        error: &str,
        pause: Duration,
        next: Duration,
    ) -> Result<(), Unavailable> {
        let (pause, next) = (pause.as_secs_f64(), next.as_secs_f64());
        let values: Values<'_> = &[&turn.of, &turn.epoch, &error.as_bytes(), &pause, &next];
        self.0.carry_out(sql::LET_GO, values).await
    }

    async fn leave(&self, turn: Turn) -> Result<(), Unavailable> {
        let values: Values<'_> = &[&turn.of, &turn.epoch];
        self.0.carry_out(sql::LEAVE, values).await
    }

    async fn leave_all(&self, node: Uuid) -> Result<(), Unavailable> {
        self.0.carry_out(sql::DROP_UNASKED, &[&node]).await?;
        self.0.carry_out(sql::LEAVE_ALL, &[&node]).await
    }

    async fn end(&self, ended: &EndedRow<'_>) -> Result<Ended, Unavailable> {
        let held = &ended.held;
        let stage = if ended.is_kept { "k" } else { "f" };
        let error = held.error.as_deref().map(str::as_bytes);
        let values: Values<'_> = &[
            &held.turn.of,
            &held.turn.epoch,
            &ended.version,
            &stage,
            &ended.names,
            &ended.copy.map(rows::uuid),
            &error,
            &rows::bytes(held.size),
            &rows::bytes(held.fetched),
        ];
        if !self.0.is_any(sql::END, values).await? {
            let found = self
                .0
                .row(sql::LOOK_AT_TURN, &[&held.turn.of], keep)
                .await?;
            return Ok(match found.filter(|it| it.turn == held.turn) {
                None => Ended::Lost,
                // The answer to that was lost.
                Some(it) if matches!(it.stage, RowStage::Kept | RowStage::Failed) => Ended::Done,
                Some(it) => Ended::Changed(it),
            });
        }
        Ok(Ended::Done)
    }

    async fn lead(&self, epoch: Option<i64>) -> Result<Option<i64>, Unavailable> {
        let values: Values<'_> = &[&epoch, &self.lease_seconds()];
        self.0
            .row(sql::LEAD, values, |row| value(row, "epoch"))
            .await
    }

    async fn follow(&self, epoch: i64) -> Result<(), Unavailable> {
        self.0.carry_out(sql::FOLLOW, &[&epoch]).await
    }

    async fn note_removed(&self, hash: &BlobHash) -> Result<(), Unavailable> {
        let hash = &hash.as_bytes()[..];
        self.0.carry_out(sql::NOTE_REMOVED, &[&hash]).await
    }

    async fn was_removed(&self, hash: &BlobHash) -> Result<bool, Unavailable> {
        let hash = &hash.as_bytes()[..];
        self.0.is_any(sql::WAS_REMOVED, &[&hash]).await
    }

    async fn note_unhashed(
        &self,
        file: FileId,
        hash: &BlobHash,
        at_most: usize,
    ) -> Result<(), Unavailable> {
        let hash = &hash.as_bytes()[..];
        let values: Values<'_> = &[&rows::uuid(file), &hash, &most(at_most)];
        self.0.carry_out(sql::NOTE_UNHASHED, values).await
    }

    async fn unhashed(&self, file: FileId) -> Result<Option<BlobHash>, Unavailable> {
        let read = |row: &Row| Ok(BlobHash::from_bytes(rows::digest(row, "hash")?));
        self.0.row(sql::UNHASHED, &[&rows::uuid(file)], read).await
    }

    async fn tidy(&self, ended: usize, removed: usize) -> Result<(), Unavailable> {
        let values: Values<'_> = &[&most(ended), &self.lease_seconds()];
        self.0.carry_out(sql::TIDY, values).await?;
        let values: Values<'_> = &[&most(removed), &REMOVED.as_secs_f64()];
        self.0.carry_out(sql::TIDY_REMOVED, values).await
    }
}
