//! A batch of changes, in one transaction.

use std::time::Duration;

use tokio::try_join;
use uuid::Uuid;

use super::failure::Failure;
use super::link::{Session, Values};
use super::plan::{Blob, Found, Plan, State, Wish};
use super::rows::{self, Heads, digest, heads_columns, record_columns, value};
use crate::hash::BlobHash;
use crate::place::Place;
use crate::record::FileId;
use crate::turn::Turn;

const HEADS: &str = concat!("SELECT ", heads_columns!(), " FROM heads FOR UPDATE");
const FILES: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM files WHERE id = ANY($1)"
);
/// Locked, so that nobody tells of their health between this and the end.
const BLOBS: &str = "SELECT hash, place, size, users, is_damaged FROM blobs \
     WHERE hash = ANY($1) OR hash IN (SELECT hash FROM files WHERE id = ANY($2)) \
     ORDER BY hash FOR UPDATE";
/// Locked, so that no janitor takes them meanwhile.
const PLACES: &str =
    "SELECT place, state FROM places WHERE place = ANY($1) ORDER BY place FOR UPDATE";
/// Locked, so that nobody takes the turn meanwhile.
const TURNS: &str = "WITH \
     at_uploads AS (SELECT id, epoch FROM uploads WHERE id = ANY($1) AND file IS NULL \
         AND removed IS NULL ORDER BY id FOR UPDATE), \
     at_copies AS (SELECT turn AS id, epoch FROM wanted WHERE turn = ANY($1) AND stage = 'o' \
         ORDER BY turn FOR UPDATE) \
     SELECT * FROM at_uploads UNION ALL SELECT * FROM at_copies";
const STANDS: &str = "SELECT FROM batches WHERE id = $1";

const REMOVE: &str = "DELETE FROM files WHERE id = ANY($1)";
const TELL_REMOVED: &str =
    "INSERT INTO removed (change, id) SELECT * FROM unnest($1::bigint[], $2::uuid[])";
const ADD: &str = "INSERT INTO files \
     (id, uploaded_at, name, name_key, content_type, description, size, hash) \
     SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[], $4::uuid[], $5::bytea[], \
     $6::bytea[], $7::bigint[], $8::bytea[])";
const END: &str = "UPDATE uploads SET file = it.file, hash = it.hash, written = now() \
     FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS it(id, file, hash) \
     WHERE uploads.id = it.id";
/// Whether it is at its end says whoever has the turn.
const NOTE_COPY: &str = "UPDATE wanted SET copy = it.file \
     FROM unnest($1::uuid[], $2::uuid[]) AS it(turn, file) WHERE wanted.turn = it.turn";
const FORGET_BLOBS: &str = "DELETE FROM blobs WHERE hash = ANY($1)";
/// What was checked was so in the place where it was.
const SET_BLOBS: &str = "INSERT INTO blobs (hash, place, size, users, is_damaged) \
     SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[], $5::boolean[]) \
     ON CONFLICT (hash) DO UPDATE SET place = excluded.place, users = excluded.users, \
     is_damaged = excluded.is_damaged, \
     checked_at = CASE WHEN blobs.place = excluded.place THEN blobs.checked_at END";
const SET_LIVE: &str = "UPDATE places SET state = 'l', until = NULL WHERE place = ANY($1)";
const SET_GARBAGE: &str = "UPDATE places SET state = 'g', \
     until = now() + make_interval(secs => $2) WHERE place = ANY($1)";
const SET_HEADS: &str = "UPDATE heads SET last_id = $1, changes = $2, files = $3, bytes = $4, \
     blobs = $5, blob_bytes = $6";
const REMEMBER: &str = "INSERT INTO batches (id) VALUES ($1)";
const DAMAGED: &str = "SELECT count(*) AS damaged FROM blobs WHERE is_damaged";

/// What the wishes of a batch are about.
#[derive(Default)]
struct About<'a> {
    removed: Vec<Uuid>,
    hashes: Vec<&'a [u8]>,
    places: Vec<&'a [u8]>,
    ended: Vec<Uuid>,
}

impl<'a> About<'a> {
    fn of(wishes: &'a [Wish<'_>]) -> Self {
        let mut about = Self::default();
        for wish in wishes {
            match wish {
                Wish::Put {
                    file, place, turn, ..
                } => {
                    about.hashes.push(file.hash.as_bytes());
                    about.places.push(place.as_bytes());
                    about.ended.extend(turn.map(|it| it.of));
                }
                Wish::Remove(id) => about.removed.push(rows::uuid(*id)),
            }
        }
        about
    }
}

/// Begins the transaction, takes the lock of the heads, and reads what the wishes are about.
pub(super) async fn begin(session: &Session, wishes: &[Wish<'_>]) -> Result<Found, Failure> {
    let About {
        removed,
        hashes,
        places,
        ended,
    } = About::of(wishes);
    session
        .prepare(&[HEADS, FILES, BLOBS, PLACES, TURNS])
        .await?;
    let (of_files, of_places): (Values<'_>, Values<'_>) = (&[&removed], &[&places]);
    let (of_blobs, of_turns): (Values<'_>, Values<'_>) = (&[&hashes, &removed], &[&ended]);
    // Sent together, and carried out in this order.
    let ((), heads, files, blobs, states, turns) = try_join!(
        session.batch("BEGIN"),
        session.query(HEADS, &[]),
        session.query(FILES, of_files),
        session.query(BLOBS, of_blobs),
        session.query(PLACES, of_places),
        session.query(TURNS, of_turns),
    )?;
    let heads = heads
        .first()
        .ok_or_else(|| Failure::Odd("the heads are gone".to_owned()))?;
    let files = files.iter().map(|row| {
        let record = rows::record(row)?;
        Ok((record.id, record))
    });
    let blobs = blobs.iter().map(|row| {
        let blob = Blob {
            place: rows::place(row)?,
            size: value(row, "size")?,
            users: value(row, "users")?,
            is_damaged: value(row, "is_damaged")?,
        };
        Ok((BlobHash::from_bytes(digest(row, "hash")?), blob))
    });
    let states = states
        .iter()
        .map(|row| Ok((rows::place(row)?, State::of(value(row, "state")?))));
    let turns = turns.iter().map(|row| {
        Ok(Turn {
            of: value(row, "id")?,
            epoch: value(row, "epoch")?,
        })
    });
    Ok(Found {
        heads: Heads::of(heads)?,
        files: files.collect::<Result<_, Failure>>()?,
        blobs: blobs.collect::<Result<_, Failure>>()?,
        places: states.collect::<Result<_, Failure>>()?,
        turns: turns.collect::<Result<_, Failure>>()?,
    })
}

/// Whether a batch stands whose COMMIT was not answered. Nobody commits it any more once somebody
/// else has the lock of the heads.
pub(super) async fn stands(session: &Session, batch: Uuid) -> Result<bool, Failure> {
    let found = session.query(STANDS, &[&batch]).await?;
    Ok(!found.is_empty())
}

/// Writes all but the end, and tells how many contents are damaged then.
pub(super) async fn write(
    session: &Session,
    batch: Uuid,
    plan: &Plan,
    grace: Duration,
) -> Result<u64, Failure> {
    session.execute(REMEMBER, &[&batch]).await?;
    remove(session, &plan.removed).await?;
    add(session, plan).await?;
    end(session, plan).await?;
    set_blobs(session, plan).await?;
    let places = |of: &[Place]| {
        of.iter()
            .map(|it| it.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };
    if !plan.live.is_empty() {
        session.execute(SET_LIVE, &[&places(&plan.live)]).await?;
    }
    if !plan.garbage.is_empty() {
        let garbage = places(&plan.garbage);
        session
            .execute(SET_GARBAGE, &[&garbage, &grace.as_secs_f64()])
            .await?;
    }
    let heads = &plan.heads;
    session.prepare(&[SET_HEADS, DAMAGED]).await?;
    let last_id = rows::uuid(heads.last_id);
    let of_heads: Values<'_> = &[
        &last_id,
        &heads.changes,
        &heads.files,
        &heads.bytes,
        &heads.blobs,
        &heads.blob_bytes,
    ];
    let (_, damaged) = try_join!(
        session.execute(SET_HEADS, of_heads),
        session.query(DAMAGED, &[]),
    )?;
    damaged_in(&damaged)
}

/// What the column `damaged` tells.
pub(super) fn damaged_in(rows: &[tokio_postgres::Row]) -> Result<u64, Failure> {
    match rows.first() {
        Some(row) => Ok(rows::count(value(row, "damaged")?)),
        None => Ok(0),
    }
}

async fn remove(session: &Session, removed: &[(i64, FileId)]) -> Result<(), Failure> {
    if removed.is_empty() {
        return Ok(());
    }
    let changes: Vec<_> = removed.iter().map(|(change, _)| *change).collect();
    let ids: Vec<_> = removed.iter().map(|(_, id)| rows::uuid(*id)).collect();
    session.execute(REMOVE, &[&ids]).await?;
    session.execute(TELL_REMOVED, &[&changes, &ids]).await?;
    Ok(())
}

async fn add(session: &Session, plan: &Plan) -> Result<(), Failure> {
    if plan.added.is_empty() {
        return Ok(());
    }
    let of = plan.added.iter();
    let ids: Vec<_> = of.clone().map(|it| rows::uuid(it.id)).collect();
    let times: Vec<_> = of.clone().map(|it| it.uploaded_at.0).collect();
    let files = of.map(|it| &it.file);
    let names: Vec<_> = files.clone().map(|it| it.name.as_bytes()).collect();
    let keys: Vec<_> = files.clone().map(|it| rows::name_key(&it.name)).collect();
    let types = files.clone().map(|it| it.content_type.as_deref());
    let types: Vec<_> = types.map(|it| it.map(str::as_bytes)).collect();
    let descriptions = files.clone().map(|it| it.description.as_bytes());
    let descriptions: Vec<_> = descriptions.collect();
    let sizes: Vec<_> = files.clone().map(|it| rows::bytes(it.size)).collect();
    let hashes: Vec<_> = files.map(|it| &it.hash.as_bytes()[..]).collect();
    session
        .execute(
            ADD,
            &[
                &ids,
                &times,
                &names,
                &keys,
                &types,
                &descriptions,
                &sizes,
                &hashes,
            ],
        )
        .await?;
    Ok(())
}

/// Writes down which uploads and copies have become files.
async fn end(session: &Session, plan: &Plan) -> Result<(), Failure> {
    if plan.ended.is_empty() {
        return Ok(());
    }
    let ended = plan.ended.iter();
    let ids: Vec<_> = ended.clone().map(|(id, ..)| *id).collect();
    let files = ended.clone().map(|(_, file, _)| rows::uuid(*file));
    let files: Vec<_> = files.collect();
    let hashes: Vec<_> = ended.map(|(.., hash)| &hash.as_bytes()[..]).collect();
    session.execute(END, &[&ids, &files, &hashes]).await?;
    session.execute(NOTE_COPY, &[&ids, &files]).await?;
    Ok(())
}

async fn set_blobs(session: &Session, plan: &Plan) -> Result<(), Failure> {
    let gone = plan.blobs.iter().filter(|(_, blob)| blob.is_none());
    let gone: Vec<_> = gone.map(|(hash, _)| &hash.as_bytes()[..]).collect();
    if !gone.is_empty() {
        session.execute(FORGET_BLOBS, &[&gone]).await?;
    }
    let there = plan.blobs.iter();
    let there: Vec<_> = there
        .filter_map(|(hash, blob)| Some((hash, blob.as_ref()?)))
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    let of = there.iter();
    let hashes: Vec<_> = of.clone().map(|(hash, _)| &hash.as_bytes()[..]).collect();
    let places: Vec<_> = of.clone().map(|(_, it)| &it.place.as_bytes()[..]).collect();
    let sizes: Vec<_> = of.clone().map(|(_, it)| it.size).collect();
    let users: Vec<_> = of.clone().map(|(_, it)| it.users).collect();
    let damaged: Vec<_> = of.map(|(_, it)| it.is_damaged).collect();
    session
        .execute(SET_BLOBS, &[&hashes, &places, &sizes, &users, &damaged])
        .await?;
    Ok(())
}
