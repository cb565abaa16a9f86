//! `larder backup --list`: which backups there are.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use crate::backup::{BackupError, Backups, Found};
use crate::blocking;
use crate::cli::client::failure::Failure;
use crate::cli::client::output::{self, plain};
use crate::cli::client::running::ended;
use crate::cli::counted::counted;

/// Prints all backups, the oldest first.
pub(super) fn run(dest: &Path, is_json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.context("cannot start the runtime")?;
    ended(runtime.block_on(list(dest, is_json)), None)
}

async fn list(dest: &Path, is_json: bool) -> Result<(), Failure> {
    let dest = dest.to_owned();
    let found = blocking::run(move || Backups::moments_in(&dest)).await?;
    let mut damaged = None;
    for Found { number, moment } in found {
        match moment {
            Ok(moment) if is_json => output::json(&json!({
                "backup": number, "at": moment.time(), "peer_id": moment.peer_id,
                "files": moment.files, "bytes": moment.bytes, "lacking": moment.lacking,
            }))?,
            Ok(moment) => {
                let lacking = match moment.lacking {
                    0 => String::new(),
                    files => format!("  (without the contents of {})", counted(files, "file")),
                };
                output::line(&format!(
                    "{number:>5}  {}  {:>13}  {:>11}{lacking}",
                    moment.time(),
                    counted(moment.files, "file"),
                    output::size(moment.bytes)
                ))?;
            }
            Err(error) => {
                output::say(&plain(&format!("backup {number}: {error}")));
                damaged = Some(error);
            }
        }
    }
    match damaged.as_ref().map(BackupError::is_damage) {
        None => Ok(()),
        Some(true) => Err(Failure::Told(7)),
        Some(false) => Err(Failure::Told(1)),
    }
}
