//! Many nodes in one process; `benches/network` lets it grow further.
//!
//! Apart, since it counts how often they look around until all is known everywhere.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::time::Duration;

#[path = "../benches/network/simulation.rs"]
mod simulation;

use simulation::{Simulation, Size};

/// An id and a hash, as they are written.
const FILE_BYTES: u64 = 36 + 64;

#[tokio::test(flavor = "multi_thread")]
async fn every_view_is_whole_within_two_periods() {
    let size = Size {
        nodes: 30,
        files_of_each: 5,
        period: Duration::from_secs(4),
    };
    let simulation = Simulation::start(size).await.unwrap();
    simulation
        .until_whole(Duration::from_mins(1))
        .await
        .unwrap();
    // Counted in the nodes' own rounds, so that a slow machine makes no difference.
    let periods = simulation.periods();
    assert!(periods <= 2.0, "{periods}");
    // Each node has asked each other one, and has read the id and the hash of every file.
    let pairs = u64::try_from(size.nodes * (size.nodes - 1)).unwrap();
    let files = pairs * u64::try_from(size.files_of_each).unwrap();
    let (messages, bytes) = simulation.traffic().so_far();
    assert!(messages >= pairs, "{messages}");
    assert!(bytes >= files * FILE_BYTES, "{bytes}");
}
