//! `larder rebuild-index`: makes the lookup database anew from the journal.

use std::io::{Write, stdout};
use std::process::ExitCode;

use super::logging;
use super::storage::{Storage, advised, keep_private};
use crate::config::Log;
use crate::store::local::rebuild_index;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    storage: Storage,

    /// Give up what cannot be read of a damaged journal and keep the rest. The
    /// damaged segments stay beside it as *.damaged.
    #[arg(long)]
    skip_damage: bool,
}

impl Arguments {
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&Log::of_warnings());
    keep_private();
    let rebuilt = rebuild_index(&arguments.storage.options(), arguments.skip_damage);
    let rebuilt = rebuilt.map_err(advised)?;
    let (files, skipped) = (rebuilt.totals.files, rebuilt.skipped.len());
    let mut out = stdout().lock();
    match skipped {
        0 => writeln!(
            out,
            "the index holds {files} files, all that the journal tells"
        )?,
        _ => writeln!(
            out,
            "the index holds {files} files; {skipped} damaged places were skipped"
        )?,
    }
    Ok(ExitCode::SUCCESS)
}
