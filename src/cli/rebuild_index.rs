//! `larder rebuild-index`: makes the lookup database anew from the journal.

use std::io::{Write, stdout};
use std::process::ExitCode;

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::logging;
use super::storage::Storage;
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

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start(Targets::new().with_default(LevelFilter::WARN));
    let rebuilt = rebuild_index(&arguments.storage.options(), arguments.skip_damage)?;
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
