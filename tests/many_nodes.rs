//! Many nodes in one process; `benches/network` lets it grow further.
//!
//! Apart, since it counts how often they look around until all is known everywhere.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

use std::time::{Duration, Instant};

#[path = "../benches/network/simulation.rs"]
mod simulation;

use simulation::{Simulation, Size};

/// An id and a hash, as they are written.
const FILE_BYTES: u64 = 36 + 64;

#[tokio::test(flavor = "multi_thread")]
async fn views_are_whole_within_two_periods_and_cost_little_while_little_changes() {
    let size = Size {
        nodes: 60,
        files_of_each: 2,
        period: Duration::from_secs(20),
        announced: true,
    };
    let nodes = u64::try_from(size.nodes).unwrap();
    let mut simulation = Simulation::start(size).await.unwrap();
    let limit = Duration::from_mins(2);
    simulation.until_whole(limit).await.unwrap();
    // Counted in the nodes' own rounds, so that a slow machine makes no difference.
    let periods = simulation.periods();
    assert!(periods <= 2.0, "{periods}");
    // Each node has asked each other one, and has read the id and the hash of every file.
    let pairs = nodes * (nodes - 1);
    let files = pairs * u64::try_from(size.files_of_each).unwrap();
    let (messages, bytes) = simulation.traffic().so_far();
    assert!(messages >= pairs, "{messages}");
    assert!(bytes >= files * FILE_BYTES, "{bytes}");

    // The news are through after one more period; the next one is quiet.
    tokio::time::sleep(size.period).await;
    let quiet = simulation.during(size.period).await;
    assert!(quiet.messages <= 12 * nodes, "{quiet:?}");
    assert!(quiet.bytes <= (6 << 10) * nodes, "{quiet:?}");
    let of_bootstrap = quiet.bytes_of_bootstrap;
    assert!(of_bootstrap <= (20 << 10) * nodes, "{of_bootstrap}");

    let (before, began) = (simulation.traffic().so_far().0, Instant::now());
    simulation.upload().await.unwrap();
    simulation.until_whole(2 * size.period).await.unwrap();
    tokio::time::sleep(size.period.saturating_sub(began.elapsed())).await;
    let besides = simulation.traffic().so_far().0 - before;
    assert!(besides <= 4 * nodes + quiet.messages, "{besides} {quiet:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_hears_of_costs_what_it_is_however_many_files_there_are() {
    const CHANGES: u64 = 5;
    let size = Size {
        nodes: 2,
        files_of_each: 10_000,
        period: Duration::from_secs(4),
        announced: false,
    };
    let mut simulation = Simulation::start(size).await.unwrap();
    let limit = Duration::from_mins(3);
    simulation.until_whole(limit).await.unwrap();
    // What came before the start is told first, of which nobody hears either.
    let quiet = 2 * (1 << 10);
    let began = Instant::now();
    while simulation.during(size.period).await.bytes > quiet {
        assert!(began.elapsed() < limit, "it is never quiet");
    }
    let (before, began) = (simulation.traffic().so_far(), Instant::now());
    for _ in 0..CHANGES {
        simulation.upload().await.unwrap();
        simulation.until_whole(4 * size.period).await.unwrap();
    }
    let periods = 1 + began.elapsed().as_millis() / size.period.as_millis();
    let periods = u64::try_from(periods).unwrap();
    let bytes = simulation.traffic().so_far().1 - before.1;
    // Both of them ask each other.
    let most = (2 << 10) * CHANGES + quiet * periods;
    assert!(bytes <= most, "{bytes} bytes, {periods} periods");
}
