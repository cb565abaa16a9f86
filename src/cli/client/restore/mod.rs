//! `larder restore`: files of a backup, to a new storage directory as they were there, or to a
//! folder.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use self::chosen::Names;
use self::outcome::Restored;
use super::failure::Failure;
use super::output;
use super::running::ended;
use super::wanted::Wanted;
use crate::backup::{Backups, Moment};
use crate::blocking;
use crate::cli::counted::counted;
use crate::cli::{logging, storage};
use crate::config::{Log, number};
use crate::record::Timestamp;

mod bytes;
mod chosen;
mod outcome;
mod to_folder;
mod to_storage;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Directory of backups.
    #[arg(value_name = "DEST")]
    dest: PathBuf,

    /// Only these files of it: their ids, their names, or patterns such as 'photos/**' [default:
    /// all].
    #[arg(value_name = "FILE")]
    files: Vec<Wanted>,

    /// The backup with this number, as `larder backup --list` tells them [default: the newest].
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = |it: &str| number(it, 1..=u32::MAX),
        conflicts_with = "as_of"
    )]
    backup: Option<u32>,

    /// The newest backup that was made by this time, in UTC, such as 2026-11-28T03:00:00.
    #[arg(long, value_name = "TIME", value_parser = time)]
    as_of: Option<Timestamp>,

    /// Make a storage directory of them, for a node of its own: with the ids, names, times and
    /// descriptions that they had.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "output",
        conflicts_with = "output"
    )]
    storage: Option<PathBuf>,

    /// Write them into this folder, by their names.
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,

    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Reads a time in UTC.
fn time(text: &str) -> Result<Timestamp, String> {
    let text = text.trim().trim_end_matches('Z');
    let whole = [
        text.to_owned(),
        format!("{text}:00"),
        format!("{text}T00:00:00"),
    ];
    let read = whole.iter().find_map(|it| it.parse::<Timestamp>().ok());
    read.ok_or_else(|| "a time is written as 2026-11-28T03:00:00".to_owned())
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        logging::start(&Log::of_warnings());
        if self.storage.is_some() {
            storage::keep_private();
        }
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        ended(runtime.block_on(self.restore()), None)
    }

    async fn restore(&self) -> Result<(), Failure> {
        self.check_elsewhere()?;
        let dest = self.dest.clone();
        let backups = blocking::run(move || Backups::open_existing(&dest)).await?;
        let as_of = self.as_of.map(|it| it.0);
        // What is told to the second is told to its end.
        let as_of = as_of.map(|it| if it % 1000 == 0 { it + 999 } else { it });
        let moment = backups.choose(self.backup, as_of).await?;
        let names = Names::of(&self.files);
        let bar = output::bar("restoring", moment.bytes);
        let restored = match (&self.storage, &self.output) {
            (Some(dir), _) => to_storage::restore(&backups, &moment, &names, dir, &bar).await,
            (None, Some(folder)) => {
                to_folder::restore(&backups, &moment, &names, folder, &bar).await
            }
            (None, None) => Err(Failure::Usage("--storage or --output is needed")),
        };
        bar.finish_and_clear();
        let restored = restored?;
        self.tell(&moment, &restored)?;
        names.check()?;
        match restored.status {
            0 => Ok(()),
            status => Err(Failure::Told(status)),
        }
    }

    /// Fails where the files would go into the directory of backups.
    fn check_elsewhere(&self) -> Result<(), Failure> {
        let to = self.storage.as_ref().or(self.output.as_ref());
        let to = to.and_then(|it| std::path::absolute(it).ok());
        let there = to.and_then(|it| it.ancestors().find_map(|it| it.canonicalize().ok()));
        let dest = self.dest.canonicalize();
        match (there, dest) {
            (Some(there), Ok(dest)) if there.starts_with(&dest) => {
                Err(Failure::NotRestored(format!(
                    "{} is a directory of backups, in which nothing else has a place",
                    dest.display()
                )))
            }
            _ => Ok(()),
        }
    }

    fn tell(&self, moment: &Moment, restored: &Restored) -> Result<(), Failure> {
        let Restored {
            files,
            bytes,
            lost,
            lost_lists,
            ..
        } = *restored;
        if self.json {
            return Ok(output::json(&json!({
                "backup": moment.number, "at": moment.time(),
                "files": files, "bytes": bytes, "lost": lost, "lost_lists": lost_lists,
            }))?);
        }
        let mut left = match lost {
            0 => String::new(),
            lost => format!("; {} not", counted(lost, "file")),
        };
        if lost_lists > 0 {
            let lists = counted(lost_lists, "piece");
            left = format!("{left}; nor what {lists} of its list named");
        }
        Ok(output::line(&format!(
            "{} of {} restored from backup {} of {}{left}",
            counted(files, "file"),
            output::size(bytes),
            moment.number,
            moment.time(),
        ))?)
    }
}
