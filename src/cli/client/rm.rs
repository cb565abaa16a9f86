//! `larder rm`: removes files from the node.

use std::process::ExitCode;

use reqwest::Method;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::find::several;
use super::listed::Where;
use super::output;
use super::running::run;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The id, the name or the hash of a file that the node holds; can be repeated.
    #[arg(required = true)]
    files: Vec<String>,

    #[command(flatten)]
    connection: Connection,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.remove(api))
    }

    async fn remove(&self, api: Api) -> Result<(), Failure> {
        for wanted in &self.files {
            let found = match api.find(Where::Here, wanted).await {
                Err(Failure::NotFound(_)) => return Err(not_here(&api, wanted).await),
                found => found?,
            };
            let [file] = found.as_slice() else {
                return Err(several(wanted, &found));
            };
            file.check()?;
            let path = format!("/api/p2p/file/{}", file.id);
            api.send(api.request(Method::DELETE, &path)).await?;
            if self.connection.json {
                output::json(file)?;
            } else {
                let name = output::plain(&file.original_name);
                output::line(&format!("removed {name} ({})", file.id))?;
            }
        }
        Ok(())
    }
}

/// Why there is nothing to remove: others may hold it, and only they remove it.
async fn not_here(api: &Api, wanted: &str) -> Failure {
    match api.find(Where::Network, wanted).await {
        Ok(_) => Failure::NotHere(wanted.to_owned()),
        Err(failure) => failure,
    }
}
