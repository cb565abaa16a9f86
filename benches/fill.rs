//! Fills a storage directory: `cargo run --release --example fill -- DIR FILES BYTES`.
//!
//! Benchmarks of a large node start from what it leaves: FILES files of BYTES random
//! bytes each, through the same store that a node uses.

use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use larder::disk::Durability;
use larder::store::local::{LocalStore, Options};
use larder::store::{About, Store};
use tokio::task::JoinSet;

/// How many files are written at once.
const AT_ONCE: usize = 128;

#[tokio::main]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut arg = || args.next().context("usage: fill DIR FILES BYTES");
    let (dir, files, bytes) = (arg()?, arg()?.parse::<u64>()?, arg()?.parse::<usize>()?);
    let mut options = Options::new(dir);
    options.durability = Durability::Relaxed;
    let opened = LocalStore::open(options).await?;
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    opened.store.keep_up(&mut tasks);
    let writes = stream::iter(0..files).map(|n| add(opened.store.clone(), n, bytes));
    writes
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    tasks.shutdown().await;
    let took = began.elapsed();
    opened.store.close().await?;
    println!(
        "{files} files of {bytes} bytes in {took:.1?}, closed after {:.1?}",
        began.elapsed()
    );
    Ok(())
}

async fn add(store: Store, n: u64, bytes: usize) -> Result<()> {
    let mut content = vec![0; bytes];
    blake3::Hasher::new()
        .update(&n.to_le_bytes())
        .finalize_xof()
        .fill(&mut content);
    let mut receiving = store.receive().await?;
    receiving.write(Bytes::from(content)).await?;
    let about = About {
        name: format!("file-{n:09}.bin"),
        ..About::default()
    };
    store.ingest(receiving.finish().await?, about).await?;
    Ok(())
}
