//! Tests with hundreds of connections at once: apart, so that nothing else takes of the files
//! that one process may have open, and nobody else waits for them.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;

mod connections;
mod copies;
mod crowd;
mod crowds;
mod downloads;
mod open_files;
mod shares;
mod silent;
mod silent_crowds;
mod standing_still;

use common::process::Node;

impl Node {
    /// The memory that the node holds now, in KiB.
    fn resident_memory(&self) -> u64 {
        self.memory("VmRSS:")
    }
}
