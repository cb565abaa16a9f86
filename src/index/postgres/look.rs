//! Looking what others have changed, and telling all what this node has found.

use std::time::{Duration, Instant};

use tokio::try_join;

use super::batch::damaged_in;
use super::failure::Failure;
use super::link::Session;
use super::rows::{self, Heads, heads_columns, value};
use super::shared::Shared;

/// How often what nobody asks for any more is removed.
const PRUNE_EVERY: Duration = Duration::from_mins(10);

/// The heads, and whether what is acknowledged lasts.
const LOOK: &str = concat!(
    "SELECT ",
    heads_columns!(),
    ", (SELECT count(*) FROM blobs WHERE is_damaged) AS damaged, \
     (SELECT oldest FROM tables_version) AS oldest, \
     current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commits, \
     pg_is_in_recovery() AS is_standby FROM heads"
);
const REMOVED: &str = "SELECT id FROM removed WHERE change > $1 AND change <= $2 ORDER BY change";
/// What was checked is no news where it was checked later.
const TELL: &str = "UPDATE blobs SET is_damaged = told.is_damaged, \
     checked_at = CASE WHEN NOT told.is_damaged THEN told.at END \
     FROM unnest($1::bytea[], $2::boolean[], $3::bigint[]) AS told(place, is_damaged, at) \
     WHERE blobs.place = told.place";
const PRUNE: &str = "WITH gone AS (DELETE FROM removed WHERE at < now() - interval '1 hour' \
     RETURNING change) \
     UPDATE heads SET forgotten = greatest(forgotten, (SELECT max(change) FROM gone)) \
     WHERE EXISTS (SELECT FROM gone)";
const PRUNE_BATCHES: &str = "DELETE FROM batches WHERE at < now() - interval '1 hour'";

/// When to remove what nobody asks for any more.
#[derive(Default)]
pub(super) struct Pruning(Option<Instant>);

/// Tells what was found, and looks at the heads.
pub(super) async fn look(
    session: &Session,
    shared: &Shared,
    pruning: &mut Pruning,
) -> Result<(), Failure> {
    let (at, findings) = (Instant::now(), shared.seen.findings());
    if !findings.is_empty() {
        let places: Vec<_> = findings.iter().map(|(it, _)| it.written()).collect();
        let damaged: Vec<_> = findings.iter().map(|(_, it)| it.is_damaged).collect();
        let times: Vec<_> = findings.iter().map(|(_, it)| it.at.0).collect();
        session.execute(TELL, &[&places, &damaged, &times]).await?;
    }
    let seen = session.query(LOOK, &[]).await?;
    let row = seen
        .first()
        .ok_or_else(|| Failure::Odd("the heads are gone".to_owned()))?;
    if value(row, "is_standby")? {
        return Err(Failure::Standby);
    }
    if !shared.is_relaxed {
        let (fsync, commits) = (value(row, "fsync")?, value(row, "commits")?);
        shared.seen.refuse(unsafe_setting(fsync, commits));
    }
    let heads = Heads::of(row)?;
    hear(session, shared, heads).await?;
    shared.seen.note(heads, damaged_in(&seen)?, at, &findings);
    shared.rollout.hear(session, value(row, "oldest")?).await?;
    if pruning.0.is_none_or(|it| it.elapsed() >= PRUNE_EVERY) {
        pruning.0 = Some(Instant::now());
        try_join!(
            session.execute(PRUNE, &[]),
            session.execute(PRUNE_BATCHES, &[])
        )?;
    }
    Ok(())
}

/// Why what the server acknowledges may be lost, if so.
fn unsafe_setting(fsync: &str, commits: &str) -> Option<String> {
    let settings = [("fsync", fsync), ("synchronous_commit", commits)];
    let (name, _) = settings.into_iter().find(|(_, value)| *value == "off")?;
    Some(format!(
        "the database has {name}=off, by which a crash may lose what it has acknowledged"
    ))
}

/// Tells what others have changed up to these heads, which nobody has noted yet.
pub(super) async fn hear(session: &Session, shared: &Shared, heads: Heads) -> Result<(), Failure> {
    let before = shared.seen.heads();
    if heads.changes == before.changes {
        return Ok(());
    }
    // A database that was brought back from a backup has fewer.
    if heads.changes < before.changes || before.changes < heads.forgotten {
        shared.seen.tell_missed();
        return Ok(());
    }
    let removed = session
        .query(REMOVED, &[&before.changes, &heads.changes])
        .await?;
    let ids = removed.iter().map(|row| Ok(rows::id(value(row, "id")?)));
    let ids = ids.collect::<Result<Vec<_>, Failure>>()?;
    shared.seen.tell_removed(&ids);
    Ok(())
}
