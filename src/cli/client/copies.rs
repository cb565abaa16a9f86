//! `larder copies`: on how many members of the network files are, and are to be.

use std::process::ExitCode;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::Api;
use super::batch::Batch;
use super::choice::Choice;
use super::connection::Connection;
use super::failure::Failure;
use super::find::Found;
use super::listed::{File, Where};
use super::output::{self, plain};
use super::rm::not_here;
use super::running::run;
use super::wanted::Wanted;
use crate::config::number_of_copies;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files that the node holds: their ids or hashes, the beginnings of these, their names,
    /// folders, or patterns such as 'a*'.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Wanted>,

    /// Have them be on so many members of the node's network from now on, the node among them.
    /// Others fetch what is missing, or give up what is too much, in the background.
    #[arg(long, value_name = "NUMBER", value_parser = number_of_copies)]
    set: Option<u8>,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connection: Connection,
}

/// What the node tells of a file.
#[derive(Serialize, Deserialize)]
struct Told {
    file_id: String,
    original_name: String,
    copies: Spread,
    /// The node itself first.
    holders: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Spread {
    wanted: u64,
    there: u64,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.go_through(api))
    }

    async fn go_through(&self, api: Api) -> Result<(), Failure> {
        let done = if self.set.is_some() { "set" } else { "told" };
        let mut batch = Batch::new(done, api.proxy());
        for wanted in &self.files {
            let found = match find(&api, wanted).await {
                Ok(found) => found,
                Err(failure) => {
                    batch.failed(&failure, wanted);
                    continue;
                }
            };
            for chosen in self.choice.files(wanted, found) {
                let told = match chosen.files {
                    Ok(files) => self.tell_all(&api, &files).await,
                    Err(failure) => Err(failure),
                };
                match told {
                    Ok(()) => batch.succeeded(),
                    Err(failure @ Failure::Print(_)) => return Err(failure),
                    Err(failure) => batch.failed(&failure, &chosen.called),
                }
            }
            if !batch.goes_on() {
                break;
            }
        }
        batch.end()
    }

    async fn tell_all(&self, api: &Api, files: &[File]) -> Result<(), Failure> {
        for file in files {
            let path = format!("/api/p2p/file/{}/copies", file.id);
            let request = match self.set {
                Some(number) => {
                    let request = api.request(Method::PUT, &path);
                    request.json(&json!({ "copies": number }))
                }
                None => api.request(Method::GET, &path),
            };
            self.print(&api.json(request).await?)?;
        }
        Ok(())
    }

    fn print(&self, told: &Told) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(told)?);
        }
        let Spread { wanted, there } = told.copies;
        let (id, name) = (output::field(&told.file_id), plain(&told.original_name));
        Ok(output::line(&format!(
            "{id}  on {there} of {wanted}  {name}"
        ))?)
    }
}

/// What a text means that the node asked holds itself.
async fn find(api: &Api, wanted: &str) -> Result<Found, Failure> {
    match api.find(Where::Here, wanted).await {
        Err(Failure::NotFound(_) | Failure::NoMatch(_)) => {
            Err(not_here(api, wanted, ("tells", "copies")).await)
        }
        found => found,
    }
}
