//! The storage directory of a command that needs it for itself.

use std::path::PathBuf;

use crate::store::local::Options;

#[derive(clap::Args)]
pub(super) struct Storage {
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
    pub(super) fn options(&self) -> Options {
        Options::new(&self.storage)
    }
}
