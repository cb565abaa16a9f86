//! The commands, one file each.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Settings;

mod allocator;
mod bootstrap;
mod logging;
mod rebuild_index;
mod serve;
mod stop;
mod storage;
mod verify;

/// A content-addressed file store and peer-to-peer node with a plain REST API.
///
/// Without a command it serves, as `larder serve` does.
#[derive(Parser)]
#[command(
    name = "larder",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
pub struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    serve: Settings,
}

#[derive(Subcommand)]
enum Action {
    /// Run a node: keep files, serve them, until Ctrl-C or SIGTERM.
    Serve(Box<Settings>),
    /// Introduce peers to each other, until Ctrl-C or SIGTERM.
    Bootstrap(bootstrap::Arguments),
    /// Check everything stored: journal, index and blobs; exit status 1 if anything is wrong.
    Verify(verify::Arguments),
    /// Make the index anew from the journal, when a start says that it is needed.
    RebuildIndex(rebuild_index::Arguments),
}

impl Command {
    /// Runs the command and tells how the process ends.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.action.unwrap_or(Action::Serve(Box::new(self.serve))) {
            Action::Serve(settings) => serve::run(&settings),
            Action::Bootstrap(arguments) => bootstrap::run(&arguments),
            Action::Verify(arguments) => verify::run(&arguments),
            Action::RebuildIndex(arguments) => rebuild_index::run(&arguments),
        }
    }
}
