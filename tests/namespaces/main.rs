//! Tests in namespaces, where nodes have addresses, or a system, of their own. Where the machine
//! does not allow those, that is said.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;

mod cables;
mod copies;
mod debian;
mod lan;
mod lookups;
mod lossy_switch;
mod members;
mod neighbours;
mod open_files;
mod packages;
mod skipped;
mod two_machines;
