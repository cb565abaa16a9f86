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

/// Where a node lists what is on too few members, and the most pages of that.
const UNDER_REPLICATED: &str = "/api/p2p/copies/under_replicated";
const MOST_PAGES: u32 = 1_000_000;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files that the node holds: their ids or hashes, the beginnings of these, their names,
    /// folders, or patterns such as 'a*'.
    #[arg(required_unless_present = "under_replicated", value_name = "FILE")]
    files: Vec<Wanted>,

    /// List the files that fewer members hold than are to: those of the node, and those of owners
    /// that are gone for which it answers.
    #[arg(long, conflicts_with_all = ["files", "set"])]
    under_replicated: bool,

    /// Have them be on so many members of the node's network from now on, the node among them.
    /// Others fetch what is missing, or give up what is too much, in the background.
    #[arg(long, value_name = "NUMBER", value_parser = number_of_copies)]
    set: Option<u8>,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connection: Connection,
}

/// A page of those that are on too few members.
#[derive(Deserialize)]
struct Page {
    files: Vec<Under>,
    next: Option<String>,
}

/// One of them.
#[derive(Serialize, Deserialize)]
struct Under {
    owner: String,
    own: bool,
    file_id: String,
    original_name: String,
    size: u64,
    hash: String,
    copies: Spread,
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
        run(&self.connection, |api| async {
            if self.under_replicated {
                return self.list(api).await;
            }
            self.go_through(api).await
        })
    }

    /// Lists what is on too few members, page by page.
    async fn list(&self, api: Api) -> Result<(), Failure> {
        let mut after = String::new();
        for _ in 0..MOST_PAGES {
            let path = format!("{UNDER_REPLICATED}{after}");
            let page: Page = api.json(api.request(Method::GET, &path)).await?;
            for file in &page.files {
                self.print_under(file)?;
            }
            let Some(next) = page.next else {
                return Ok(());
            };
            after = format!("?after={next}");
        }
        Err(Failure::Nonsense("its list does not end"))
    }

    fn print_under(&self, file: &Under) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(file)?);
        }
        let Spread { wanted, there } = file.copies;
        let (id, name) = (output::field(&file.file_id), plain(&file.original_name));
        let owner = if file.own {
            "own".to_owned()
        } else {
            format!("of {}", output::field(&file.owner))
        };
        Ok(output::line(&format!(
            "{id}  on {there} of {wanted}  {owner}  {name}"
        ))?)
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
