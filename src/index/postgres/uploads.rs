//! What all nodes know of uploads in parts. Each statement does no harm where it is carried out
//! twice, since its answer was lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;
use uuid::Uuid;

use super::failure::Failure;
use super::link::Values;
use super::rows::{self, most, value};
use super::shared::Shared;
use crate::hash::BlobHash;
use crate::turn::Turn;
use crate::unavailable::Unavailable;
use crate::upload_rows::{
    Added, NewRow, Promised, TakenElsewhere, UploadPart, UploadRow, UploadRows,
};

/// After how long those who were about to do something have done it, or will not.
const SETTLED: Duration = Duration::from_mins(1);
/// How long others wait for bytes that come to a node that says nothing.
const RECEIVING: Duration = Duration::from_secs(2);
/// How long others wait for a file that such a node makes of an upload, which they would begin
/// anew.
const ENDING: Duration = Duration::from_secs(5);

const ADD: &str = "WITH there AS ( \
         SELECT count(*) AS unfinished, count(*) FILTER (WHERE client = $3) AS own FROM uploads \
         WHERE removed IS NULL AND file IS NULL AND joined IS NULL AND id <> $1), \
     parts AS ( \
         SELECT * FROM unnest($6::uuid[], $7::bigint[]) AS it(id, epoch)), \
     joined AS ( \
         UPDATE uploads SET joined = $1 FROM parts \
         WHERE uploads.id = parts.id AND uploads.epoch = parts.epoch RETURNING 1), \
     fits AS ( \
         SELECT $8 OR unfinished < $4 AS all_fit, $8 OR $3 = ''::bytea OR own < $5 AS own_fit, \
         (SELECT count(*) FROM joined) = cardinality($6::uuid[]) AS has_parts FROM there), \
     made AS ( \
         INSERT INTO uploads (id, state, client, is_begun) SELECT $1, $2, $3, $9 FROM fits \
         WHERE all_fit AND own_fit AND has_parts ON CONFLICT (id) DO NOTHING) \
     SELECT all_fit, own_fit, has_parts FROM fits";
/// What [`row`] reads.
macro_rules! columns {
    () => {
        "epoch, state, extract(epoch FROM now() - written)::float8 AS age, file, hash, \
         (SELECT id FROM uploads AS whole WHERE whole.id = uploads.joined \
         AND whole.removed IS NULL) AS joined"
    };
}
const CLAIM: &str = concat!(
    "UPDATE uploads SET epoch = epoch + 1, receiving_until = NULL, is_asked = false \
     WHERE id = $1 AND removed IS NULL AND (ending_until IS NULL OR ending_until < now()) \
     AND ($2 OR receiving_until IS NULL OR receiving_until < now()) RETURNING ",
    columns!()
);
const ASK: &str = "WITH asked AS ( \
         UPDATE uploads SET is_asked = true \
         WHERE id = $1 AND receiving_until > now() AND NOT is_asked) \
     SELECT id FROM uploads WHERE id = $1 AND removed IS NULL";
const RECEIVE: &str = "UPDATE uploads SET receiving_until = now() + make_interval(secs => $3), \
     promised = $4, is_beyond = $5 \
     WHERE id = $1 AND epoch = $2 AND removed IS NULL RETURNING id";
/// As of one moment, so that no upload counts twice or never when it becomes a file.
const ROOM: &str = "SELECT (SELECT blob_bytes FROM heads) AS kept, \
     coalesce(sum(taken) FILTER (WHERE NOT is_beyond), 0)::bigint AS inside, \
     coalesce(sum(taken) FILTER (WHERE is_beyond), 0)::bigint AS beyond, \
     coalesce(sum(taken) FILTER (WHERE client = $1), 0)::bigint AS of_client FROM ( \
         SELECT client, is_beyond, greatest(room, \
             CASE WHEN receiving_until > now() THEN promised ELSE 0 END) AS taken \
         FROM uploads WHERE removed IS NULL AND file IS NULL AND id <> ALL($2::uuid[])) AS others";
/// Written no more often than it has to be.
const WAIT_ON: &str = "WITH mine AS ( \
         SELECT * FROM unnest($1::uuid[], $2::bigint[]) AS it(id, epoch)), \
     renewed AS ( \
         UPDATE uploads SET receiving_until = now() + make_interval(secs => $3) FROM mine \
         WHERE uploads.id = mine.id AND uploads.epoch = mine.epoch \
         AND receiving_until < now() + make_interval(secs => $3) / 2) \
     SELECT mine.id FROM mine LEFT JOIN uploads USING (id, epoch) \
     WHERE uploads.id IS NULL OR is_asked OR removed IS NOT NULL";
const LOOK: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM uploads WHERE id = $1 AND removed IS NULL"
);
const SAVE: &str = "WITH mine AS ( \
         UPDATE uploads SET state = $3, written = now(), room = $9, \
         receiving_until = CASE WHEN $8 THEN receiving_until END, is_asked = is_asked AND $8, \
         is_begun = is_begun OR cardinality($4::bigint[]) > 0 \
         WHERE id = $1 AND epoch = $2 AND removed IS NULL RETURNING id), \
     made AS ( \
         INSERT INTO upload_parts (upload, start, size, epoch, tree) SELECT mine.id, it.* FROM mine, \
         unnest($4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[]) AS it \
         ON CONFLICT (upload, start) DO UPDATE SET size = excluded.size, \
         epoch = excluded.epoch, tree = excluded.tree) \
     SELECT id FROM mine";
const HOLD: &str = "UPDATE uploads SET ending_until = now() + make_interval(secs => $3) \
     WHERE id = $1 AND epoch = $2 RETURNING id";
const LET_GO: &str = "UPDATE uploads \
     SET ending_until = NULL, receiving_until = NULL, is_asked = false \
     WHERE id = $1 AND epoch = $2 RETURNING id";
const PARTS: &str =
    "SELECT start, size, epoch, tree FROM upload_parts WHERE upload = $1 ORDER BY start";
const PART_AT: &str = "SELECT start, size, epoch, ''::bytea AS tree FROM upload_parts \
     WHERE upload = $1 AND start <= $2 ORDER BY start DESC LIMIT 1";
const FORGET_PARTS: &str = "WITH less AS (UPDATE uploads SET room = 0 WHERE id = $1) \
     DELETE FROM upload_parts WHERE upload = $1";
const REMOVE: &str = "UPDATE uploads SET removed = now(), epoch = epoch + 1 \
     WHERE id = $1 OR joined = $1 RETURNING id";
const GIVE_WAY: &str = "UPDATE uploads SET removed = now(), epoch = epoch + 1 WHERE id = ( \
         SELECT id FROM uploads WHERE removed IS NULL AND file IS NULL AND joined IS NULL \
         AND NOT is_begun AND (receiving_until IS NULL OR receiving_until < now()) \
         AND ($1 = ''::bytea OR client = $1) ORDER BY written LIMIT 1) \
     RETURNING id";
/// Parts go with what they are in.
const EXPIRE: &str = "WITH over AS ( \
         SELECT id FROM uploads WHERE removed IS NULL AND joined IS NULL \
         AND written < now() - make_interval(secs => $1) \
         UNION ALL \
         (SELECT id FROM uploads WHERE removed IS NULL AND file IS NOT NULL \
         ORDER BY written DESC OFFSET $2)) \
     UPDATE uploads SET removed = now(), epoch = epoch + 1 \
     WHERE removed IS NULL AND (id IN (SELECT id FROM over) OR joined IN (SELECT id FROM over))";
const LITTER: &str = "(SELECT id, true AS is_removed FROM uploads \
         WHERE removed < now() - make_interval(secs => $1) LIMIT 256) \
     UNION ALL \
     (SELECT id, false FROM uploads WHERE removed IS NULL AND file IS NOT NULL \
         AND written < now() - make_interval(secs => $2) \
         AND EXISTS (SELECT FROM upload_parts WHERE upload = id) LIMIT 256)";
const FORGET: &str = "DELETE FROM uploads WHERE id = $1 AND removed IS NOT NULL";

/// The uploads of a database.
pub(super) struct Uploads(pub(super) Arc<Shared>);

fn id(row: &Row) -> Result<Uuid, Failure> {
    value(row, "id")
}

fn part(row: &Row) -> Result<UploadPart, Failure> {
    Ok(UploadPart {
        start: rows::count(value(row, "start")?),
        size: rows::count(value(row, "size")?),
        epoch: value(row, "epoch")?,
        tree: value(row, "tree")?,
    })
}

fn row(row: &Row) -> Result<UploadRow, Failure> {
    let file = match value::<Option<Uuid>>(row, "file")? {
        Some(file) => Some((
            rows::id(file),
            BlobHash::from_bytes(rows::digest(row, "hash")?),
        )),
        None => None,
    };
    Ok(UploadRow {
        epoch: value(row, "epoch")?,
        state: value(row, "state")?,
        age: rows::seconds(row, "age")?,
        file,
        joined: value(row, "joined")?,
    })
}

#[async_trait]
impl UploadRows for Uploads {
    async fn add(&self, new: &NewRow<'_>) -> Result<Added, Unavailable> {
        let ids: Vec<_> = new.parts.iter().map(|it| it.of).collect();
        let epochs: Vec<_> = new.parts.iter().map(|it| it.epoch).collect();
        let (all, own) = (most(new.most.0), most(new.most.1));
        let (client, is_final) = (new.client.as_bytes(), !ids.is_empty());
        let values: Values<'_> = &[
            &new.upload,
            &new.state,
            &client,
            &all,
            &own,
            &ids,
            &epochs,
            &is_final,
            &new.is_begun,
        ];
        let read = |row: &Row| {
            Ok(if !value(row, "has_parts")? {
                Added::TakenOver
            } else if !value(row, "own_fit")? {
                Added::FullOfOne
            } else if !value(row, "all_fit")? {
                Added::Full
            } else {
                Added::Done
            })
        };
        let added = self.0.rows(ADD, values, read).await?;
        Ok(added.first().copied().unwrap_or(Added::TakenOver))
    }

    async fn claim(&self, upload: Uuid, by_force: bool) -> Result<Option<UploadRow>, Unavailable> {
        self.0.row(CLAIM, &[&upload, &by_force], row).await
    }

    async fn ask(&self, upload: Uuid) -> Result<bool, Unavailable> {
        self.0.is_any(ASK, &[&upload]).await
    }

    async fn receive(&self, turn: Turn, promised: Promised) -> Result<bool, Unavailable> {
        let (lease, bytes) = (RECEIVING.as_secs_f64(), rows::bytes(promised.bytes));
        let values: Values<'_> = &[&turn.of, &turn.epoch, &lease, &bytes, &promised.is_beyond];
        self.0.is_any(RECEIVE, values).await
    }

    async fn wait_on(&self, turns: &[Turn]) -> Result<Vec<Uuid>, Unavailable> {
        let ids: Vec<_> = turns.iter().map(|it| it.of).collect();
        let epochs: Vec<_> = turns.iter().map(|it| it.epoch).collect();
        let lease = RECEIVING.as_secs_f64();
        self.0.rows(WAIT_ON, &[&ids, &epochs, &lease], id).await
    }

    async fn look(&self, upload: Uuid) -> Result<Option<UploadRow>, Unavailable> {
        self.0.row(LOOK, &[&upload], row).await
    }

    async fn save(
        &self,
        turn: Turn,
        (state, here): (&[u8], u64),
        parts: &[UploadPart],
        receives: bool,
    ) -> Result<bool, Unavailable> {
        let starts: Vec<_> = parts.iter().map(|it| rows::bytes(it.start)).collect();
        let sizes: Vec<_> = parts.iter().map(|it| rows::bytes(it.size)).collect();
        let epochs: Vec<_> = parts.iter().map(|it| it.epoch).collect();
        let trees: Vec<_> = parts.iter().map(|it| &it.tree[..]).collect();
        let (Turn { of: upload, epoch }, here) = (turn, rows::bytes(here));
        let values: Values<'_> = &[
            &upload, &epoch, &state, &starts, &sizes, &epochs, &trees, &receives, &here,
        ];
        self.0.is_any(SAVE, values).await
    }

    async fn room(&self, client: &str, but: &[Uuid]) -> Result<TakenElsewhere, Unavailable> {
        let read = |row: &Row| {
            Ok(TakenElsewhere {
                kept: rows::count(value(row, "kept")?),
                inside: rows::count(value(row, "inside")?),
                beyond: rows::count(value(row, "beyond")?),
                of_client: rows::count(value(row, "of_client")?),
            })
        };
        let values: Values<'_> = &[&client.as_bytes(), &but];
        Ok(self.0.row(ROOM, values, read).await?.unwrap_or_default())
    }

    async fn hold(&self, turn: Turn) -> Result<(), Unavailable> {
        let ending = ENDING.as_secs_f64();
        let held = self
            .0
            .rows(HOLD, &[&turn.of, &turn.epoch, &ending], id)
            .await;
        held.map(drop)
    }

    async fn let_go(&self, turn: Turn) -> Result<(), Unavailable> {
        let let_go = self.0.rows(LET_GO, &[&turn.of, &turn.epoch], id).await;
        let_go.map(drop)
    }

    fn ending(&self) -> Duration {
        ENDING
    }

    async fn parts(&self, upload: Uuid) -> Result<Vec<UploadPart>, Unavailable> {
        self.0.rows(PARTS, &[&upload], part).await
    }

    async fn part_at(&self, upload: Uuid, offset: u64) -> Result<Option<UploadPart>, Unavailable> {
        let values: Values<'_> = &[&upload, &rows::bytes(offset)];
        self.0.row(PART_AT, values, part).await
    }

    async fn forget_parts(&self, upload: Uuid) -> Result<(), Unavailable> {
        let forgotten = self.0.rows(FORGET_PARTS, &[&upload], id).await;
        forgotten.map(drop)
    }

    async fn remove(&self, upload: Uuid) -> Result<Vec<Uuid>, Unavailable> {
        self.0.rows(REMOVE, &[&upload], id).await
    }

    async fn give_way(&self, client: &str) -> Result<Option<Uuid>, Unavailable> {
        self.0.row(GIVE_WAY, &[&client.as_bytes()], id).await
    }

    async fn expire(&self, expiry: Duration, most_ended: usize) -> Result<(), Unavailable> {
        let values: Values<'_> = &[&expiry.as_secs_f64(), &most(most_ended)];
        self.0.carry_out(EXPIRE, values).await
    }

    async fn litter(&self) -> Result<Vec<(Uuid, bool)>, Unavailable> {
        let (grace, settled) = (self.grace().as_secs_f64(), SETTLED.as_secs_f64());
        let read = |row: &Row| Ok((id(row)?, value(row, "is_removed")?));
        self.0.rows(LITTER, &[&grace, &settled], read).await
    }

    async fn forget(&self, upload: Uuid) -> Result<(), Unavailable> {
        self.0.carry_out(FORGET, &[&upload]).await
    }

    fn grace(&self) -> Duration {
        self.0.grace
    }
}
