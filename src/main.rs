//! The `larder` command.

use std::process::ExitCode;

use larder::cli::{Command, NotChecked, finish, tell, tell_causes};
use larder::config::WrongSetting;

/// The status of a wrong command line, of every setting that cannot be, and of a storage directory
/// that cannot be looked at.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::read() {
        Ok(command) => command,
        Err(error) => {
            tell(&error);
            return ExitCode::from(USAGE);
        }
    };
    let ended = match command.run() {
        Ok(code) => code,
        Err(error) => {
            tell_causes(&error);
            if error.is::<WrongSetting>() || error.is::<NotChecked>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    };
    finish();
    ended
}
