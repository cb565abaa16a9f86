//! What a network costs as it grows: `cargo run --release --example network -- [NODES]...`,
//! by default with 10 to 200 nodes. Prints a Markdown table.

use std::time::Duration;

use anyhow::Result;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod simulation;

use simulation::{Simulation, Size};

const SIZES: [usize; 5] = [10, 20, 50, 100, 200];
const FILES_OF_EACH: usize = 10;
/// As nodes have it by default.
const PERIOD: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let limit = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: limit,
        maximum: limit,
    };
    setrlimit(Resource::Nofile, all)?;
    let sizes = std::env::args().skip(1).map(|it| it.parse());
    let mut sizes = sizes.collect::<Result<Vec<usize>, _>>()?;
    if sizes.is_empty() {
        sizes.extend(SIZES);
    }
    println!(
        "| nodes | periods until every view is whole | until then: messages a node | KiB a node \
         | in a quiet period: messages a node | KiB a node | KiB a node of the bootstrap server \
         |\n|---|---|---|---|---|---|---|"
    );
    for nodes in sizes {
        println!("{}", row(nodes).await?);
    }
    Ok(())
}

async fn row(nodes: usize) -> Result<String> {
    let simulation = Simulation::start(Size {
        nodes,
        files_of_each: FILES_OF_EACH,
        period: PERIOD,
    })
    .await?;
    simulation.until_whole(10 * PERIOD).await?;
    let periods = simulation.periods();
    let (peers, bootstrap) = (simulation.traffic(), simulation.traffic_of_bootstrap());
    let (messages, bytes) = peers.so_far();
    // The news are through after one more period; the next one is quiet.
    tokio::time::sleep(PERIOD).await;
    let (before, introduced_before) = (peers.so_far(), bootstrap.so_far());
    tokio::time::sleep(PERIOD).await;
    let (after, introduced) = (peers.so_far(), bootstrap.so_far());
    let each = |number| share(number, nodes);
    let each_kib = |bytes| each(bytes) / 1024.0;
    Ok(format!(
        "| {nodes} | {periods:.1} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
        each(messages),
        each_kib(bytes),
        each(after.0 - before.0),
        each_kib(after.1 - before.1),
        each_kib(introduced.1 - introduced_before.1),
    ))
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn share(number: u64, nodes: usize) -> f64 {
    number as f64 / nodes as f64
}
