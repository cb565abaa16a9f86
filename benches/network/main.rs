//! What a network costs as it grows: `cargo run --release --example network -- [SECONDS]`.
//!
//! SECONDS is the discovery period, 30 by default. Prints a Markdown table.

use std::time::Duration;

use anyhow::{Context, Result};

mod simulation;

use simulation::{Simulation, Size};

const NODES: [usize; 5] = [10, 20, 50, 100, 200];
const FILES_OF_EACH: usize = 10;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds = arguments.next().unwrap_or_else(|| "30".to_owned());
    let period = Duration::from_secs(seconds.parse().context("usage: network [SECONDS]")?);
    println!(
        "| nodes | periods until every view is whole | until then: messages a node | KiB a node \
         | in a quiet period: messages a node | KiB a node |\n|---|---|---|---|---|---|"
    );
    for nodes in NODES {
        let size = Size {
            nodes,
            files_of_each: FILES_OF_EACH,
            period,
        };
        let simulation = Simulation::start(size).await?;
        simulation.until_whole(10 * period).await?;
        let periods = simulation.periods();
        let (messages, bytes) = simulation.traffic().so_far();
        tokio::time::sleep(period).await;
        let (later_messages, later_bytes) = simulation.traffic().so_far();
        let (begun, each) = (simulation.periods() - periods, |number| {
            share(number, nodes)
        });
        println!(
            "| {nodes} | {periods:.1} | {:.0} | {:.0} | {:.0} | {:.0} |",
            each(messages),
            each(bytes) / 1024.0,
            each(later_messages - messages) / begun,
            each(later_bytes - bytes) / 1024.0 / begun,
        );
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
fn share(number: u64, nodes: usize) -> f64 {
    number as f64 / nodes as f64
}
