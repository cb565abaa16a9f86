//! `larder keep`: has the node make a copy of what others hold, and waits for it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::listed::Where;
use super::output;
use super::running::run;
use crate::hash::BlobHash;
use crate::record::FileId;

/// How often to ask how far the copy is.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// How long no byte may come, and the node have a reason for that, before the command ends.
const VAIN_WITHIN: Duration = Duration::from_mins(1);

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The id, the hash or the name of a file of the network.
    file: String,

    /// Do not wait until the copy is there.
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Deserialize)]
struct Answer {
    keep: Copying,
}

/// How far a copy is, as the node tells it.
#[derive(Serialize, Deserialize)]
struct Copying {
    id: String,
    state: String,
    original_name: String,
    size: u64,
    fetched: u64,
    hash: Option<String>,
    file_id: Option<String>,
    error: Option<String>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.keep(api))
    }

    async fn keep(&self, api: Api) -> Result<(), Failure> {
        let file = api.find_one(Where::Network, &self.file).await?;
        let wanted = match &file.hash {
            // The node knows whose file has this id, and how that is called.
            Some(_) if file.has_id(&self.file) => json!({ "file_id": file.id }),
            // It was asked for by this name, whatever others call the content.
            Some(hash) if file.original_name == self.file && *hash != self.file => {
                json!({ "hash": hash, "original_name": self.file })
            }
            Some(hash) => json!({ "hash": hash }),
            None => json!({ "file_id": file.id }),
        };
        let request = api.request(Method::POST, "/api/p2p/keep").json(&wanted);
        let Answer { mut keep } = api.json(request).await?;
        if keep.id.parse::<BlobHash>().is_err() && keep.id.parse::<FileId>().is_err() {
            return Err(Failure::Nonsense("the id of a copy is none"));
        }
        let path = format!("/api/p2p/keep/{}", keep.id);
        let bar = output::bar(&keep.original_name, keep.size);
        let (mut told, mut came) = (None, (keep.fetched, Instant::now()));
        while !self.no_wait && !matches!(keep.state.as_str(), "kept" | "failed") {
            tokio::time::sleep(ASK_EVERY).await;
            keep = api.get::<Answer>(&path, &[]).await?.keep;
            bar.set_position(keep.fetched);
            if keep.fetched != came.0 {
                came = (keep.fetched, Instant::now());
            }
            let Some(error) = &keep.error else {
                continue;
            };
            if told.as_ref() != Some(error) {
                let text = format!("not kept yet: {}", output::plain(error));
                bar.suspend(|| output::say(&text));
                told = Some(error.clone());
            }
            if came.1.elapsed() >= VAIN_WITHIN {
                bar.finish_and_clear();
                return Err(Failure::NotKeptYet(VAIN_WITHIN.as_secs(), error.clone()));
            }
        }
        bar.finish_and_clear();
        self.print(&keep)?;
        match keep.state.as_str() {
            "failed" => Err(Failure::NotKept(keep.error.unwrap_or_default())),
            _ => Ok(()),
        }
    }

    fn print(&self, keep: &Copying) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(keep)?);
        }
        let name = output::plain(&keep.original_name);
        let text = match (keep.state.as_str(), &keep.file_id) {
            ("kept", Some(id)) => format!("keeps {name} as {}", output::field(id)),
            ("kept", None) => format!("keeps {name}, as it did before"),
            ("failed", _) => return Ok(()),
            _ => format!("{name} is being fetched"),
        };
        Ok(output::line(&text)?)
    }
}
