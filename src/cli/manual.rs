//! What shells and `man` need to know of the commands.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap_complete::Shell;

#[derive(clap::Args)]
pub(super) struct Completions {
    /// The shell to complete commands in.
    shell: Shell,
}

#[derive(clap::Args)]
pub(super) struct Manual {
    /// Directory for the pages of all commands [default: prints the first page].
    directory: Option<PathBuf>,
}

impl Completions {
    /// Prints a script for the shell.
    pub(super) fn run(&self, mut command: clap::Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "larder", &mut script);
        stdout().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Manual {
    /// Prints the first page, or writes all of them.
    pub(super) fn run(&self, command: clap::Command) -> anyhow::Result<ExitCode> {
        match &self.directory {
            Some(directory) => clap_mangen::generate_to(command, directory)
                .with_context(|| format!("cannot write to {}", directory.display()))?,
            None => clap_mangen::Man::new(command).render(&mut stdout())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
