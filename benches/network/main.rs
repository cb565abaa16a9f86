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
         | in a quiet period: messages a node | KiB a node |\n|---|---|---|---|---|---|"
    );
    for nodes in sizes {
        let size = Size {
            nodes,
            files_of_each: FILES_OF_EACH,
            period: PERIOD,
        };
        let simulation = Simulation::start(size).await?;
        simulation.until_whole(10 * PERIOD).await?;
        let periods = simulation.periods();
        let (messages, bytes) = simulation.traffic().so_far();
        // The news are through after one more period; the next one is quiet.
        tokio::time::sleep(PERIOD).await;
        let (before_messages, before_bytes) = simulation.traffic().so_far();
        tokio::time::sleep(PERIOD).await;
        let (later_messages, later_bytes) = simulation.traffic().so_far();
        let each = |number| share(number, nodes);
        println!(
            "| {nodes} | {periods:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
            each(messages),
            each(bytes) / 1024.0,
            each(later_messages - before_messages),
            each(later_bytes - before_bytes) / 1024.0,
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn share(number: u64, nodes: usize) -> f64 {
    number as f64 / nodes as f64
}
