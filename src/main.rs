//! The `larder` command.

use std::process::ExitCode;

use clap::Parser;
use larder::cli::Command;

fn main() -> ExitCode {
    match Command::parse().run() {
        Ok(code) => code,
        Err(error) => {
            // With all its causes, on one line.
            eprintln!("larder: {error:#}");
            ExitCode::FAILURE
        }
    }
}
