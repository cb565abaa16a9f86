//! Intents: gathered like changes, since each gives a place out, which is written down first.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Row;

use super::failure::Failure;
use super::rows::{self, content_columns, digest, value};
use super::shared::Shared;
use super::together::gather;
use crate::hash::BlobHash;
use crate::index::{IndexError, Intent};
use crate::place::Place;

/// How many are asked for together at most.
pub(super) const GROUP: usize = 256;

/// Where content is, and a place with a lease for what is not there or damaged. That it is made
/// again where the answer was lost does nothing, since nobody else has these places.
const INTEND: &str = concat!(
    "WITH asked AS ( \
         SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $5::boolean[]) \
         AS it(own, hash, bytes, is_gathered)), \
     found AS ( \
         SELECT own, bytes, is_gathered, ",
    content_columns!(),
    " FROM asked LEFT JOIN blobs USING (hash)), \
     made AS ( \
         INSERT INTO places (place, state, until, size) \
         SELECT own, 'w', now() + make_interval(secs => $4), bytes FROM found \
         WHERE (place IS NULL OR is_damaged) AND NOT is_gathered ORDER BY own ON CONFLICT (place) DO NOTHING) \
     SELECT own, ",
    content_columns!(),
    " FROM found"
);

/// An intent that somebody waits for.
pub(super) struct Asked {
    /// The place that it has where the content is to be written.
    pub(super) own: Place,
    pub(super) hash: BlobHash,
    /// In bytes.
    pub(super) size: u64,
    /// Whether it is written elsewhere, together with others: then it has no place of its own.
    pub(super) is_gathered: bool,
    pub(super) answer: oneshot::Sender<Result<Intent, IndexError>>,
}

/// Gives intents out until nobody can ask any more.
pub(super) async fn run(shared: Arc<Shared>, mut asked: mpsc::Receiver<Asked>) {
    let mut waiting = Vec::with_capacity(GROUP);
    while asked.recv_many(&mut waiting, GROUP).await > 0 {
        gather(&mut asked, &mut waiting, GROUP).await;
        let by_place: HashMap<_, _> = waiting.drain(..).map(|it: Asked| (it.own, it)).collect();
        give_out(&shared, by_place).await;
    }
}

async fn give_out(shared: &Shared, mut asked: HashMap<Place, Asked>) {
    let own: Vec<_> = asked.keys().map(|it| it.as_bytes().to_vec()).collect();
    let hashes: Vec<_> = asked
        .values()
        .map(|it| it.hash.as_bytes().to_vec())
        .collect();
    let sizes: Vec<_> = asked.values().map(|it| rows::bytes(it.size)).collect();
    let gathered: Vec<_> = asked.values().map(|it| it.is_gathered).collect();
    let lease = shared.lease.as_secs_f64();
    let found = shared
        .links
        .query(INTEND, &[&own, &hashes, &sizes, &lease, &gathered])
        .await;
    let failed = match found {
        Err(error) => error,
        Ok(found) => {
            for row in found {
                let own = digest(&row, "own").map(Place::from_bytes);
                let Some((own, asked)) = own.ok().and_then(|own| Some((own, asked.remove(&own)?)))
                else {
                    continue;
                };
                let intent = intent(shared, own, &asked, &row);
                // Who has gone gives it up.
                drop(
                    asked
                        .answer
                        .send(intent.map_err(|it| shared.links.told(it))),
                );
            }
            IndexError::Closed
        }
    };
    for asked in asked.into_values() {
        drop(asked.answer.send(Err(failed.clone())));
    }
}

fn intent(shared: &Shared, own: Place, asked: &Asked, row: &Row) -> Result<Intent, Failure> {
    let to_write = |content| {
        if asked.is_gathered {
            return Intent::new(own, content, ());
        }
        Intent::new(own, content, shared.holds.lease(own))
    };
    if value::<Option<&[u8]>>(row, "place")?.is_none() {
        return Ok(to_write(None));
    }
    let content = rows::content(row)?;
    let place = content.place;
    shared.seen.know(place, asked.hash, content.is_damaged);
    Ok(if content.is_damaged {
        to_write(Some(content))
    } else {
        Intent::new(place, Some(content), shared.holds.hold(place))
    })
}
