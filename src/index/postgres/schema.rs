//! The tables, brought up to what this larder knows.

use tokio_postgres::Client;

use super::failure::Failure;

/// What is done to a database of each version, one after the other; the first makes it.
const MIGRATIONS: [(i32, &str); 14] = [
    (
        1,
        include_str!("../../../migrations/postgres/0001_first_schema.sql"),
    ),
    (
        2,
        include_str!("../../../migrations/postgres/0002_fleet_key.sql"),
    ),
    (
        3,
        include_str!("../../../migrations/postgres/0003_uploads.sql"),
    ),
    (
        4,
        include_str!("../../../migrations/postgres/0004_uploads_that_end.sql"),
    ),
    (
        5,
        include_str!("../../../migrations/postgres/0005_known_peers.sql"),
    ),
    (
        6,
        include_str!("../../../migrations/postgres/0006_wanted.sql"),
    ),
    (
        7,
        include_str!("../../../migrations/postgres/0007_sweeps.sql"),
    ),
    (
        8,
        include_str!("../../../migrations/postgres/0008_news_of_peers.sql"),
    ),
    (
        9,
        include_str!("../../../migrations/postgres/0009_moved.sql"),
    ),
    (
        10,
        include_str!("../../../migrations/postgres/0010_packs.sql"),
    ),
    (
        11,
        include_str!("../../../migrations/postgres/0011_bytes_that_come.sql"),
    ),
    (
        12,
        include_str!("../../../migrations/postgres/0012_room_of_uploads.sql"),
    ),
    (
        13,
        include_str!("../../../migrations/postgres/0013_bucket_of_tables.sql"),
    ),
    (
        14,
        include_str!("../../../migrations/postgres/0014_care.sql"),
    ),
];

/// The version of the tables that this larder writes, and knows.
const VERSION: i32 = 14;
/// None before this version reads what is in packs.
pub(super) const PACKS: i32 = 10;

/// Which lock all take who bring tables up, or say which larders may use them.
pub(super) const LOCK: i64 = 0x6c61_7264_6572;

/// Fails where no larder has ever made tables.
pub(super) async fn check_there(client: &Client) -> Result<(), Failure> {
    let row = client
        .query_one(
            "SELECT to_regclass('larder.tables_version') IS NOT NULL",
            &[],
        )
        .await?;
    if row.try_get(0)? {
        return Ok(());
    }
    let told = "no larder has kept anything in the database";
    Err(Failure::Unfit(told.to_owned()))
}

/// Brings the tables up, while no other node does. A newer larder may have been here before, and
/// this one goes on beside it unless that has said that none so old may.
pub(super) async fn bring_up(client: &mut Client) -> Result<(), Failure> {
    let transaction = client.transaction().await?;
    // Others may make an index over many rows meanwhile.
    transaction
        .batch_execute("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
        .await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    transaction
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS larder;
             CREATE TABLE IF NOT EXISTS tables_version (version int NOT NULL, oldest int NOT NULL)",
        )
        .await?;
    let found = transaction
        .query_opt("SELECT version, oldest FROM tables_version", &[])
        .await?;
    let (version, oldest) = match found {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (0, 0),
    };
    if oldest > VERSION {
        return Err(Failure::Unfit(format!(
            "the database has tables of version {version}, with which none before {oldest} works; \
             this larder knows version {VERSION}"
        )));
    }
    for (number, migration) in MIGRATIONS {
        if number > version {
            transaction.batch_execute(migration).await?;
            tracing::info!(
                version = number,
                "the tables of the database were brought up"
            );
        }
    }
    if version < VERSION {
        transaction
            .batch_execute("DELETE FROM tables_version")
            .await?;
        transaction
            .execute(
                "INSERT INTO tables_version VALUES ($1, $2)",
                // Over tables that are new nobody of before goes on.
                &[&VERSION, &if version == 0 { PACKS } else { oldest }],
            )
            .await?;
    }
    Ok(transaction.commit().await?)
}
