//! `larder upgrade`: brings a storage directory that an older larder has written up, or tells what
//! that takes.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::runtime::Runtime;

use super::storage::{Storage, advised, keep_private, unchecked};
use super::{logging, service};
use crate::config::Log;
use crate::store::local::{LocalStore, Options, look_at_upgrade, upgrade};
use crate::store::upgrade::{Progress, Told};

/// How the bar looks.
const TEMPLATE: &str = "{wide_msg} {human_pos} of {human_len} changes {eta:>4} left";

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    storage: Storage,

    /// Only tell what would be done, how much room it takes, and about how long; also where a node
    /// uses the directory.
    #[arg(long)]
    check: bool,
}

impl Arguments {
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&Log::of_warnings());
    keep_private();
    let options = Options {
        upgrade_told: Some(told()),
        ..arguments.storage.options()
    };
    let found = if arguments.check {
        look_at_upgrade(&options)
    } else {
        upgrade(&options)
    };
    let found = found.map_err(|error| unchecked(error, &options.dir))?;
    if !arguments.check {
        // So that the first start finds what every other does.
        let runtime = Runtime::new().context("cannot start the runtime")?;
        let opened = runtime.block_on(LocalStore::open(options.clone()));
        let opened = opened.map_err(|error| advised(error, &options.dir))?;
        runtime.block_on(opened.store.close())?;
    }
    let dir = options.dir.display();
    let mut out = stdout().lock();
    match found {
        None => writeln!(out, "{dir}: nothing is to be done")?,
        Some(found) if arguments.check => writeln!(out, "{dir}: {found}")?,
        Some(found) => writeln!(out, "{dir} is of format {} now", found.to)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What shows how far an upgrade is: to the service manager, and by a bar on standard error where
/// that is a terminal. What begins and ends is in the log.
pub(super) fn told() -> Told {
    let bar = Mutex::new(None);
    Arc::new(move |upgrade, progress| {
        let mut bar = bar.lock();
        match progress {
            Progress::Begins => {
                service::prepares(&format!("brings the storage directory up {upgrade}"));
                *bar = Some(new_bar(upgrade.entries));
            }
            Progress::Reads(entries) => {
                let status = format!(
                    "brings the storage directory up: {entries} of {} changes",
                    upgrade.entries
                );
                service::prepares(&status);
                if let Some(bar) = &*bar {
                    bar.set_position(entries);
                }
            }
            Progress::Done => {
                if let Some(bar) = bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    })
}

fn new_bar(entries: u64) -> ProgressBar {
    let bar = ProgressBar::new(entries);
    // The template is a constant that is right.
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    bar.with_message("bringing the storage directory up")
}
