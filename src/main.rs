//! The `larder` command.

use std::process::ExitCode;

use larder::cli::Command;

/// The status of a wrong command line, which a wrong settings file has, too.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::read() {
        Ok(command) => command,
        Err(error) => {
            eprintln!("larder: {error}");
            return ExitCode::from(USAGE);
        }
    };
    match command.run() {
        Ok(code) => code,
        Err(error) => {
            // With all its causes, on one line.
            eprintln!("larder: {error:#}");
            ExitCode::FAILURE
        }
    }
}
