//! The key of all nodes over one database, which makes them one peer.

use super::link::Links;
use super::rows::digest;
use crate::index::IndexError;

/// The first one stays, whoever comes at the same time.
const OFFER: &str = "INSERT INTO fleet_key (secret) VALUES ($1) ON CONFLICT DO NOTHING";
/// Asked by itself: a statement does not see what has come since it began.
const KEPT: &str = "SELECT secret FROM fleet_key";

/// The secret that all have: `made` where there was none.
pub(super) async fn first(links: &Links, made: [u8; 32]) -> Result<[u8; 32], IndexError> {
    links.query(OFFER, &[&&made[..]]).await?;
    let kept = links.query(KEPT, &[]).await?;
    let Some(row) = kept.first() else {
        return Err(IndexError::Server(
            "the key of the nodes is gone".to_owned(),
        ));
    };
    digest(row, "secret").map_err(|it| links.told(it))
}
