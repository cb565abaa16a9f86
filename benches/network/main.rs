//! What a network costs as it grows: `cargo run --release --example network -- [NODES]...`,
//! by default with 10 to 1,000 nodes. Prints a Markdown table.
//! `network -- bootstrap LARDER NODES` tells what a bootstrap server costs.

use std::time::{Duration, Instant};

use anyhow::Result;
use larder::open_files;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

mod registering;
mod simulation;

use simulation::{Simulation, Size};

const SIZES: [usize; 5] = [10, 50, 200, 500, 1000];
/// So many that a thousand nodes have room in one process.
const FILES_OF_EACH: usize = 2;
/// What one node may have open of a thousand, which share what one process may.
const OPEN_FILES: u64 = 300;
/// As nodes have it by default, and longer where one machine has to do the work of many.
fn period(nodes: usize) -> Duration {
    Duration::from_micros(400 * nodes as u64 * nodes as u64).max(Duration::from_secs(30))
}

#[tokio::main]
async fn main() -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::Nofile, all)?;
    open_files::share_out(Some(OPEN_FILES), 0);
    let mut words = std::env::args().skip(1);
    if let (Some("bootstrap"), Some(larder), Some(nodes)) =
        (words.next().as_deref(), words.next(), words.next())
    {
        return registering::run(&larder, nodes.parse()?).await;
    }
    let sizes = std::env::args().skip(1).map(|it| it.parse());
    let mut sizes = sizes.collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    println!(
        "| nodes | period, s | periods until every view is whole | until then: messages a node \
         | KiB a node | in a quiet period: messages a node | KiB a node | CPU ms a node \
         | KiB a node of the bootstrap server | one upload: periods until all see it \
         | messages a node besides |\n|---|---|---|---|---|---|---|---|---|---|---|"
    );
    for nodes in sizes {
        println!("{}", row(nodes).await?);
    }
    Ok(())
}

async fn row(nodes: usize) -> Result<String> {
    let period = period(nodes);
    let mut simulation = Simulation::start(Size {
        nodes,
        files_of_each: FILES_OF_EACH,
        period,
        announced: true,
    })
    .await?;
    simulation.until_whole(10 * period).await?;
    let periods = simulation.periods();
    let (messages, bytes) = simulation.traffic().so_far();
    // The news are through after one more period; the next one is quiet.
    tokio::time::sleep(period).await;
    let cpu = cpu_ms();
    let quiet = simulation.during(period).await;
    let cpu = cpu_ms() - cpu;
    let (before, began) = (simulation.traffic().so_far(), Instant::now());
    simulation.upload().await?;
    simulation.until_whole(10 * period).await?;
    let seen = began.elapsed().as_secs_f64() / period.as_secs_f64();
    tokio::time::sleep(period.saturating_sub(began.elapsed())).await;
    let upload = simulation.traffic().so_far().0 - before.0;
    let each = |number| share(number, nodes);
    let each_kib = |bytes| each(bytes) / 1024.0;
    Ok(format!(
        "| {nodes} | {} | {periods:.1} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {seen:.3} \
         | {:.1} |",
        period.as_secs(),
        each(messages),
        each_kib(bytes),
        each(quiet.messages),
        each_kib(quiet.bytes),
        each(cpu),
        each_kib(quiet.bytes_of_bootstrap),
        each(upload) - each(quiet.messages),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn share(number: u64, nodes: usize) -> f64 {
    number as f64 / nodes as f64
}

/// What this process has computed so far.
fn cpu_ms() -> u64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (seconds, nanos) = (spent.tv_sec, spent.tv_nsec);
    u64::try_from(seconds * 1000 + nanos / 1_000_000).unwrap_or(0)
}
