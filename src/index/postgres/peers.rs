//! The peers that all nodes know. Each statement does no harm where it is carried out twice, since
//! its answer was lost.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::failure::Failure;
use super::link::Values;
use super::rows::{self, most, value};
use super::shared::Shared;
use crate::peer_id::PeerId;
use crate::peer_rows::{PeerNews, PeerRow, PeerRows};
use crate::unavailable::Unavailable;

/// In one order whoever locks them.
const SAVE: &str = "INSERT INTO known_peers (id, heard, registration) \
     SELECT it.id, now() - make_interval(secs => it.age), it.registration \
     FROM unnest($1::bytea[], $2::float8[], $3::bytea[]) AS it(id, age, registration) ORDER BY it.id \
     ON CONFLICT (id) DO UPDATE SET heard = excluded.heard, registration = excluded.registration, \
     told = CASE WHEN known_peers.registration = excluded.registration \
         THEN known_peers.told ELSE now() END \
     WHERE excluded.heard > known_peers.heard";
const FORGET: &str = "DELETE FROM known_peers WHERE id IN ( \
         SELECT id FROM known_peers WHERE heard < now() - make_interval(secs => $1) \
         UNION ALL \
         (SELECT id FROM known_peers ORDER BY heard DESC OFFSET $2))";
const LOAD: &str = "SELECT id, extract(epoch FROM now() - heard)::float8 AS age, registration \
     FROM known_peers ORDER BY heard DESC";

/// Also of one that nobody has written down yet.
const TELL: &str = "INSERT INTO known_peers (id, heard, registration, news, told) \
     SELECT it.id, now() - make_interval(secs => it.age), it.registration, 1, now() \
     FROM unnest($1::bytea[], $2::float8[], $3::bytea[]) AS it(id, age, registration) ORDER BY it.id \
     ON CONFLICT (id) DO UPDATE SET news = known_peers.news + 1, told = now() \
     RETURNING id, news, registration";
/// More than a node takes from one look to the next, and a statement from its begin to its end.
const HEAR: &str = "SELECT id, news, registration FROM known_peers \
     WHERE told > now() - interval '30 s'";

/// The peers of a database.
pub(super) struct Peers(pub(super) Arc<Shared>);

fn id(row: &Row) -> Result<PeerId, Failure> {
    let id: &[u8] = value(row, "id")?;
    let id = std::str::from_utf8(id).ok().and_then(|it| it.parse().ok());
    id.ok_or_else(|| Failure::Odd("a peer has no id".to_owned()))
}

fn news(row: &Row) -> Result<PeerNews, Failure> {
    Ok(PeerNews {
        id: id(row)?,
        count: value(row, "news")?,
        registration: value(row, "registration")?,
    })
}

fn peer(row: &Row) -> Result<PeerRow, Failure> {
    Ok(PeerRow {
        id: id(row)?,
        age: rows::seconds(row, "age")?,
        registration: value(row, "registration")?,
    })
}

fn ids(peers: &[PeerRow]) -> Vec<String> {
    peers.iter().map(|it| it.id.to_string()).collect()
}

/// What the database takes of these peers, whose ids are written out.
fn columns<'a>(
    ids: &'a [String],
    peers: &'a [PeerRow],
) -> (Vec<&'a [u8]>, Vec<f64>, Vec<&'a [u8]>) {
    let ids = ids.iter().map(String::as_bytes).collect();
    let ages = peers.iter().map(|it| it.age.as_secs_f64()).collect();
    (
        ids,
        ages,
        peers.iter().map(|it| &*it.registration).collect(),
    )
}

#[async_trait]
impl PeerRows for Peers {
    async fn save(
        &self,
        known: &[PeerRow],
        forgotten: Duration,
        at_most: usize,
    ) -> Result<(), Unavailable> {
        let ids = ids(known);
        let (ids, ages, told) = columns(&ids, known);
        let saved: Values<'_> = &[&ids, &ages, &told];
        self.0.carry_out(SAVE, saved).await?;
        let values: Values<'_> = &[&forgotten.as_secs_f64(), &most(at_most)];
        self.0.carry_out(FORGET, values).await
    }

    async fn load(&self) -> Result<Vec<PeerRow>, Unavailable> {
        self.0.rows(LOAD, &[], peer).await
    }

    async fn tell(&self, heard: &[PeerRow]) -> Result<Vec<PeerNews>, Unavailable> {
        let ids = ids(heard);
        let (ids, ages, told) = columns(&ids, heard);
        self.0.rows(TELL, &[&ids, &ages, &told], news).await
    }

    async fn hear(&self) -> Result<Vec<PeerNews>, Unavailable> {
        self.0.rows(HEAR, &[], news).await
    }
}
