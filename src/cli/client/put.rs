//! `larder put`: uploads files, and folders with all that is in them.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::{DirEntry, Metadata, ReadDir};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::{NonEmptyStringValueParser, OsStringValueParser, TypedValueParser};
use futures_util::{StreamExt, stream};
use indicatif::MultiProgress;

use super::api::Api;
use super::batch::Batch;
use super::begun;
use super::connection::Connection;
use super::ended::Ended;
use super::failure::Failure;
use super::links::Links;
use super::output;
use super::raw_name::text_of;
use super::running::run;
use super::send::{Outgoing, Sent, send};
use crate::blocking;
use crate::cli::state::is_state_directory;
use crate::config::number_of_copies;
use crate::store::is_storage_directory;

/// How many files are on their way at once: while one waits for its sync, others travel.
const AT_ONCE: usize = 4;
/// What is said of the directory in which this very command notes what it sends, so that a file in
/// it changes while it is read.
const OWN_STATE: &str = "where larder remembers what it sends";

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files and folders, and pipes; what is in a folder keeps its path as its name, and - is
    /// standard input. A link to a file is sent as the file that it leads to. In folders, links to
    /// folders are left out with a word, and empty folders without one; that there is no file at
    /// all in a folder is told, and no failure.
    #[arg(required = true, value_name = "FILE", value_parser = named())]
    files: Vec<PathBuf>,

    /// What the node shall call the one file that is sent [default: its own name].
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    name: Option<String>,

    /// What the node shall say of them.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    description: String,

    /// On how many members of the node's network they are to be, the node among them [default: as
    /// the node is set].
    #[arg(long, value_name = "NUMBER", value_parser = number_of_copies)]
    copies: Option<u8>,

    #[command(flatten)]
    connection: Connection,
}

/// Where files are sent, and what is shown and remembered of that.
struct To<'a> {
    api: &'a Api,
    bars: &'a MultiProgress,
    ended: &'a Arc<Ended>,
}

/// A file here, and what it is called there.
struct Local {
    path: PathBuf,
    name: String,
}

/// Files and what is in folders, found as they are asked for. Links to folders are not
/// followed, since they may lead around.
struct Walk {
    folders: Vec<Folder>,
}

/// A folder that is being walked: where it is here, and what it is called there.
struct Folder {
    inside: ReadDir,
    path: PathBuf,
    name: String,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        let ended = Arc::new(Ended::read());
        let status = run(&self.connection, |api| self.put(api, &ended))?;
        if status == ExitCode::SUCCESS {
            // The last that it does: whoever is killed before this has sent nothing twice.
            ended.close();
        }
        Ok(status)
    }

    /// Sends everything that it can: what fails is told with its path, and the others go on.
    async fn put(&self, api: Api, ended: &Arc<Ended>) -> Result<(), Failure> {
        let bars = MultiProgress::new();
        blocking::run(begun::sweep).await;
        let found = self.found()?;
        let batch = RefCell::new(Batch::new("sent", api.proxy()));
        let to = To {
            api: &api,
            bars: &bars,
            ended,
        };
        self.send_all(&to, found, &batch).await?;
        let batch = batch.into_inner();
        if batch.is_empty() {
            output::say("nothing is sent: there is no file in what is to be sent");
        }
        batch.end()
    }

    async fn send_all(
        &self,
        to: &To<'_>,
        found: Found<'_>,
        batch: &RefCell<Batch<'_>>,
    ) -> Result<(), Failure> {
        let To { api, bars, .. } = *to;
        let found = found.take_while(|_| batch.borrow_mut().goes_on());
        let sending = stream::iter(found).map(|local| self.send(to, local));
        let mut sending = pin!(sending.buffer_unordered(AT_ONCE));
        let mut links = None;
        while let Some(sent) = sending.next().await {
            match sent {
                Ok(mut sent) => {
                    let links = match &links {
                        Some(links) => links,
                        None => links.insert(Links::of(api).await?),
                    };
                    sent.download_url = links.to_id(&sent.file_id);
                    batch.borrow_mut().succeeded();
                    bars.suspend(|| self.print(&sent))?;
                }
                Err((path, failure)) => {
                    let called = path.or_else(|| failure.path().map(Path::to_owned));
                    let called = called.unwrap_or_default();
                    let called = output::told_path(&called);
                    bars.suspend(|| batch.borrow_mut().failed(&failure, &called));
                }
            }
        }
        Ok(())
    }

    /// Sends one file; a failure comes with its path.
    async fn send(
        &self,
        to: &To<'_>,
        local: Result<Local, Failure>,
    ) -> Result<Sent, (Option<PathBuf>, Failure)> {
        let Local { path, name } = local.map_err(|failure| (None, failure))?;
        let bar = to.bars.add(output::bar(&name, 0));
        let what = Outgoing {
            path: &path,
            name: &name,
            description: &self.description,
            copies: self.copies,
        };
        let sent = send(to.api, what, to.ended, &bar).await;
        bar.finish_and_clear();
        sent.map_err(|failure| (Some(path), failure))
    }

    /// What is sent, found as it is asked for.
    fn found(&self) -> Result<Found<'_>, Failure> {
        let Some(name) = &self.name else {
            let found = self.files.iter().flat_map(|path| match found(path) {
                Ok(found) => found,
                Err(failure) => Box::new(std::iter::once(Err(failure))),
            });
            return Ok(Box::new(found));
        };
        match self.files.as_slice() {
            [path] if !path.is_dir() => {
                about(real(path))?;
                refuse_storage(real(path))?;
                let (path, name) = (real(path).to_owned(), name.clone());
                Ok(Box::new(std::iter::once(Ok(Local { path, name }))))
            }
            _ => Err(Failure::Usage("--name is for one file")),
        }
    }

    fn print(&self, sent: &Sent) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(sent)?);
        }
        let name = output::plain(&sent.original_name);
        let url = output::plain(&sent.download_url);
        Ok(output::line(&format!("{}  {name}  {url}", sent.file_id))?)
    }
}

/// Reads what names a file here. What is empty is most likely a variable that was not set.
fn named() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path: OsString| {
        if path.is_empty() {
            return Err("an empty text names no file");
        }
        Ok(PathBuf::from(path))
    })
}

type Found<'a> = Box<dyn Iterator<Item = Result<Local, Failure>> + 'a>;

/// What is at a path, behind links.
fn about(path: &Path) -> Result<Metadata, Failure> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_link = path.symlink_metadata().is_ok_and(|it| it.is_symlink());
            let path = path.to_owned();
            Err(if is_link {
                Failure::Dangling(path)
            } else {
                Failure::NoLocal(path)
            })
        }
        about => Failure::of_file(path, about),
    }
}

/// The files that an argument means.
fn found(argument: &Path) -> Result<Found<'static>, Failure> {
    let path = real(argument);
    let about = about(path)?;
    refuse_storage(path)?;
    let name = if let Some(name) = path.file_name() {
        name.to_owned()
    } else {
        // A path such as `..` has no name of its own.
        let whole = Failure::of_file(path, path.canonicalize())?;
        whole.file_name().unwrap_or_default().to_owned()
    };
    let name = text_of(&name);
    if about.is_dir() {
        if is_state_directory(path) {
            let own = Failure::LeftOut(path.to_owned(), OWN_STATE);
            return Ok(Box::new(std::iter::once(Err(own))));
        }
        let inside = Failure::of_file(path, path.read_dir())?;
        let folders = vec![Folder {
            inside,
            path: path.to_owned(),
            name,
        }];
        let mut walk = Walk { folders }.peekable();
        if walk.peek().is_none() {
            let empty = Failure::LeftOut(path.to_owned(), "a folder without files");
            return Ok(Box::new(std::iter::once(Err(empty))));
        }
        return Ok(Box::new(walk));
    }
    let kind = about.file_type();
    // Standard input may be a terminal, or `/dev/null`, which is an empty file then.
    let is_input = path != argument && kind.is_char_device();
    if !(about.is_file() || kind.is_fifo() || is_input) {
        return Err(Failure::NoFile(path.to_owned()));
    }
    let path = path.to_owned();
    Ok(Box::new(std::iter::once(Ok(Local { path, name }))))
}

/// Fails where a path leads to the storage directory of a node, or to what is in one: the key that
/// makes the node the one it is would be everybody's to read.
fn refuse_storage(path: &Path) -> Result<(), Failure> {
    if is_in_storage(path) {
        return Err(Failure::OfStorage(path.to_owned()));
    }
    Ok(())
}

/// Whether a path leads to a storage directory, or into one. What has no place in the file system,
/// as a pipe that this process was given, does not.
fn is_in_storage(path: &Path) -> bool {
    let whole = path.canonicalize();
    whole.is_ok_and(|it| it.ancestors().any(is_storage_directory))
}

/// The path that an argument means.
fn real(path: &Path) -> &Path {
    if path == Path::new("-") {
        Path::new(output::STDIN)
    } else {
        path
    }
}

impl Iterator for Walk {
    type Item = Result<Local, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let folder = self.folders.last_mut()?;
            let Some(entry) = folder.inside.next() else {
                self.folders.pop();
                continue;
            };
            let entry = Failure::of_file(&folder.path, entry);
            let name = folder.name.clone();
            match entry.and_then(|it| self.enter(&it, &name)) {
                Ok(None) => {}
                Ok(Some(local)) => return Some(Ok(local)),
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

impl Walk {
    /// Takes a file; a folder is walked next, and what is neither, or a node's own, is left out.
    fn enter(&mut self, entry: &DirEntry, folder: &str) -> Result<Option<Local>, Failure> {
        let name = format!("{folder}/{}", text_of(&entry.file_name()));
        let path = entry.path();
        let kind = Failure::of_file(&path, entry.file_type())?;
        if kind.is_dir() {
            if is_storage_directory(&path) {
                return Err(Failure::LeftOut(path, "the storage directory of a node"));
            }
            if is_state_directory(&path) {
                return Err(Failure::LeftOut(path, OWN_STATE));
            }
            let inside = Failure::of_file(&path, path.read_dir())?;
            self.folders.push(Folder { inside, path, name });
            return Ok(None);
        }
        if kind.is_file() {
            return Ok(Some(Local { path, name }));
        }
        let mut what = "neither a file nor a folder";
        if kind.is_symlink() {
            let about = about(&path)?;
            if about.is_file() && is_in_storage(&path) {
                what = "a link into the storage directory of a node";
            } else if about.is_file() {
                return Ok(Some(Local { path, name }));
            }
            if about.is_dir() {
                what = "a link to a folder";
            }
        }
        Err(Failure::LeftOut(path, what))
    }
}
