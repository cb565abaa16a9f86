//! What all nodes know of packs.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio_postgres::Row;

use super::failure::Failure;
use super::holds::Holder;
use super::link::Values;
use super::rows::{self, digest, value};
use super::shared::Shared;
use crate::hash::BlobHash;
use crate::index::Hold;
use crate::pack_rows::{ENTRY_OVERHEAD, Lease, Moved, PackLease, PackRows, PackedContent};
use crate::place::Place;
use crate::unavailable::Unavailable;

/// That it is done again where the answer was lost does nothing, since nobody else has the place.
const LEASE: &str = "INSERT INTO places (place, state, until, size, live) \
     VALUES ($1, 'w', now() + make_interval(secs => $2), 0, 0) ON CONFLICT (place) DO NOTHING";
/// What is damaged stays where it is until it is written anew.
const SPARSE: &str = "WITH sparse AS MATERIALIZED ( \
         SELECT place FROM places WHERE state = 'l' AND live * 2 < size \
         AND (moving_until IS NULL OR moving_until < now()) \
         ORDER BY live LIMIT 4 FOR UPDATE SKIP LOCKED), \
     claimed AS ( \
         UPDATE places SET moving_until = now() + make_interval(secs => $1) \
         FROM sparse WHERE places.place = sparse.place RETURNING places.place AS pack) \
     SELECT hash, place, size FROM claimed JOIN blobs \
     ON blobs.place > pack AND blobs.place <= pack || '\\xffffffff'::bytea \
     WHERE NOT is_damaged";
/// Under the lock under which all changes are made, so that what is needed is known; first of all
/// the pack, which nobody may have begun to delete. Once more it does nothing.
const MOVED: &str = "WITH head AS MATERIALIZED (SELECT one FROM heads FOR UPDATE), \
     open AS MATERIALIZED ( \
         SELECT place FROM places, head WHERE place = $1 AND state IN ('w', 'l', 'g') \
         FOR UPDATE OF places), \
     asked AS ( \
         SELECT it.* FROM unnest($3::bytea[], $4::bytea[], $5::bytea[]) AS it(hash, was, becomes), \
         open), \
     moved AS ( \
         UPDATE blobs SET place = becomes, checked_at = NULL FROM asked \
         WHERE blobs.hash = asked.hash AND blobs.place = was \
         RETURNING substring(was FOR 32) AS was, size + $6 AS bytes), \
     changes AS ( \
         SELECT was AS pack, -sum(bytes)::bigint AS change FROM moved GROUP BY was \
         UNION ALL SELECT $1, sum(bytes)::bigint FROM moved HAVING count(*) > 0), \
     changed AS ( \
         UPDATE places SET live = live + change, \
         size = CASE WHEN pack = $1 THEN $2 ELSE size END, \
         state = CASE WHEN live + change > 0 THEN 'l' ELSE 'g' END, \
         until = CASE WHEN live + change <= 0 THEN now() + make_interval(secs => $7) END \
         FROM changes WHERE places.place = pack) \
     SELECT count(*) AS moved FROM moved";

/// What all nodes know of packs.
pub(super) struct Packs(pub(super) Arc<Shared>);

/// Holds the place of a pack.
struct Writing(Mutex<Holder>);

impl Lease for Writing {
    fn kept(&self) {
        self.0.lock().kept();
    }
}

fn content(row: &Row) -> Result<PackedContent, Failure> {
    Ok(PackedContent {
        hash: BlobHash::from_bytes(digest(row, "hash")?),
        place: rows::place(row)?,
        size: rows::count(value(row, "size")?),
    })
}

#[async_trait]
impl PackRows for Packs {
    fn are_known(&self) -> bool {
        self.0.rollout.has_packs()
    }

    async fn lease(&self) -> Result<PackLease, Unavailable> {
        let Self(shared) = self;
        let place = Place::random();
        // Before the row is there, so that it is given up also where nobody waits for this.
        let holder = shared.holds.lease(place);
        let lease = PackLease::new(place, Writing(Mutex::new(holder)));
        let values: Values<'_> = &[&place.written(), &shared.lease.as_secs_f64()];
        shared.carry_out(LEASE, values).await?;
        Ok(lease)
    }

    async fn sparse(&self) -> Result<Vec<PackedContent>, Unavailable> {
        let lease = self.0.lease.as_secs_f64();
        self.0.rows(SPARSE, &[&lease], content).await
    }

    async fn moved(
        &self,
        pack: &PackLease,
        pack_bytes: u64,
        contents: &[Moved],
    ) -> Result<u64, Unavailable> {
        let hashes: Vec<_> = contents.iter().map(|it| &it.hash.as_bytes()[..]).collect();
        let from: Vec<_> = contents.iter().map(|it| it.from.written()).collect();
        let to: Vec<_> = contents.iter().map(|it| it.to.written()).collect();
        let values: Values<'_> = &[
            &pack.place.written(),
            &rows::bytes(pack_bytes),
            &hashes,
            &from,
            &to,
            &rows::bytes(ENTRY_OVERHEAD),
            &self.0.grace.as_secs_f64(),
        ];
        let moved = |row: &Row| Ok(rows::count(value(row, "moved")?));
        Ok(self.0.row(MOVED, values, moved).await?.unwrap_or_default())
    }
}
