//! A soak: three nodes and many clients, while everything fails that may, and a model of what was
//! acknowledged.
//!
//! In each round clients upload, download, remove, list and have copies kept, at any node, while
//! nodes are killed, lose power, stand still or are cut off, disks are full, clocks jump, and in
//! some rounds bits flip. Then all is healed, and every acknowledged file has to be right, or,
//! where a bit was flipped, told to be damaged or lost; what was removed stays removed. Every
//! byte that a node sends is compared as it comes, at any time. `LARDER_SOAK_MINUTES` says how
//! long it takes, `LARDER_SEED` where it begins: with what clients and faults are drawn from, not
//! with what comes first of what happens at once.

// A panic is how a test fails.
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod check;
mod client;
#[expect(dead_code, reason = "the tests of `it` use all of it")]
#[path = "../common/mod.rs"]
mod common;
mod contents;
mod faults;
mod model;
#[expect(dead_code, reason = "the tests of `mounts` use all of it")]
#[path = "../mounts/mounted.rs"]
mod mounted;
mod parts;
mod site;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use client::Client;
use common::random::Random;
use common::relay::Relay;
use site::Site;
use world::{NODES, World};

const CLIENTS: usize = 6;
/// How many rounds there are where nothing is said of how long it takes.
const ROUNDS: u64 = 12;
/// How many faults there are in a round at most.
const MOST_FAULTS: u64 = 8;

/// What the test does, as opposed to its clients.
struct Run {
    sites: Vec<Site>,
    world: Arc<World>,
    random: Random,
    faults: BTreeMap<&'static str, u64>,
}

impl Run {
    fn new(mut random: Random) -> Self {
        let cables = [(); NODES].map(|()| Relay::new());
        let urls: Vec<_> = cables.iter().map(Relay::url).collect();
        // Nobody else listens there.
        let [a, b] = [(); 2].map(|()| 1 + random.below(250));
        let sites = cables.into_iter().enumerate().map(|(number, cable)| {
            let mut peers = urls.clone();
            peers.remove(number);
            Site::new(format!("127.{a}.{b}.{}", number + 1), cable, peers)
        });
        Self {
            sites: sites.collect(),
            world: Arc::new(World::new()),
            random,
            faults: BTreeMap::new(),
        }
    }

    /// Clients at work, and what fails meanwhile; then all is checked.
    async fn round(&mut self) {
        let mut clients = JoinSet::new();
        self.world.ends.store(false, Ordering::SeqCst);
        for _ in 0..CLIENTS {
            let (world, random) = (Arc::clone(&self.world), Random(self.random.next()));
            clients.spawn(Client { world, random }.run());
        }
        let flips_on = match self.random.below(3) {
            0 => Some(usize::try_from(self.random.below(NODES as u64)).unwrap()),
            _ => None,
        };
        for _ in 0..=self.random.below(MOST_FAULTS) {
            self.pause();
            self.fail(flips_on);
        }
        self.pause();
        self.world.ends.store(true, Ordering::SeqCst);
        // Whoever waits for what stands still waits no more.
        for site in &self.sites {
            site.make_room();
            site.cable.mend();
        }
        while let Some(ended) = clients.join_next().await {
            ended.unwrap();
        }
        self.check().await;
    }

    fn tell(&self, rounds: u64, began: Instant) {
        println!(
            "{rounds} rounds in {} s; faults:",
            began.elapsed().as_secs()
        );
        for (what, count) in &self.faults {
            println!("{count:>9} {what}");
        }
        println!("and what came of it:");
        for (what, count) in &*self.world.counts.lock() {
            println!("{count:>9} {what}");
        }
    }
}

/// How long it goes on, where that is said.
fn length() -> Option<Duration> {
    let minutes = match std::env::var("LARDER_SOAK_MINUTES") {
        Ok(minutes) => minutes.parse().unwrap(),
        Err(_) => std::env::var_os("LARDER_SOAK").map(|_| 30)?,
    };
    Some(Duration::from_mins(minutes))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_what_was_acknowledged_is_there_and_nothing_wrong_is_served() {
    let mut run = Run::new(Random::from_environment());
    (0..NODES).for_each(|node| run.turn_on(node));
    let (began, mut rounds) = (Instant::now(), 0);
    while length().map_or(rounds < ROUNDS, |it| began.elapsed() < it) {
        run.round().await;
        rounds += 1;
        if rounds.is_multiple_of(10) {
            run.tell(rounds, began);
        }
    }
    run.tell(rounds, began);
    // Otherwise the test did not test.
    assert!(run.faults.len() > 5, "{:?}", run.faults);
}
