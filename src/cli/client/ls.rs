//! `larder ls`: what the node holds, or the network.

use std::process::ExitCode;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::listed::{File, Where};
use super::output;
use super::pages::{Limits, Pages};
use super::running::run;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Only files whose names hold this text, whatever the case.
    name: Option<String>,

    /// List what the whole network holds, and how many nodes hold it.
    #[arg(long)]
    network: bool,

    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.list(api))
    }

    async fn list(&self, api: Api) -> Result<(), Failure> {
        let list = if self.network {
            Where::Network
        } else {
            Where::Here
        };
        let mut pages = Pages::of(&api, list, self.name.as_deref(), Limits::SHOWING);
        while let Some(files) = pages.next().await? {
            for file in &files {
                self.print(file)?;
            }
        }
        Ok(())
    }

    fn print(&self, file: &File) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(file)?);
        }
        let answering = file.reachable_peers.as_ref().unwrap_or(&file.peers);
        let nodes = match answering.len() {
            _ if !self.network => String::new(),
            0 => "  0 nodes (not reachable now)".to_owned(),
            1 => "   1 node".to_owned(),
            many => format!("{many:>4} nodes"),
        };
        let size = output::size(file.size);
        let (id, at) = (output::field(&file.id), output::field(&file.uploaded_at));
        let name = output::plain(&file.original_name);
        Ok(output::line(&format!(
            "{id}  {size:>11}  {at}{nodes}  {name}"
        ))?)
    }
}
