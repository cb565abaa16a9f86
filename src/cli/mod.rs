//! The commands, one file each.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::causes::with_causes;
use crate::config::{Settings, SettingsFile, Sources, WrongSetting, check_variables};

mod allocator;
mod bootstrap;
mod client;
mod concerned;
mod config;
mod counted;
mod findings;
mod limits;
mod log_queue;
mod logging;
mod manual;
#[cfg(feature = "shared")]
mod migrate;
mod network;
mod network_members;
mod own_nodes;
mod problems;
mod rebuild_index;
mod serve;
#[cfg(feature = "shared")]
mod servers;
mod service;
mod signals;
mod state;
mod statuses;
mod stop;
mod storage;
mod summary;
mod token;
mod upgrade;
mod verify;
mod verify_backups;

use statuses::EXIT_STATUS_OF_OTHERS;
pub use storage::NotChecked;

/// What the exit status of a server says.
const EXIT_STATUS_OF_SERVERS: &str = "\
Exit status:
  0  done, or stopped in order
  1  failed, for the reason that is told
  2  wrong command line or setting";

/// What that of any command says.
const EXIT_STATUS: &str = "\
Exit status:
  0  done, or stopped in order
  1  failed, for the reason that is told
  2  wrong command line or setting
Commands that ask a node have more, which their own --help tells.";

/// What the exit status says of the check of everything stored.
const EXIT_STATUS_OF_VERIFY: &str = "\
Exit status:
  0  done, and nothing is damaged or missing; what is left over, which nobody needs, is told
  1  something is damaged or missing, or a part of it could not be read
  2  nothing was checked: wrong command line or setting, no such directory, or it is another
     user's, in use by a node that is not the one of the settings here, or not all is in it yet
  5  the node that --node names does not answer, or cannot be trusted
  6  the node wants a token, or another one";

/// What it says of what makes the index anew.
const EXIT_STATUS_OF_REBUILD: &str = "\
Exit status:
  0  done, and nothing is lost
  1  something is damaged or lost, or it failed, for the reason that is told
  2  nothing was done: wrong command line or setting, no such directory, or it is in use or
     another user's";

/// What it says of an upgrade.
const EXIT_STATUS_OF_UPGRADE: &str = "\
Exit status:
  0  done, or nothing is to be done; with --check, it can be done
  1  it failed, for the reason that is told; the older larder can use the directory as before
  2  nothing was done: wrong command line or setting, no such directory, or it is in use or
     another user's";

/// What it says of the moving of files.
#[cfg(feature = "shared")]
const EXIT_STATUS_OF_MIGRATE: &str = "\
Exit status:
  0  done: all files are there, and their contents proven
  1  failed, for the reason that is told; what is there stays, and the next run goes on from there
  2  nothing was moved: wrong command line or setting, no such directory, it is in use, something is
     there that cannot be moved, or other files are where these would go";

/// A content-addressed file store and peer-to-peer node with a plain REST API.
///
/// Without a command it serves, as `larder serve` does.
#[derive(Parser)]
#[command(
    name = "larder",
    version,
    max_term_width = 100,
    after_help = EXIT_STATUS,
    args_conflicts_with_subcommands = true
)]
pub struct Command {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    serve: Settings,
    /// Where the settings come from.
    #[arg(skip)]
    sources: Sources,
}

#[derive(Subcommand)]
enum Action {
    /// Run a node: keep files, serve them, until Ctrl-C or SIGTERM.
    #[command(after_help = EXIT_STATUS_OF_SERVERS)]
    Serve(Box<Settings>),
    /// Introduce peers to each other, until Ctrl-C or SIGTERM.
    #[command(after_help = EXIT_STATUS_OF_SERVERS)]
    Bootstrap(bootstrap::Arguments),
    /// Check everything stored: journal, index and blobs, or have the node that runs read and prove
    /// all of its contents; exit status 1 if anything is damaged or missing.
    #[command(after_help = EXIT_STATUS_OF_VERIFY)]
    Verify(verify::Arguments),
    /// Make the index anew from the journal, when a start says that it is needed.
    #[command(after_help = EXIT_STATUS_OF_REBUILD)]
    RebuildIndex(rebuild_index::Arguments),
    /// Bring a storage directory of an older larder up, as a start does by itself, or tell what
    /// that takes (`--check`).
    #[command(after_help = EXIT_STATUS_OF_UPGRADE)]
    Upgrade(upgrade::Arguments),
    /// Move all files of a storage directory to the servers that several nodes share, or back;
    /// what was cut off goes on with the next run.
    #[cfg(feature = "shared")]
    #[command(after_help = EXIT_STATUS_OF_MIGRATE)]
    Migrate(migrate::Arguments),
    /// Check the settings of `serve`, and print those in force as a settings file that says where
    /// each comes from.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Config(Box<config::Arguments>),
    /// Make a token with the right to read or to write.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Token(token::Arguments),
    /// Make a network of nodes that know each other as members, and invite nodes to it.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Network(network::Arguments),
    /// Upload files and folders to a node.
    #[command(after_help = client::EXIT_STATUS_OF_PUT)]
    Put(client::Put),
    /// Download files of the network, checked against their hashes.
    #[command(after_help = client::EXIT_STATUS)]
    Get(client::Get),
    /// List the files of a node, or of the network.
    #[command(after_help = client::EXIT_STATUS_OF_LS)]
    Ls(client::Ls),
    /// Tell everything that is known of files.
    #[command(after_help = client::EXIT_STATUS_OF_INFO)]
    Info(client::Info),
    /// Remove files from a node.
    #[command(after_help = client::EXIT_STATUS_OF_RM)]
    Rm(client::Rm),
    /// List what was removed from a node and can be brought back (`--trash`), bring files back, or
    /// have them gone.
    #[command(after_help = client::EXIT_STATUS_OF_RM)]
    Trash(client::Trash),
    /// Have a node keep copies of files of the network.
    #[command(after_help = client::EXIT_STATUS)]
    Keep(client::Keep),
    /// Tell on how many members of the network files are, and are to be, or change that (`--set`).
    #[command(after_help = client::EXIT_STATUS_OF_RM)]
    Copies(client::Copies),
    /// Back up a node while it runs: all files of one moment, and of their contents what is new.
    #[command(after_help = client::EXIT_STATUS_OF_BACKUP)]
    Backup(client::Backup),
    /// Restore files of a backup: to a new storage directory as they were, or to a folder.
    #[command(after_help = client::EXIT_STATUS_OF_RESTORE)]
    Restore(client::Restore),
    /// List the peers that a node knows.
    #[command(after_help = client::EXIT_STATUS_OF_LISTS)]
    Peers(client::Peers),
    /// Tell how a node is.
    #[command(after_help = client::EXIT_STATUS_OF_LISTS)]
    Status(client::Status),
    /// Measure how fast a node answers, and prove what it answers.
    #[command(after_help = client::EXIT_STATUS_OF_BENCH)]
    Bench(client::Bench),
    /// Print a script that completes commands in a shell.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Completions(manual::Completions),
    /// Print a manual page, or write those of all commands.
    #[command(after_help = EXIT_STATUS_OF_OTHERS)]
    Man(manual::Manual),
}

/// Says why the process fails, where anybody reads that. Nobody waits for a server's log.
pub fn tell(error: &dyn Display) {
    logging::say_last(error);
}

/// The same with all its causes, on one line.
pub fn tell_causes(error: &anyhow::Error) {
    tell(&with_causes(error.as_ref()));
}

/// Gives whoever reads the log of a server a moment for what is left of it; called at the end.
pub fn finish() {
    logging::finish();
}

impl Command {
    /// Reads the command line, the environment and the settings file; ends the process where
    /// there is no such command or flag, or no more is asked for than help. Blocks.
    pub fn read() -> Result<Self, WrongSetting> {
        let mut command = Self::command();
        let mut matches = matches(&command)?;
        let plain = Self::of(&matches);
        let file = match plain.file() {
            Some(path) => Some(SettingsFile::read(path, &command).map_err(|it| {
                WrongSetting::from(it).set_by(&Sources::new(&command, &matches, None))
            })?),
            None => None,
        };
        if let Some(file) = &file {
            let of_nodes =
                |it: &clap::Command| it.get_arguments().any(|arg| arg.get_id() == "config");
            command = file
                .apply(command)
                .mut_subcommands(|sub| if of_nodes(&sub) { file.apply(sub) } else { sub });
            matches = self::matches(&command)?;
        }
        let mut this = Self::of(&matches);
        if this.minds_variables() {
            check_variables(&command, std::env::vars_os())?;
        }
        this.sources = Sources::new(&command, &matches, file.as_ref());
        if let (Some(Action::Config(arguments)), Some((name, matches))) =
            (&mut this.action, matches.subcommand())
            && let Some(command) = command.find_subcommand(name)
        {
            arguments.effective = config::effective(command, matches, file.as_ref());
        }
        Ok(this)
    }

    fn of(matches: &ArgMatches) -> Self {
        Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
    }

    /// Whether the environment means anything to it.
    fn minds_variables(&self) -> bool {
        !matches!(self.action, Some(Action::Completions(_) | Action::Man(_)))
    }

    /// The settings file to read.
    fn file(&self) -> Option<&Path> {
        match &self.action {
            None => self.serve.file(),
            Some(Action::Serve(settings)) => settings.file(),
            Some(Action::Config(arguments)) => arguments.settings().file(),
            Some(Action::Verify(arguments)) => arguments.storage().file(),
            Some(Action::RebuildIndex(arguments)) => arguments.storage().file(),
            Some(Action::Upgrade(arguments)) => arguments.storage().file(),
            #[cfg(feature = "shared")]
            Some(Action::Migrate(arguments)) => arguments.storage().file(),
            Some(_) => None,
        }
    }

    /// Runs the command and tells how the process ends. Where a setting cannot be, that is a
    /// [`WrongSetting`].
    pub fn run(self) -> anyhow::Result<ExitCode> {
        signals::ignore();
        let sources = self.sources.clone();
        self.run_action().map_err(|error| {
            let broken = error.downcast_ref::<io::Error>();
            if broken.is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe) {
                // Whoever read what is printed has seen enough.
                signals::end_by_broken_pipe();
            }
            let wrong = error.downcast::<WrongSetting>();
            wrong.map_or_else(|other| other, |wrong| wrong.set_by(&sources).into())
        })
    }

    fn run_action(self) -> anyhow::Result<ExitCode> {
        match self.action.unwrap_or(Action::Serve(Box::new(self.serve))) {
            Action::Serve(settings) => serve::run(&settings, &self.sources),
            Action::Bootstrap(arguments) => bootstrap::run(&arguments),
            Action::Verify(arguments) => verify::run(&arguments),
            Action::RebuildIndex(arguments) => rebuild_index::run(&arguments),
            Action::Upgrade(arguments) => upgrade::run(&arguments),
            #[cfg(feature = "shared")]
            Action::Migrate(arguments) => migrate::run(&arguments),
            Action::Config(arguments) => config::run(&arguments),
            Action::Token(arguments) => token::run(&arguments),
            Action::Network(arguments) => network::run(&arguments),
            Action::Put(put) => put.run(),
            Action::Get(get) => get.run(),
            Action::Ls(ls) => ls.run(),
            Action::Info(info) => info.run(),
            Action::Rm(rm) => rm.run(),
            Action::Trash(trash) => trash.run(),
            Action::Keep(keep) => keep.run(),
            Action::Copies(copies) => copies.run(),
            Action::Backup(backup) => backup.run(),
            Action::Restore(restore) => restore.run(),
            Action::Peers(peers) => peers.run(),
            Action::Status(status) => status.run(),
            Action::Bench(bench) => bench.run(),
            Action::Completions(shell) => shell.run(Self::command()),
            Action::Man(manual) => manual.run(Self::command()),
        }
    }
}

/// What the command line and the environment say; what is wrong is told in one line. Help and the
/// version are printed, which ends the process.
fn matches(command: &clap::Command) -> Result<ArgMatches, WrongSetting> {
    command.clone().try_get_matches().map_err(|error| {
        if !error.use_stderr() {
            error.exit();
        }
        WrongSetting::of_line(&error, command)
    })
}
