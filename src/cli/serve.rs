//! `larder serve`: a node from start to end.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;

use super::stop::{StopSignal, hangup, reload_on_hangup};
use super::storage::{advised, keep_private};
use super::{allocator, limits, logging};
use crate::access::Writers;
use crate::config::Settings;
use crate::http;
use crate::node::{self, Node, NodeError};
use crate::peer::tls::Authorities;
use crate::web::server;
use crate::web::tls::Tls;

pub(super) fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    logging::start(settings.log());
    allocator::limit();
    keep_private();
    limits::raise_open_files();
    limits::be_told_of_the_end_of_time();
    let (http, authorities) = (settings.http()?, settings.authorities()?);
    let tls = settings.tls()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(serve(settings, http, authorities, tls))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    settings: &Settings,
    http: http::Options,
    authorities: Authorities,
    tls: Option<Tls>,
) -> anyhow::Result<()> {
    // From here on the signals end the node in order.
    let stop = StopSignal::listen()?;
    tokio::spawn(reload_on_hangup(hangup()?, tls.clone()));
    let address = settings.listen();
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let options = node::Options {
        authorities,
        ..settings.node(bound)?
    };
    let node = Node::open(options).await.map_err(|error| match error {
        NodeError::Store(error) => advised(error),
        other => other.into(),
    })?;
    let node = Arc::new(node);
    allocator::give_back();
    if node.base_url().has_path() {
        tracing::warn!(base_url = %node.base_url(), "peers ask no address that has a path");
    }
    let writers = http.access.writers();
    if writers == Writers::Nobody {
        tracing::warn!(%bound, "takes no changes: set --tokens, --token, --token-file or --open");
    }
    let router = http::router(Arc::clone(&node), http);
    let storage = node.storage_dir().display();
    let servers: Vec<_> = settings
        .bootstrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    let bootstrap = servers.join(" ");
    tracing::info!(%bound, peer_id = %node.peer_id(), base_url = %node.base_url(), %storage,
        %bootstrap, "serving");
    // Nobody has to read it.
    let _ = writeln!(
        stdout(),
        "larder serves {storage} on {}://{bound} as peer {}, and takes changes from {}",
        settings.scheme(),
        node.peer_id(),
        match writers {
            Writers::Anybody => "everybody who reaches it",
            Writers::Token => "whoever bears a token for that",
            Writers::Nobody => "nobody: set --tokens, --token, --token-file or --open",
        }
    );
    let server = server::Options {
        tls,
        max_connections: limits::connections(),
        ..settings.server()
    };
    tokio::spawn(allocator::give_back_regularly());
    node.run(listener, router, &server, stop.wait())
        .await
        .context("the last changes may not be on disk")
}
