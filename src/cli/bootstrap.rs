//! `larder bootstrap`: the server that introduces peers to each other.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio::net::TcpListener;

use super::stop::{Reloaded, StopSignal, hangup, reload_on_hangup};
use super::storage::keep_private;
use super::{allocator, limits, logging, service};
use crate::blocking;
use crate::bootstrap::{Bootstrap, Options};
use crate::config::{
    DEFAULT_PEER_RATE, GatewayArguments, Listen, Log, SECOND, number, period, reached,
};
use crate::web::server;

/// The port to listen on where none is named.
const PORT: u16 = 9000;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Address to listen on: an IP address, with or without a port (9000).
    #[arg(
        long,
        env = "LARDER_BOOTSTRAP_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:9000"
    )]
    listen: Listen,

    /// Directory that keeps the table of peers; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "bootstrap_storage")]
    storage: PathBuf,

    /// How long a registration lives, such as 90s or 5m; a bare number is seconds.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "90",
        value_parser = |it: &str| period(it, SECOND, 1..=31_536_000)
    )]
    ttl: Duration,

    /// The most peers registered at once.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 10_000,
        value_parser = |it: &str| number(it, 1..=u32::MAX)
    )]
    max_peers: u32,

    /// How many requests a second are taken from one address (IPv6: a /64), ten times as
    /// many at once; 0: no limit.
    #[arg(
        long,
        env = "LARDER_PEER_RATE",
        value_name = "NUMBER",
        default_value_t = DEFAULT_PEER_RATE,
        value_parser = |it: &str| number(it, 0..=u32::MAX)
    )]
    peer_rate: u32,

    #[command(flatten)]
    gateways: GatewayArguments,

    #[command(flatten)]
    log: Log,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start_for_server(&arguments.log);
    keep_private();
    allocator::limit();
    limits::raise_open_files();
    limits::be_told_of_the_end_of_time();
    // No answer can be dated then.
    if SystemTime::now() < UNIX_EPOCH {
        bail!("the clock of this machine is set to a time before 1970; set it and start again");
    }
    let runtime = limits::new_runtime().context("cannot start the runtime")?;
    runtime.block_on(serve(arguments))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    let stop = StopSignal::listen()?;
    let nothing = Reloaded {
        tls: None,
        tokens: None,
        membership: None,
    };
    tokio::spawn(reload_on_hangup(hangup()?, nothing));
    let address = arguments.listen.with_port(PORT);
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let options = Options {
        dir: arguments.storage.clone(),
        ttl: arguments.ttl,
        max_peers: arguments.max_peers as usize,
        rate: NonZeroU32::new(arguments.peer_rate),
    };
    let opened = blocking::run(move || Bootstrap::open(&options)).await;
    let bootstrap = Arc::new(opened.context("cannot use the storage directory")?);
    let saving = tokio::spawn(Arc::clone(&bootstrap).save_regularly());
    tracing::info!(%bound, "introducing peers");
    let shown = reached::shown("http", bound, &reached::at("http", bound)?);
    let said = format!("larder introduces peers on {shown} now");
    logging::say(&said);
    service::serves(&said);
    let files = *blocking::run(limits::share_out_files).await;
    let gateways = arguments.gateways.gateways();
    let address = format!("http://{bound}").parse()?;
    let router = Arc::clone(&bootstrap).router(address, !gateways.is_empty());
    let options = server::Options {
        files,
        gateways,
        ..server::Options::default()
    };
    allocator::end_start();
    tokio::spawn(allocator::give_back_regularly());
    let shutdown = stop.wait_once(Arc::clone(&options.hurry));
    server::serve(listener, router, &options, Arc::default(), shutdown).await;
    saving.abort();
    blocking::run(move || bootstrap.save()).await;
    Ok(())
}
