//! `larder info`: everything that is known of files.

use std::process::ExitCode;

use serde::Serialize;

use super::api::Api;
use super::batch::Batch;
use super::connection::Connection;
use super::failure::Failure;
use super::find::By;
use super::links::Links;
use super::listed::{File, Where};
use super::output::{self, field, plain};
use super::running::run;
use super::wanted::Wanted;
use crate::cli::counted::counted;
use crate::record::FileId;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files of the network: their ids or hashes, the beginnings of these, their names, folders,
    /// or patterns such as 'a*'. All that each means are told.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Wanted>,

    #[command(flatten)]
    connection: Connection,
}

/// A file, and where to download it.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    file: File,
    download_url: String,
    /// The id of the node that is asked, where what it stores is damaged.
    #[serde(skip)]
    damaged_at: Option<String>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.tell(api))
    }

    async fn tell(&self, api: Api) -> Result<(), Failure> {
        let mut batch = Batch::new("told", api.proxy());
        let mut links = None;
        let mut is_first = true;
        for wanted in &self.files {
            if !batch.goes_on() {
                break;
            }
            let files = match self.files_of(&api, wanted).await {
                Ok(files) => files,
                Err(failure) => {
                    batch.failed(&failure, wanted);
                    continue;
                }
            };
            let links = match &links {
                Some(links) => links,
                None => links.insert(Links::of(&api).await?),
            };
            for file in files {
                let damaged_at = match file.damaged {
                    Some(true) => Some(api.peer_id().await?),
                    _ => None,
                };
                let told = Told {
                    download_url: links.to(&file),
                    file,
                    damaged_at,
                };
                self.print(&told, std::mem::take(&mut is_first))?;
            }
            batch.succeeded();
        }
        batch.end()
    }

    /// All that is meant, each with its holders and with what the node's own list says besides.
    async fn files_of(&self, api: &Api, wanted: &str) -> Result<Vec<File>, Failure> {
        let found = api.find(Where::Network, wanted).await?;
        let mut files = found.files;
        if found.by == By::Hash {
            let listed = api.find_listed(Where::Network, wanted).await?;
            files = if listed.is_empty() { files } else { listed };
        }
        if !matches!(found.by, By::Id | By::Beginning) {
            files = api.with_own_alike(files).await?;
        }
        for file in &mut files {
            let Ok(id) = file.id.parse::<FileId>() else {
                continue;
            };
            if file.peers.is_empty() {
                take_holders(api, file, id).await?;
            }
            if let Some(own) = api.with_id(Where::Here, id).await?.pop() {
                file.description = own.description;
                file.content_type = file.content_type.take().or(own.content_type);
            }
        }
        Ok(files)
    }

    fn print(&self, told: &Told, is_first: bool) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(told)?);
        }
        if !is_first {
            output::line("")?;
        }
        for line in told.lines() {
            output::line(&line)?;
        }
        Ok(())
    }
}

/// A size for people, with the exact one where that is another.
fn size(bytes: u64) -> String {
    let exact = counted(bytes, "byte");
    match bytes {
        0..1024 => exact,
        _ => format!("{} ({exact})", output::size(bytes)),
    }
}

/// Has a file that the node's own list tells of say who holds it, which only the network's does.
async fn take_holders(api: &Api, file: &mut File, id: FileId) -> Result<(), Failure> {
    let told = api.with_id(Where::Network, id).await?;
    if let Some(told) = told.into_iter().find(|it| it.hash == file.hash) {
        let content_type = file.content_type.take();
        *file = told;
        file.content_type = file.content_type.take().or(content_type);
    }
    Ok(())
}

impl Told {
    fn lines(&self) -> Vec<String> {
        let Self {
            file,
            download_url,
            damaged_at,
        } = self;
        let none = "-".to_owned();
        let text = |it: &Option<String>| it.as_deref().map_or(none.clone(), plain);
        let filled = |it: &str| {
            if it.is_empty() {
                none.clone()
            } else {
                field(it)
            }
        };
        let mut lines = vec![
            format!("name         {}", plain(&file.original_name)),
            format!("id           {}", filled(&file.id)),
            format!("hash         {}", text(&file.hash)),
            format!("size         {}", size(file.size)),
            format!("type         {}", text(&file.content_type)),
            format!("uploaded     {}", filled(&file.uploaded())),
        ];
        if let Some(description) = file.description.as_ref().filter(|it| !it.is_empty()) {
            lines.push(format!("description  {}", plain(description)));
        }
        lines.push(format!("url          {}", plain(download_url)));
        let answers = |it: &String| match &file.reachable_peers {
            _ if damaged_at.as_ref() == Some(it) => " (damaged there)",
            Some(answering) if !answering.contains(it) => " (not reachable now)",
            _ => "",
        };
        for peer in &file.peers {
            lines.push(format!("held by      {}{}", field(peer), answers(peer)));
        }
        if file.damaged == Some(true) {
            let told = "what this node stores of it; uploading it again mends that";
            lines.push(format!("damaged      {told}"));
        }
        lines
    }
}
