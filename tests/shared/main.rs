//! What several nodes share, against the servers that keep it: real ones, which each test starts.
//! The store is a `SeaweedFS`, or one that is there already, whose URL the variable
//! `STORE_UNDER_TEST` names: of `tests/fleet/stores.py`, say. Over a `SeaweedFS` in any case are
//! those that kill or stop the store (`S3Store::that_can_be_killed`), and the commands of the
//! guide; in the storm nobody stops a store that is not its own.
//!
//! Built and run with `--features shared`; `tests/run` does.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;
#[expect(dead_code, reason = "the tests of `mounts` use all of it")]
#[path = "../mounts/mounted.rs"]
mod mounted;

mod backup;
mod care;
mod cutter;
mod faults;
mod fleet;
mod fleet_peer;
mod guide;
mod keep_rows;
mod keeps;
mod metrics;
mod migrate;
mod nodes;
mod pack_index;
mod packs;
mod packs_nodes;
mod plans;
mod postgres;
mod postgres_faults;
mod postgres_index;
mod postgres_races;
mod quota;
mod readers;
mod removals;
mod s3;
mod s3_faults;
mod s3_store;
mod seaweed;
mod settings;
mod silent;
mod store_tls;
mod storm;
mod sweeps;
mod tables_of_before;
mod upload_faults;
mod uploads;
mod verify;
