//! `larder verify DEST`: checks a directory of backups.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use tokio::sync::mpsc;

use super::findings::{What, end, print_each};
use super::logging;
use super::storage::{NotChecked, keep_private};
use crate::backup::{self, BackupError};
use crate::config::Log;

/// How many findings may wait to be printed.
const QUEUE: usize = 64;

/// Prints each finding as it comes; exit status 1 if anything is damaged or missing.
pub(super) fn run(dest: &Path, is_json: bool) -> anyhow::Result<ExitCode> {
    logging::start(&Log::of_warnings());
    keep_private();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let (findings, found) = mpsc::channel(QUEUE);
    let checking = async {
        tokio::join!(
            backup::verify(dest, findings),
            print_each(found, is_json, (What::Backups, ""))
        )
    };
    let (totals, told) = runtime.block_on(checking);
    let totals = totals.map_err(|error| match error {
        error if is_unchecked(&error) => NotChecked(error.to_string()).into(),
        error => anyhow::Error::from(error),
    })?;
    end(is_json, (totals, told?), None)
}

/// Whether nothing was looked at, which says nothing of what is there.
fn is_unchecked(error: &BackupError) -> bool {
    error.is_of_directory()
        || matches!(error, BackupError::Disk(error)
            if error.source.kind() == std::io::ErrorKind::PermissionDenied)
}
