//! Tests in network namespaces, where nodes have addresses of their own. Where the machine does
//! not allow those, that is said.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;

mod cables;
mod lan;
mod lookups;
mod lossy_switch;
mod neighbours;
