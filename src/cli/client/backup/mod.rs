//! `larder backup`: all files of one moment of a node, into a directory of backups.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::ProgressBar;
use reqwest::Method;
use serde_json::json;

use self::bringing::{Bringing, Brought};
use self::listing::Listed;
use self::rate::{Rate, rate};
use super::api::Api;
use super::connection::Connection;
use super::failure::Failure;
use super::output::{self, plain};
use super::running::run;
use crate::backup::{Backups, Collected, Gathering, Moment};
use crate::blocking;
use crate::cli::counted::counted;
use crate::config::{Size, number};
use crate::file_line::FileLine;

mod bringing;
mod listed_backups;
mod listing;
mod rate;

/// How often the list is read anew because files were removed whose contents were to be copied.
const ROUNDS: u32 = 10;

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Directory of backups, which is made where there is none: on another disk, or another machine
    /// that reaches the node.
    #[arg(value_name = "DEST")]
    dest: PathBuf,

    /// List the backups that are there, and make none.
    #[arg(long, conflicts_with = "keep")]
    list: bool,

    /// Keep the newest so many backups of each node, this one among them, and give up the others
    /// once this one is whole [default: all].
    #[arg(
        long,
        value_name = "NUMBER",
        value_parser = |it: &str| number(it, 1..=usize::MAX)
    )]
    keep: Option<usize>,

    /// Fetch no more than this in a second, list and contents together [default: as fast as it
    /// goes].
    #[arg(long, value_name = "SIZE", conflicts_with = "list", value_parser = rate)]
    rate: Option<Size>,

    /// Go on though the backups that are there are of another node.
    #[arg(long)]
    another_node: bool,

    #[command(flatten)]
    connection: Connection,
}

/// What a backup has come to.
#[derive(Default)]
struct Copied {
    contents: u64,
    bytes: u64,
    /// Files that were removed whenever their contents were asked for.
    left_out: u64,
}

impl Arguments {
    pub(in crate::cli) fn run(&self) -> anyhow::Result<ExitCode> {
        if self.list {
            return listed_backups::run(&self.dest, self.connection.json);
        }
        run(&self.connection, |api| self.back_up(api))
    }

    async fn back_up(&self, api: Api) -> Result<(), Failure> {
        if !self.dest.exists() {
            // No directory is made for a node that cannot be backed up.
            api.send(api.request(Method::GET, "/api/p2p/status"))
                .await?;
        }
        let dest = self.dest.clone();
        let backups = blocking::run(move || Backups::open_or_make(&dest)).await?;
        let was_cut = backups.has_unfinished().await?;
        let mut copied = Copied::default();
        let (moment, rounds) = self.rounds(&api, &backups, &mut copied).await?;
        let collected = backups.collect(self.keep, was_cut || rounds > 1).await?;
        self.tell(&moment, &copied, &collected)?;
        if moment.lacking > 0 || collected.unknown.is_some() {
            return Err(Failure::Told(7));
        }
        Ok(())
    }

    /// Reads the list, and copies what is new, until all of that was to be had: whatever is removed
    /// between the one and the other is in no later list.
    async fn rounds(
        &self,
        api: &Api,
        backups: &Backups,
        copied: &mut Copied,
    ) -> Result<(Moment, u32), Failure> {
        let (rate, mut round) = (Rate::new(self.rate), 1);
        loop {
            let bar = output::bar("reading the list of files", 0);
            let listed = listing::listed(api, backups.dir(), (&bar, &rate)).await;
            bar.finish_and_clear();
            let mut listed = listed?;
            self.check_node(backups, &listed).await?;
            let bar = output::bar("backing up", listed.bytes);
            let bringing = Bringing::new(api, backups, (&bar, &rate));
            let is_last = round == ROUNDS;
            let made = make(&bringing, &mut listed, copied, is_last).await;
            bar.finish_and_clear();
            if let Some(moment) = made? {
                return Ok((moment, round));
            }
            round += 1;
        }
    }

    /// Fails where the backups that are there are of another node.
    async fn check_node(&self, backups: &Backups, listed: &Listed) -> Result<(), Failure> {
        let moments = backups.moments().await?;
        let last = moments.iter().rev().find_map(|it| it.moment.as_ref().ok());
        match last.filter(|it| !self.another_node && it.peer_id != listed.peer_id) {
            None => Ok(()),
            Some(last) => Err(Failure::OtherNode(format!(
                "the backups in {} are of node {}, and this is node {}: name another directory, or \
                 go on there with --another-node",
                backups.dir().display(),
                plain(&last.peer_id),
                plain(&listed.peer_id),
            ))),
        }
    }

    fn tell(&self, moment: &Moment, copied: &Copied, collected: &Collected) -> io::Result<()> {
        if let Some(unknown) = &collected.unknown {
            output::say(&format!(
                "the backup is made, but no older one was given up, and nothing was removed: {}; \
                 --keep gives up what is older than so many that can be read",
                plain(unknown)
            ));
        }
        if copied.left_out > 0 {
            let files = counted(copied.left_out, "file");
            output::say(&format!(
                "{files} of the moment were removed before they could be copied, and are left out"
            ));
        }
        if self.connection.json {
            return output::json(&json!({
                "backup": moment.number, "at": moment.time(), "peer_id": moment.peer_id,
                "files": moment.files, "bytes": moment.bytes, "lacking": moment.lacking,
                "left_out": copied.left_out,
                "new_contents": copied.contents, "new_bytes": copied.bytes,
                "given_up": collected.backups, "removed_contents": collected.contents,
                "removed_bytes": collected.bytes,
            }));
        }
        output::line(&format!(
            "backup {} of {}: {}, {}; {} of {} new",
            moment.number,
            moment.time(),
            counted(moment.files, "file"),
            output::size(moment.bytes),
            counted(copied.contents, "content"),
            output::size(copied.bytes),
        ))?;
        if !collected.backups.is_empty() {
            output::line(&format!(
                "given up: {}, and {} of {} with them",
                counted(collected.backups.len() as u64, "older backup"),
                counted(collected.contents, "content"),
                output::size(collected.bytes),
            ))?;
        }
        Ok(())
    }
}

/// Makes a backup of what is listed; none where files were removed meanwhile whose contents were to
/// be copied, unless this `is_last`.
async fn make(
    bringing: &Bringing<'_>,
    listed: &mut Listed,
    copied: &mut Copied,
    is_last: bool,
) -> Result<Option<Moment>, Failure> {
    let mut writing = bringing.backups.begin().await?;
    let mut gathering = Gathering::default();
    let mut removed = 0;
    let mut add = async |files: Vec<FileLine>, removed: &mut u64| -> Result<(), Failure> {
        if writing.knows(&files).await? {
            bringing.bar.inc(files.iter().map(|it| it.size).sum());
            return Ok(writing.add(&files).await?);
        }
        let (files, gone) = bring(bringing, files, copied).await?;
        *removed += gone;
        if *removed == 0 || is_last {
            writing.add(&files).await?;
        }
        Ok(())
    };
    while let Some(files) = listed.next().await? {
        for file in files {
            if let Some(files) = gathering.add(file) {
                add(files, &mut removed).await?;
            }
        }
    }
    if let Some(files) = gathering.end() {
        add(files, &mut removed).await?;
    }
    if removed > 0 && !is_last {
        return Ok(None);
    }
    copied.left_out = removed;
    let ended = writing.end(listed.peer_id.clone(), listed.at).await;
    Ok(Some(ended?))
}

/// Brings the contents of these files; gives back those that are there still, and how many are not.
async fn bring(
    bringing: &Bringing<'_>,
    mut files: Vec<FileLine>,
    copied: &mut Copied,
) -> Result<(Vec<FileLine>, u64), Failure> {
    let brought = bringing.all(&files).await?;
    let mut gone = 0;
    files.retain_mut(|file| match brought.get(&file.hash) {
        Some(Brought::Gone) => {
            gone += 1;
            false
        }
        Some(Brought::Nowhere(why)) => {
            file.lacks = true;
            tell_lacking(bringing.bar, file, why);
            true
        }
        Some(Brought::New | Brought::There) | None => true,
    });
    let sizes = files.iter().map(|it| (it.hash, it.size));
    let sizes: std::collections::BTreeMap<_, _> = sizes.collect();
    for (hash, size) in sizes {
        if matches!(brought.get(&hash), Some(Brought::New)) {
            copied.contents += 1;
            copied.bytes += size;
        }
    }
    Ok((files, gone))
}

fn tell_lacking(bar: &ProgressBar, file: &FileLine, why: &str) {
    let text = format!(
        "{}: its content is not in the backup: {}",
        plain(&file.name),
        plain(why)
    );
    bar.suspend(|| output::say(&text));
}
