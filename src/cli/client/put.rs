//! `larder put`: uploads files, and folders with all that is in them.

use std::fs::ReadDir;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::MultiProgress;

use super::api::Api;
use super::begun;
use super::connection::Connection;
use super::failure::Failure;
use super::output;
use super::running::run;
use super::send::{Sent, send};
use crate::blocking;

/// How many files are on their way at once: while one waits for its sync, others travel.
const AT_ONCE: usize = 4;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Files and folders, and pipes; what is in a folder keeps its path as its name, and - is
    /// standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What the node shall call the one file that is sent [default: its own name].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// What the node shall say of them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,

    #[command(flatten)]
    connection: Connection,
}

/// A file here, and what it is called there.
struct Local {
    path: PathBuf,
    name: String,
}

/// Files and what is in folders, found as they are asked for. Links to folders are not
/// followed, since they may lead around.
struct Walk {
    folders: Vec<(ReadDir, String)>,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        run(&self.connection, |api| self.put(api))
    }

    async fn put(&self, api: Api) -> Result<(), Failure> {
        let bars = MultiProgress::new();
        blocking::run(begun::sweep).await;
        let found = self.found()?;
        let (api, bars) = (&api, &bars);
        let sending = stream::iter(found.into_iter().flatten()).map(|local| async move {
            let Local { path, name } = local?;
            let bar = bars.add(output::bar(&name, 0));
            let sent = send(api, &path, &name, &self.description, &bar).await?;
            bar.finish_and_clear();
            bars.suspend(|| self.print(&sent))
        });
        sending.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// What is sent, found as it is asked for.
    fn found(&self) -> Result<Vec<Found>, Failure> {
        let Some(name) = &self.name else {
            return self.files.iter().map(|path| found(path)).collect();
        };
        match self.files.as_slice() {
            [path] if !path.is_dir() => {
                let (path, name) = (real(path).to_owned(), name.clone());
                Ok(vec![Box::new(std::iter::once(Ok(Local { path, name })))])
            }
            _ => Err(Failure::Usage("--name is for one file")),
        }
    }

    fn print(&self, sent: &Sent) -> Result<(), Failure> {
        if self.connection.json {
            return Ok(output::json(sent)?);
        }
        let name = output::plain(&sent.original_name);
        Ok(output::line(&format!("{}  {name}", sent.file_id))?)
    }
}

type Found = Box<dyn Iterator<Item = Result<Local, Failure>>>;

/// The files that an argument means.
fn found(path: &Path) -> Result<Found, Failure> {
    let path = real(path);
    let about = Failure::of_file(path, path.metadata())?;
    let name = if let Some(name) = path.file_name() {
        name.to_owned()
    } else {
        // A path such as `..` has no name of its own.
        let whole = Failure::of_file(path, path.canonicalize())?;
        whole.file_name().unwrap_or_default().to_owned()
    };
    let name = name.to_string_lossy().into_owned();
    if about.is_dir() {
        let inside = Failure::of_file(path, path.read_dir())?;
        let folders = vec![(inside, name)];
        return Ok(Box::new(Walk { folders }));
    }
    if !(about.is_file() || about.file_type().is_fifo()) {
        return Err(Failure::NoFile(path.to_owned()));
    }
    let path = path.to_owned();
    Ok(Box::new(std::iter::once(Ok(Local { path, name }))))
}

/// The path that an argument means.
fn real(path: &Path) -> &Path {
    if path == Path::new("-") {
        Path::new("/dev/stdin")
    } else {
        path
    }
}

impl Iterator for Walk {
    type Item = Result<Local, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (folder, prefix) = self.folders.last_mut()?;
            let Some(entry) = folder.next() else {
                self.folders.pop();
                continue;
            };
            let prefix = prefix.clone();
            match self.enter(entry, &prefix) {
                Ok(None) => {}
                Ok(Some(local)) => return Some(Ok(local)),
                Err(error) => return Some(Err(Failure::File(PathBuf::from(prefix), error))),
            }
        }
    }
}

impl Walk {
    /// Takes a file; a folder is walked next.
    fn enter(
        &mut self,
        entry: io::Result<std::fs::DirEntry>,
        prefix: &str,
    ) -> io::Result<Option<Local>> {
        let entry = entry?;
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() {
            self.folders.push((path.read_dir()?, name));
            return Ok(None);
        }
        let is_file = kind.is_file() || (kind.is_symlink() && path.metadata()?.is_file());
        Ok(is_file.then_some(Local { path, name }))
    }
}
