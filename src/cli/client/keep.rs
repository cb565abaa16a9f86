//! `larder keep`: has the node make copies of what others hold, and waits for them.

use std::pin::pin;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use indicatif::{MultiProgress, ProgressBar};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::batch::Batch;
use super::choice::{Choice, Chosen};
use super::connection::Connection;
use super::failure::Failure;
use super::find::By;
use super::listed::File;
use super::output;
use super::running::run;
use super::wanted::Wanted;
use crate::hash::BlobHash;
use crate::name_form;
use crate::record::FileId;

/// How often to ask how far the copy is.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// How long no byte may come, and the node have a reason for that, before the command ends.
const VAIN_WITHIN: Duration = Duration::from_mins(1);
/// How many copies are asked for and waited for at once.
const AT_ONCE: usize = 16;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files of the network: their ids or hashes, the beginnings of these, their names, folders,
    /// or patterns such as 'a*'.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Wanted>,

    /// Do not wait until the copies are there.
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connection: Connection,
}

/// What is asked of the node, and what it is called to whoever asked.
struct Item {
    asked: Value,
    /// The name under which it shall be there; none where any will do.
    name: Option<String>,
    called: String,
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
        let mut batch = Batch::new("kept", api.proxy());
        let mut items = Vec::new();
        for wanted in &self.files {
            if !batch.goes_on() {
                break;
            }
            let found = self.choice.in_network(&api, &mut batch, wanted).await;
            let Some((by, all)) = found else {
                continue;
            };
            for Chosen { called, files } in all {
                match files {
                    Ok(files) => {
                        let items_of = files.iter().map(|file| item(by, wanted, file, &called));
                        items.extend(items_of);
                    }
                    Err(failure) => batch.failed(&failure, &called),
                }
            }
        }
        if batch.is_hopeless() {
            return batch.end();
        }
        let (api, bars, mut left) = (&api, &MultiProgress::new(), items.len());
        let keeping = stream::iter(items).map(async |item| {
            let kept = self.keep_one(api, bars, &item).await;
            (item, kept)
        });
        let mut keeping = pin!(keeping.buffer_unordered(AT_ONCE));
        while let Some((item, kept)) = keeping.next().await {
            match kept {
                Ok(keep) => {
                    batch.succeeded();
                    bars.suspend(|| self.print(&keep))?;
                }
                Err(failure) => bars.suspend(|| batch.failed(&failure, &item.called)),
            }
            left -= 1;
            if left > 0 && !batch.goes_on() {
                break;
            }
        }
        batch.end()
    }

    async fn keep_one(
        &self,
        api: &Api,
        bars: &MultiProgress,
        item: &Item,
    ) -> Result<Copying, Failure> {
        let keep = self.ask(api, bars, item).await?;
        let is_other = |it: &String| !name_form::is_same(it, &keep.original_name);
        if keep.state == "kept" && item.name.as_ref().is_some_and(is_other) {
            // The same content was wanted under another name first; now it gets this one.
            return self.ask(api, bars, item).await;
        }
        Ok(keep)
    }

    async fn ask(&self, api: &Api, bars: &MultiProgress, item: &Item) -> Result<Copying, Failure> {
        let bar = bars.add(output::bar(&item.called, 0));
        let keep = self.ask_and_wait(api, &bar, &item.asked).await;
        bar.finish_and_clear();
        let keep = keep?;
        match keep.state.as_str() {
            "failed" => Err(Failure::NotKept(keep.error.unwrap_or_default())),
            _ => Ok(keep),
        }
    }

    async fn ask_and_wait(
        &self,
        api: &Api,
        bar: &ProgressBar,
        asked: &Value,
    ) -> Result<Copying, Failure> {
        let mut keep = ask(api, bar, asked).await?;
        if !self.no_wait {
            bar.set_message(output::plain(&keep.original_name));
            bar.set_length(keep.size);
            wait(api, bar, &mut keep).await?;
        }
        Ok(keep)
    }

    fn print(&self, keep: &Copying) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(keep)?);
        }
        let name = output::plain(&keep.original_name);
        let text = match (keep.state.as_str(), &keep.file_id) {
            ("kept", Some(id)) => format!("keeps {name} as {}", output::field(id)),
            ("kept", None) => format!("keeps {name}, as it did before"),
            _ => format!("{name} is being fetched"),
        };
        Ok(output::line(&text)?)
    }
}

/// What the node is asked to keep.
fn item(by: By, wanted: &str, file: &File, called: &str) -> Item {
    let is_by_id = match by {
        By::Id => true,
        // It may be the beginning of its hash.
        By::Beginning => file.has_id_that_begins(wanted.trim()),
        _ => false,
    };
    let name = &file.original_name;
    let is_by_name = matches!(by, By::Name | By::Folder | By::Pattern);
    let asked = match &file.hash {
        // It was asked for by this name, whatever others call the content.
        Some(hash) if is_by_name => json!({ "hash": hash, "original_name": name }),
        Some(hash) if !is_by_id => json!({ "hash": hash }),
        // The node knows whose file has this id, and how that is called.
        _ => json!({ "file_id": file.id }),
    };
    Item {
        asked,
        name: (is_by_id || is_by_name).then(|| name.clone()),
        called: called.to_owned(),
    }
}

/// Has the node make a copy. A node that is being restarted is waited for.
async fn ask(api: &Api, bar: &ProgressBar, asked: &Value) -> Result<Copying, Failure> {
    let mut again = api.again(bar);
    loop {
        let request = api.request(Method::POST, "/api/p2p/keep").json(asked);
        let Answer { keep } = match api.json(request).await {
            Err(failure) if failure.is_of_restart() => {
                again.wait(failure).await?;
                continue;
            }
            answer => answer?,
        };
        if keep.id.parse::<BlobHash>().is_err() && keep.id.parse::<FileId>().is_err() {
            return Err(Failure::Nonsense("the id of a copy is none"));
        }
        return Ok(keep);
    }
}

/// How far the copy is now. A node that is being restarted is waited for; and since it remembers
/// after that only what it has not kept yet, it is asked anew for what it does not know.
async fn look(api: &Api, bar: &ProgressBar, keep: &Copying) -> Result<Copying, Failure> {
    let path = format!("/api/p2p/keep/{}", keep.id);
    let mut again = api.again(bar);
    loop {
        let looked: Result<Answer, _> = api.json(api.request(Method::GET, &path)).await;
        match (looked, &keep.hash) {
            (Err(failure), _) if failure.is_of_restart() => again.wait(failure).await?,
            (Err(failure), Some(hash)) if failure.is_gone() && again.has_failed() => {
                let asked = json!({ "hash": hash, "original_name": keep.original_name });
                return ask(api, bar, &asked).await;
            }
            (looked, _) => return Ok(looked?.keep),
        }
    }
}

/// Waits until the copy is there, or cannot be, and tells why it does not come.
async fn wait(api: &Api, bar: &ProgressBar, keep: &mut Copying) -> Result<(), Failure> {
    let (mut told, mut came) = (None, (keep.fetched, Instant::now()));
    output::begin_at(bar, keep.fetched);
    while !matches!(keep.state.as_str(), "kept" | "failed") {
        tokio::time::sleep(ASK_EVERY).await;
        *keep = look(api, bar, keep).await?;
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
            return Err(Failure::NotKeptYet(VAIN_WITHIN.as_secs(), error.clone()));
        }
    }
    Ok(())
}
