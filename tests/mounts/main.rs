//! Tests that mount file systems, to fill or to break them; that takes root.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;

mod few_inodes;
mod full_backups;
mod full_check;
mod full_commands;
mod full_copies;
mod full_disk;
mod full_lookup;
mod full_start;
mod full_upgrade;
mod mounted;
mod mounted_over;
mod read_only_check;
mod read_only_disk;
mod readiness;
mod small_disk;
