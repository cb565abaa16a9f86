//! `larder get`: downloads files of the network, and checks each against its hash.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use indicatif::MultiProgress;
use serde_json::json;

use super::api::Api;
use super::batch::Batch;
use super::choice::{Choice, Chosen};
use super::connection::Connection;
use super::download;
use super::failure::Failure;
use super::find::By;
use super::landing::{is_same, replaced, tidy};
use super::listed::File;
use super::local_name::{is_what_it_says, last_part, path};
use super::output;
use super::running::run;
use super::target::{Target, Targets, is_stream};
use super::wanted::Wanted;
use crate::blocking;

/// How many files are on their way at once.
const AT_ONCE: usize = 4;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files of the network: their ids or hashes, the beginnings of these, their names, folders,
    /// or patterns such as 'a*'. What is found by a folder or a pattern keeps its path.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<Wanted>,

    /// Where to write: a file; or a folder, which is made where it ends with a slash or several
    /// are written; - is standard output [default: their names, in this directory].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace files that are there.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    choice: Choice,

    #[command(flatten)]
    connection: Connection,
}

/// A file to get, what it is called to whoever asked, and where it goes.
struct Item {
    file: File,
    called: String,
    to: To,
    /// Whether its own name, under which it shall be saved, cannot be had here.
    is_renamed: bool,
}

enum To {
    Output,
    File(Target),
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.get(api))
    }

    async fn get(&self, api: Api) -> Result<(), Failure> {
        let mut batch = Batch::new("got", api.proxy());
        let (mut items, mut targets) = (Vec::new(), Targets::default());
        for wanted in &self.files {
            if !batch.goes_on() {
                break;
            }
            let found = self.choice.in_network(&api, &mut batch, wanted).await;
            let Some((by, all)) = found else {
                continue;
            };
            for chosen in all {
                let called = chosen.called.clone();
                match self.items(&api, by, chosen, &mut targets).await {
                    Ok(found) => items.extend(found),
                    Err(failure) => batch.failed(&failure, &called),
                }
            }
        }
        if batch.is_hopeless() {
            return batch.end();
        }
        self.check_output(&items)?;
        self.get_all(&api, batch, items).await
    }

    async fn get_all(
        &self,
        api: &Api,
        mut batch: Batch<'_>,
        items: Vec<Item>,
    ) -> Result<(), Failure> {
        let (bars, mut left) = (&MultiProgress::new(), items.len());
        // What goes to one output goes there in its order.
        let at_once = if self.is_to_stream() { 1 } else { AT_ONCE };
        let to = &self.stream().await?;
        let getting = stream::iter(items).map(async |item| {
            let bar = bars.add(output::bar(&item.file.original_name, item.file.size));
            let got = self.get_one(api, &item, to.as_ref(), &bar).await;
            bar.finish_and_clear();
            (item, got)
        });
        let mut getting = pin!(getting.buffer_unordered(at_once));
        while let Some((item, got)) = getting.next().await {
            match got {
                Ok(()) => {
                    batch.succeeded();
                    if let (To::File(target), true) = (&item.to, item.is_renamed) {
                        batch.renamed(&item.file.original_name, &target.path());
                    }
                    bars.suspend(|| self.print(&item))?;
                }
                // Whoever reads it may have seen enough.
                Err(failure @ Failure::Print(_)) => return Err(failure),
                Err(failure) => bars.suspend(|| batch.failed(&failure, &item.called)),
            }
            left -= 1;
            if left > 0 && !batch.goes_on() {
                break;
            }
        }
        batch.end()
    }

    /// What was chosen, and where it goes.
    async fn items(
        &self,
        api: &Api,
        by: By,
        chosen: Chosen,
        targets: &mut Targets,
    ) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        for mut file in chosen.files? {
            let hash = file.hash.clone().filter(|_| by == By::Hash);
            if let Some(hash) = hash.filter(|_| self.goes_by_its_name(By::Hash)) {
                file.original_name = api.name_of(&hash).await?;
            }
            let own = own_path(by, &file);
            let is_renamed = self.goes_by_its_name(by) && !is_own(by, &own, &file);
            let to = if self.is_to_stream() {
                To::Output
            } else {
                let content = file.hash.clone().unwrap_or_else(|| file.id.clone());
                match targets.take(&self.target(by, own), &content) {
                    Some(target) => To::File(target),
                    None => continue,
                }
            };
            let called = chosen.called.clone();
            items.push(Item {
                file,
                called,
                to,
                is_renamed,
            });
        }
        Ok(items)
    }

    /// Where a file goes that was found so, and whose own path is this.
    fn target(&self, by: By, own: PathBuf) -> Target {
        match &self.output {
            None => Target::new(PathBuf::new(), own),
            Some(folder) if self.is_folder(by) => Target::new(folder.clone(), own),
            Some(path) => match (path.parent(), path.file_name()) {
                (Some(folder), Some(name)) => Target::in_folder(folder.to_owned(), name.into()),
                _ => Target::new(PathBuf::new(), path.clone()),
            },
        }
    }

    fn is_to_output(&self) -> bool {
        let names = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
        let output = self.output.as_deref();
        output.is_some_and(|it| names.iter().any(|name| it == Path::new(name)))
    }

    /// Whether all go to one output, of which nothing is kept here.
    fn is_to_stream(&self) -> bool {
        self.is_to_output() || self.output.as_deref().is_some_and(is_stream)
    }

    /// The pipe or the device that all go to; none where that is standard output.
    async fn stream(&self) -> Result<Option<Arc<std::fs::File>>, Failure> {
        let path = self.output.clone().filter(|_| !self.is_to_output());
        let Some(path) = path.filter(|it| is_stream(it)) else {
            return Ok(None);
        };
        // Some devices take their time.
        blocking::run(move || {
            let opened = std::fs::OpenOptions::new().write(true).open(&path);
            Failure::of_file(&path, opened).map(|it| Some(Arc::new(it)))
        })
        .await
    }

    /// Whether what is found so is written under its own name.
    fn goes_by_its_name(&self, by: By) -> bool {
        !self.is_to_stream() && (self.output.is_none() || self.is_folder(by))
    }

    /// Whether the output is a folder, for what is found so.
    fn is_folder(&self, by: By) -> bool {
        self.output.as_deref().is_some_and(|it| {
            let has_slash = it.as_os_str().as_encoded_bytes().ends_with(b"/");
            has_slash || by.has_paths() || self.files.len() > 1 || it.is_dir()
        })
    }

    /// Fails where several files would go to what is no folder.
    fn check_output(&self, items: &[Item]) -> Result<(), Failure> {
        match (&self.output, items) {
            (Some(path), [_, _, ..]) if !self.is_to_stream() && path.is_file() => {
                Err(Failure::NoFolder(path.clone()))
            }
            _ => Ok(()),
        }
    }

    async fn get_one(
        &self,
        api: &Api,
        Item { file, to, .. }: &Item,
        stream: Option<&Arc<std::fs::File>>,
        bar: &indicatif::ProgressBar,
    ) -> Result<(), Failure> {
        match to {
            To::Output => download::to_output(api, file, stream.cloned(), bar).await?,
            To::File(target) if self.is_there(file, target).await? => return Ok(()),
            To::File(target) => {
                download::to_file(api, file, &target.path(), self.force, bar).await?;
            }
        }
        if file.hash.is_none() {
            let name = output::plain(&file.original_name);
            let text = format!("{name} is not checked: no node tells the hash of its bytes");
            bar.suspend(|| output::say(&text));
        }
        Ok(())
    }

    /// Whether the file is where it goes, as an earlier command has left it; if not, the folders
    /// for it are made.
    async fn is_there(&self, file: &File, target: &Target) -> Result<bool, Failure> {
        let (target, size, hash, force) = (target.clone(), file.size, file.hash(), self.force);
        let content = file.hash.clone();
        let is_there = blocking::run(move || {
            let at = target.path();
            if at.parent().is_some_and(Path::exists) {
                // Who refuses what is there makes nothing.
                target.make_folders()?;
            }
            match replaced(&at, force) {
                Err(Failure::Exists(_)) if is_same(&at, size, hash) => {
                    if let Some(content) = &content {
                        tidy(&at, content);
                    }
                    Ok(true)
                }
                Err(failure) => Err(failure),
                Ok(_) => target.make_folders().map(|()| false),
            }
        });
        is_there.await
    }

    fn print(&self, Item { file, to, .. }: &Item) -> Result<(), Failure> {
        let To::File(target) = to else {
            return Ok(());
        };
        if self.connection.json {
            let path = target.path();
            return Ok(output::json(&json!({
                "path": path.to_string_lossy(), "original_name": file.original_name,
                "size": file.size, "hash": file.hash,
            }))?);
        }
        let path = output::plain(&target.path().to_string_lossy());
        Ok(output::line(&format!(
            "{path}  {}",
            output::size(file.size)
        ))?)
    }
}

/// What a file is called here that was found so.
fn own_path(by: By, file: &File) -> PathBuf {
    if by.has_paths() {
        path(&file.original_name)
    } else {
        last_part(&file.original_name)
    }
}

/// Whether that is how it is called there, or how the last part of that is.
fn is_own(by: By, path: &Path, file: &File) -> bool {
    let whole = file.original_name.as_str();
    let last = whole.rsplit('/').next().unwrap_or_default();
    is_what_it_says(path, if by.has_paths() { whole } else { last })
}
