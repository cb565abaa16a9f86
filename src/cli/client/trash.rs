//! `larder trash`: what was removed and can be brought back.

use std::process::ExitCode;

use clap::ValueEnum;
use indicatif::ProgressBar;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::batch::Batch;
use super::connection::Connection;
use super::failure::Failure;
use super::listed::{File, utc};
use super::output::{self, field, plain};
use super::pattern::{Match, Pattern};
use super::running::run;
use super::wanted::Wanted;
use crate::cli::counted::counted;
use crate::name_form;

/// Where a node is asked for it.
const PATH: &str = "/api/p2p/trash";
/// The most pages of it, of a thousand files each.
const MOST_PAGES: usize = 100_000;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// What to do with it.
    #[arg(value_enum, default_value = "list", value_name = "WHAT")]
    action: Action,

    /// Files that are there: their ids, their names, folders, or patterns such as 'photos/**'.
    #[arg(value_name = "FILE")]
    files: Vec<Wanted>,

    /// Do not ask before it is emptied; only a terminal is asked.
    #[arg(short, long)]
    yes: bool,

    /// Restore all files that a name means, also where they differ.
    #[arg(long)]
    all: bool,

    /// Of several files of one name take the newest.
    #[arg(long, conflicts_with = "all")]
    newest: bool,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Action {
    /// List what is there.
    List,
    /// Bring files back, with the ids that they had.
    Restore,
    /// Have all gone that is there, or these files.
    Empty,
}

#[derive(Deserialize)]
struct Page {
    files: Vec<Trashed>,
    next: Option<String>,
}

/// A file in the trash.
#[derive(Serialize, Deserialize)]
struct Trashed {
    #[serde(flatten)]
    file: File,
    removed_at: String,
    stays_seconds: u64,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.act(api))
    }

    async fn act(&self, api: Api) -> Result<(), Failure> {
        match self.action {
            Action::List => self.list(&api).await,
            Action::Restore if self.files.is_empty() => {
                Err(Failure::Usage("name the files that are to be restored"))
            }
            Action::Empty if self.files.is_empty() => self.empty(&api).await,
            Action::Restore => self.each(&api, Method::POST, "restored").await,
            Action::Empty => self.each(&api, Method::DELETE, "removed for good").await,
        }
    }

    async fn list(&self, api: &Api) -> Result<(), Failure> {
        let mut found = vec![false; self.files.len()];
        each_of_all(api, |trashed| {
            let mut is_meant = self.files.is_empty();
            for (wanted, found) in self.files.iter().zip(&mut found) {
                let means = means(wanted, &trashed.file);
                *found |= means;
                is_meant |= means;
            }
            if is_meant {
                self.print(&trashed)?;
            }
            Ok(())
        })
        .await?;
        let unknown = self.files.iter().zip(found).find(|(_, found)| !found);
        unknown.map_or(Ok(()), |(wanted, _)| Err(not_there(wanted)))
    }

    fn print(&self, trashed: &Trashed) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(trashed)?);
        }
        let Trashed {
            file,
            removed_at,
            stays_seconds,
        } = trashed;
        let (id, size, name) = (
            field(&file.id),
            output::size(file.size),
            plain(&file.original_name),
        );
        // As exactly as is of use to anybody.
        let stays = match stays_seconds {
            seconds @ 0..60 => format!("{seconds}s"),
            seconds @ 60..3600 => format!("{}m", seconds / 60),
            seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
            seconds => format!("{}d", seconds / 86_400),
        };
        let removed = utc(removed_at);
        Ok(output::line(&format!(
            "{id:36}  {size:>11}  removed {removed:20}  stays {stays:>6}  {name}"
        ))?)
    }

    /// Does the same with all files that are named.
    async fn each(&self, api: &Api, method: Method, done: &'static str) -> Result<(), Failure> {
        let mut batch = Batch::new(done, api.proxy());
        for wanted in &self.files {
            if !batch.goes_on() {
                break;
            }
            match self.meant(api, wanted).await {
                Err(failure) => batch.failed(&failure, wanted),
                Ok(files) => {
                    for file in files {
                        match change(api, &method, &file).await {
                            Ok(()) => {
                                self.tell(done, &file)?;
                                batch.succeeded();
                            }
                            Err(failure) => batch.failed(&failure, &file.original_name),
                        }
                    }
                }
            }
        }
        batch.end()
    }

    /// The files that a text means: of one name several only where they are all meant.
    async fn meant(&self, api: &Api, wanted: &Wanted) -> Result<Vec<File>, Failure> {
        let mut found = Vec::new();
        each_of_all(api, |Trashed { file, .. }| {
            if means(wanted, &file) {
                found.push(file);
            }
            Ok(())
        })
        .await?;
        if found.is_empty() {
            return Err(not_there(wanted));
        }
        let is_name = |it: &File| name_form::is_same(&it.original_name, wanted);
        if self.newest {
            // They come in the order of their ids, which is that of their uploads.
            let newest = found.iter().rposition(is_name);
            let mut at = 0..;
            found.retain(|it| {
                let at = at.next();
                !is_name(it) || at == newest
            });
        }
        if found.len() > 1 && !self.all && found.iter().all(is_name) {
            let lines = found.iter().map(File::line).collect();
            return Err(Failure::Ambiguous(wanted.to_string(), lines));
        }
        Ok(found)
    }

    fn tell(&self, done: &str, file: &File) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(file)?);
        }
        let name = plain(&file.original_name);
        Ok(output::line(&format!("{done} {name} ({})", file.id))?)
    }

    async fn empty(&self, api: &Api) -> Result<(), Failure> {
        #[derive(Deserialize)]
        struct Emptied {
            removed: u64,
        }
        let question = "have all files gone for good that are in the trash?";
        if !self.yes && output::is_asked() && !output::says_yes(question.to_owned()).await {
            let refused = "nothing is removed, since nobody has said yes".to_owned();
            return Err(Failure::NotListed(refused));
        }
        let Emptied { removed } = api.json(api.request(Method::DELETE, PATH)).await?;
        if self.connection.json {
            return Ok(output::json(&json!({ "removed": removed }))?);
        }
        let files = counted(removed, "file");
        Ok(output::line(&format!("removed {files} for good"))?)
    }
}

fn not_there(wanted: &Wanted) -> Failure {
    Failure::NotListed(format!(
        "no file in the trash has the id or the name {}, or matches it",
        &**wanted
    ))
}

/// Does something with each file that is there.
async fn each_of_all(
    api: &Api,
    mut with: impl FnMut(Trashed) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let page = page(api, after.as_deref()).await?;
        page.files.into_iter().try_for_each(&mut with)?;
        match page.next {
            None => return Ok(()),
            Some(next) => after = Some(next),
        }
    }
    Err(Failure::Nonsense("its list does not end"))
}

async fn page(api: &Api, after: Option<&str>) -> Result<Page, Failure> {
    let query: Vec<_> = after.map(|it| ("after", it)).into_iter().collect();
    let page: Page = api.get(PATH, &query).await?;
    let leads_on = match (after, &page.next) {
        (Some(after), Some(next)) => after < next.as_str(),
        _ => true,
    };
    if !leads_on {
        return Err(Failure::Nonsense("a page does not lead forward"));
    }
    for trashed in &page.files {
        trashed.file.check()?;
    }
    Ok(page)
}

/// Whether a text means this file.
fn means(wanted: &Wanted, file: &File) -> bool {
    let folder = name_form::composed(wanted.trim_end_matches('/'));
    let name = name_form::composed(&file.original_name);
    let below = name.strip_prefix(&*folder);
    let is_in = below.is_some_and(|it| it.starts_with('/'));
    let matches = |it: Pattern| it.look(&file.original_name) == Match::Yes;
    file.id == wanted.to_ascii_lowercase()
        || name_form::is_same(&file.original_name, wanted)
        || is_in
        || Pattern::of(wanted).is_some_and(matches)
}

/// Changes a file; a node that is being restarted is waited for.
async fn change(api: &Api, method: &Method, file: &File) -> Result<(), Failure> {
    let path = format!("{PATH}/{}", file.id);
    let hidden = ProgressBar::hidden();
    let mut again = api.again(&hidden);
    loop {
        match api.json::<Value>(api.request(method.clone(), &path)).await {
            Ok(_) => return Ok(()),
            // It was done, and the answer was lost.
            Err(failure) if failure.is_gone() && again.has_failed() => return Ok(()),
            Err(failure) if failure.is_of_restart() => again.wait(failure).await?,
            Err(failure) => return Err(failure),
        }
    }
}
