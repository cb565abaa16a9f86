//! `larder rebuild-index`: makes the lookup database anew from the journal.

use std::io::{Write, stdout};
use std::process::ExitCode;

use super::counted::counted;
use super::logging;
use super::storage::{Storage, keep_private, unchecked};
use crate::config::Log;
use crate::store::local::rebuild_index;

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    storage: Storage,

    /// Give up what cannot be read of a damaged journal and keep the rest; exit status 1 if
    /// anything is lost by that. The damaged segments stay beside it as *.damaged, and content
    /// that no file needs stays, too.
    #[arg(long)]
    skip_damage: bool,

    /// Take what the journal has lost as settled: the next start deletes content that no file
    /// needs.
    #[arg(long)]
    forget_loss: bool,
}

impl Arguments {
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    logging::start(&Log::of_warnings());
    keep_private();
    let Arguments {
        storage,
        skip_damage,
        forget_loss,
    } = arguments;
    let options = storage.options();
    let rebuilt = rebuild_index(&options, *skip_damage, *forget_loss);
    let rebuilt = rebuilt.map_err(|error| unchecked(error, &options.dir))?;
    let files = counted(rebuilt.totals.files, "file");
    let skipped = counted(rebuilt.skipped.len() as u64, "damaged place");
    let told = match rebuilt.lost {
        _ if rebuilt.skipped.is_empty() => "all that the journal tells".to_owned(),
        None => format!("{skipped} of the journal skipped, and nothing lost by that"),
        Some(lost) => format!(
            "{skipped} of the journal skipped, and at least {} lost: content that no file needs is \
             kept until `larder rebuild-index --forget-loss`",
            counted(lost, "change")
        ),
    };
    writeln!(stdout().lock(), "the index holds {files}; {told}")?;
    Ok(match rebuilt.lost {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}
