//! The storage directory of a command that needs it for itself.

use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::process::umask;

use crate::config::NamedFile;
use crate::index::IndexError;
use crate::store::local::{OpenError, Options};

#[derive(clap::Args)]
pub(super) struct Storage {
    #[command(flatten)]
    file: NamedFile,

    /// Directory that keeps the files; no node may be using it.
    #[arg(
        long,
        env = "STORAGE_DIR",
        value_name = "DIR",
        default_value = "peer_storage"
    )]
    storage: PathBuf,
}

impl Storage {
    /// The settings file to read.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.path()
    }

    pub(super) fn options(&self) -> Options {
        Options::new(&self.storage)
    }
}

/// What helps where the journal is damaged.
pub(super) const ADVICE: &str = "`larder verify` names all damage, and `larder rebuild-index \
                                 --skip-damage` gives up what cannot be read and keeps the rest";

/// Why a storage directory cannot be opened, with what helps.
pub(super) fn advised(error: OpenError) -> anyhow::Error {
    match error {
        OpenError::Index(IndexError::Damaged { .. }) => anyhow::anyhow!("{error}; {ADVICE}"),
        other => other.into(),
    }
}

/// Keeps what this process makes from now on to its owner, also what the lookup database
/// makes, which knows of no rights.
pub(super) fn keep_private() {
    umask(Mode::RWXG | Mode::RWXO);
}
