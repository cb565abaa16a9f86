//! `larder rm`: removes files from the node.

use std::process::ExitCode;

use indicatif::ProgressBar;
use reqwest::Method;
use serde::Deserialize;

use super::api::Api;
use super::batch::Batch;
use super::choice::Choice;
use super::connection::Connection;
use super::failure::Failure;
use super::find::Found;
use super::listed::{File, Where};
use super::output::{self, plain};
use super::running::run;
use super::wanted::Wanted;
use crate::base_url::BaseUrl;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files that the node holds: their ids or hashes, the beginnings of these, their names,
    /// folders, or patterns such as 'a*'. Of files of one name those that are alike in content and
    /// description, too, are removed together; where they differ, --newest or --all says which.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Wanted>,

    #[command(flatten)]
    choice: Choice,

    /// Have them gone at once where the node has a trash, from which they could be restored.
    #[arg(short, long)]
    force: bool,

    /// Do not ask before several files are removed that a folder or a pattern means; only a
    /// terminal is asked.
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Peers {
    peers: Vec<Peer>,
}

/// Another node, as the one asked knows it.
#[derive(Deserialize)]
struct Peer {
    peer_id: String,
    address: String,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.remove(api))
    }

    async fn remove(&self, api: Api) -> Result<(), Failure> {
        let mut batch = Batch::new("removed", api.proxy());
        for wanted in &self.files {
            if !batch.goes_on() {
                break;
            }
            for (called, files) in self.meant(&api, wanted, &mut batch).await {
                if !batch.goes_on() {
                    break;
                }
                match self.remove_all(&api, &files).await {
                    Ok(()) => batch.succeeded(),
                    Err(failure @ Failure::Print(_)) => return Err(failure),
                    Err(failure) => batch.failed(&failure, &called),
                }
            }
        }
        batch.end()
    }

    /// What is to be removed by each name: all that `wanted` means, or nothing, since nothing
    /// brings back what is removed of a folder or a pattern before the rest is found unclear.
    async fn meant(
        &self,
        api: &Api,
        wanted: &str,
        batch: &mut Batch<'_>,
    ) -> Vec<(String, Vec<File>)> {
        let found = match find(api, wanted).await {
            Ok(found) => found,
            Err(failure) => {
                batch.failed(&failure, wanted);
                return Vec::new();
            }
        };
        let has_paths = found.by.has_paths();
        let (mut clear, mut is_clear) = (Vec::new(), true);
        for chosen in self.choice.files(wanted, found) {
            match chosen.files {
                Ok(files) => clear.push((chosen.called, files)),
                Err(failure) if has_paths => {
                    batch.hindered(&failure, &chosen.called);
                    is_clear = false;
                }
                Err(failure) => {
                    batch.failed(&failure, wanted);
                    return Vec::new();
                }
            }
        }
        let count = clear.iter().map(|(_, files)| files.len()).sum();
        let refusal = if !is_clear {
            Failure::NotAllClear(wanted.to_owned())
        } else if self.is_agreed(wanted, count, has_paths).await {
            return clear;
        } else {
            Failure::NotRemoved(count, wanted.to_owned())
        };
        batch.failed(&refusal, wanted);
        Vec::new()
    }

    /// Whether so many files are to be removed: whoever types a folder or a pattern may not know
    /// of all that it means.
    async fn is_agreed(&self, wanted: &str, count: usize, has_paths: bool) -> bool {
        if count < 2 || self.yes || !has_paths || !output::is_asked() {
            return true;
        }
        let question = format!("remove all {count} files that {} means?", plain(wanted));
        output::says_yes(question).await
    }

    async fn remove_all(&self, api: &Api, files: &[File]) -> Result<(), Failure> {
        for file in files {
            remove_one(api, file, self.force).await?;
            if self.connection.json {
                output::json(file)?;
            } else {
                let name = plain(&file.original_name);
                output::line(&format!("removed {name} ({})", file.id))?;
            }
        }
        Ok(())
    }
}

/// What a text means that the node asked holds itself.
async fn find(api: &Api, wanted: &str) -> Result<Found, Failure> {
    match api.find(Where::Here, wanted).await {
        Err(Failure::NotFound(_) | Failure::NoMatch(_)) => {
            Err(not_here(api, wanted, ("removes it", "rm")).await)
        }
        found => found,
    }
}

/// Removes a file; a node that is being restarted is waited for.
async fn remove_one(api: &Api, file: &File, force: bool) -> Result<(), Failure> {
    let query = if force { "?force=1" } else { "" };
    let path = format!("/api/p2p/file/{}{query}", file.id);
    let hidden = ProgressBar::hidden();
    let mut again = api.again(&hidden);
    loop {
        match api.send(api.request(Method::DELETE, &path)).await {
            Ok(_) => return Ok(()),
            // It was removed, and the answer was lost.
            Err(failure) if failure.is_gone() && again.has_failed() => return Ok(()),
            Err(failure) if failure.is_of_restart() => again.wait(failure).await?,
            Err(failure) => return Err(failure),
        }
    }
}

/// Why there is nothing here to do that with, which only those do who hold it: what they do, and
/// by which command.
pub(super) async fn not_here(
    api: &Api,
    wanted: &str,
    (does, command): (&'static str, &'static str),
) -> Failure {
    let not_here = |node| Failure::NotHere(wanted.to_owned(), node, does, command);
    match api.find(Where::Network, wanted).await {
        // To ask another one who holds a copy would lead from one to the next.
        Ok(found) if are_left_of_lost_owner(&found.files) => Failure::OnlyCopies(wanted.to_owned()),
        Ok(found) => {
            let holder = holder_of(api, &found.files).await;
            not_here(holder.map_or("URL".to_owned(), |it| it.to_string()))
        }
        Err(Failure::Unclear(..) | Failure::OnlyCalledSo(..)) => not_here("URL".to_owned()),
        Err(failure) => failure,
    }
}

/// Whether nobody is there who has one of these files as his own, while others hold copies.
fn are_left_of_lost_owner(files: &[File]) -> bool {
    let mut files = files.iter().peekable();
    files.peek().is_some()
        && files.all(|file| match (&file.owners, &file.reachable_peers) {
            (Some(owners), Some(there)) => {
                !there.is_empty() && !owners.iter().any(|it| there.contains(it))
            }
            _ => false,
        })
}

/// Where a node is that has the first of these files as its own, as far as the node asked knows:
/// one that answers, if any does.
async fn holder_of(api: &Api, files: &[File]) -> Option<BaseUrl> {
    let file = files.first()?;
    let holders = file.reachable_peers.as_ref().filter(|it| !it.is_empty());
    let holders = holders.unwrap_or(&file.peers);
    // Whoever holds a copy has no file that could be removed or changed there.
    let owners = file.owners.as_ref();
    let is_owner = |it: &String| owners.is_none_or(|owners| owners.contains(it));
    let Peers { peers } = api.get("/api/peers", &[]).await.ok()?;
    let mut held = peers
        .into_iter()
        .filter(|it| holders.contains(&it.peer_id) && is_owner(&it.peer_id));
    // What is no address is nothing to type.
    held.find_map(|it| it.address.parse().ok())
}
