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
/// These hashes, and those of the contents of these files. As one array, since with
/// two conditions all rows are looked through.
macro_rules! hashes_of {
    ($hashes:literal, $files:literal) => {
        concat!(
            "ARRAY(SELECT unnest(",
            $hashes,
            "::bytea[]) UNION SELECT hash FROM files WHERE id = ANY(",
            $files,
            "::uuid[]))"
        )
    };
}
/// Locked, so that nobody tells of their health between this and the end.
const BLOBS: &str = concat!(
    "SELECT hash, place, size, users, is_damaged FROM blobs WHERE hash = ANY(",
    hashes_of!("$1", "$2"),
    ") ORDER BY hash FOR UPDATE"
);
/// Locked, so that no janitor takes them meanwhile.
const PLACES: &str = concat!(
    "SELECT place, state FROM places WHERE place = ANY(ARRAY( \
     SELECT unnest($1::bytea[]) UNION \
     SELECT substring(place FOR 32) FROM blobs WHERE length(place) > 32 AND hash = ANY(",
    hashes_of!("$2", "$3"),
    "))) ORDER BY place FOR UPDATE"
);
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
/// What was lost meanwhile becomes nothing.
const SET_PACKS: &str = "UPDATE places SET live = live + it.change, \
     size = coalesce(it.bytes, size), \
     state = CASE WHEN live + it.change > 0 THEN 'l' ELSE 'g' END, \
     until = CASE WHEN live + it.change <= 0 THEN now() + make_interval(secs => $4) END \
     FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) AS it(place, change, bytes) \
     WHERE places.place = it.place AND places.state <> 'd'";
const SET_HEADS: &str = "UPDATE heads SET last_id = $1, changes = $2, files = $3, bytes = $4, \
     blobs = $5, blob_bytes = $6";
const REMEMBER: &str = "INSERT INTO batches (id) VALUES ($1)";
/// All that a batch may say, which the server knows before its first: what is sent together has
/// nothing to wait for.
const ALL: [&str; 17] = [
    HEADS,
    FILES,
    BLOBS,
    PLACES,
    TURNS,
    REMEMBER,
    REMOVE,
    TELL_REMOVED,
    ADD,
    END,
    FORGET_BLOBS,
    SET_BLOBS,
    SET_PACKS,
    SET_LIVE,
    SET_GARBAGE,
    SET_HEADS,
    DAMAGED,
];
const DAMAGED: &str = "SELECT count(*) AS damaged FROM blobs WHERE is_damaged";

/// What the wishes of a batch are about.
#[derive(Default)]
struct About<'a> {
    removed: Vec<Uuid>,
    hashes: Vec<&'a [u8]>,
    /// By object.
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
                Wish::Mend { hash, place, .. } => {
                    about.hashes.push(hash.as_bytes());
                    about.places.push(place.as_bytes());
                }
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
    session.prepare(&ALL).await?;
    let (of_files, of_places): (Values<'_>, Values<'_>) =
        (&[&removed], &[&places, &hashes, &removed]);
    let (of_blobs, of_turns): (Values<'_>, Values<'_>) = (&[&hashes, &removed], &[&ended]);
    // Sent together, and carried out in this order.
    let ((), heads, files, blobs, states, turns) = try_join!(
        biased;
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

/// Writes all but the end, and tells how many contents are damaged then. All of it is sent before
/// this waits the first time.
pub(super) async fn write(
    session: &Session,
    batch: Uuid,
    plan: &Plan,
    grace: Duration,
) -> Result<u64, Failure> {
    let remember: Values<'_> = &[&batch];
    let (.., damaged) = try_join!(
        biased;
        session.execute(REMEMBER, remember),
        remove(session, &plan.removed),
        add(session, plan),
        end(session, plan),
        forget_blobs(session, plan),
        set_blobs(session, plan),
        set_packs(session, plan, grace),
        set_places(session, plan, grace),
        set_heads(session, &plan.heads),
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
    let (remove, tell): (Values<'_>, Values<'_>) = (&[&ids], &[&changes, &ids]);
    try_join!(
        biased;
        session.execute(REMOVE, remove),
        session.execute(TELL_REMOVED, tell),
    )?;
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

async fn forget_blobs(session: &Session, plan: &Plan) -> Result<(), Failure> {
    let gone = plan.blobs.iter().filter(|(_, blob)| blob.is_none());
    let gone: Vec<_> = gone.map(|(hash, _)| &hash.as_bytes()[..]).collect();
    if gone.is_empty() {
        return Ok(());
    }
    session.execute(FORGET_BLOBS, &[&gone]).await.map(drop)
}

async fn set_blobs(session: &Session, plan: &Plan) -> Result<(), Failure> {
    let there = plan.blobs.iter();
    let there: Vec<_> = there
        .filter_map(|(hash, blob)| Some((hash, blob.as_ref()?)))
        .collect();
    if there.is_empty() {
        return Ok(());
    }
    let of = there.iter();
    let hashes: Vec<_> = of.clone().map(|(hash, _)| &hash.as_bytes()[..]).collect();
    let places: Vec<_> = of.clone().map(|(_, it)| it.place.written()).collect();
    let sizes: Vec<_> = of.clone().map(|(_, it)| it.size).collect();
    let users: Vec<_> = of.clone().map(|(_, it)| it.users).collect();
    let damaged: Vec<_> = of.map(|(_, it)| it.is_damaged).collect();
    session
        .execute(SET_BLOBS, &[&hashes, &places, &sizes, &users, &damaged])
        .await?;
    Ok(())
}

async fn set_places(session: &Session, plan: &Plan, grace: Duration) -> Result<(), Failure> {
    let written = |of: &[Place]| of.iter().map(Place::written).collect::<Vec<_>>();
    let (live, garbage) = (written(&plan.live), written(&plan.garbage));
    let set_live = async {
        if live.is_empty() {
            return Ok(0);
        }
        session.execute(SET_LIVE, &[&live]).await
    };
    let set_garbage = async {
        if garbage.is_empty() {
            return Ok(0);
        }
        let values: Values<'_> = &[&garbage, &grace.as_secs_f64()];
        session.execute(SET_GARBAGE, values).await
    };
    try_join!(biased; set_live, set_garbage)?;
    Ok(())
}

async fn set_heads(session: &Session, heads: &Heads) -> Result<(), Failure> {
    let last_id = rows::uuid(heads.last_id);
    let values: Values<'_> = &[
        &last_id,
        &heads.changes,
        &heads.files,
        &heads.bytes,
        &heads.blobs,
        &heads.blob_bytes,
    ];
    session.execute(SET_HEADS, values).await.map(drop)
}

async fn set_packs(session: &Session, plan: &Plan, grace: Duration) -> Result<(), Failure> {
    if plan.packs.is_empty() {
        return Ok(());
    }
    let of = plan.packs.iter();
    let places: Vec<_> = of.clone().map(|(it, _)| it.written()).collect();
    let changes: Vec<_> = of.clone().map(|(_, it)| it.live).collect();
    let bytes: Vec<_> = of.map(|(_, it)| it.bytes).collect();
    let values: Values<'_> = &[&places, &changes, &bytes, &grace.as_secs_f64()];
    session.execute(SET_PACKS, values).await?;
    Ok(())
}
